"""The chart's values: its schema accepts them, they meet Pod Security, and match the rest of the platform."""

from __future__ import annotations

from typing import Any

import pytest
from test_notebook_catalogue import of_dev, section

import contracts
from components.ground.reach import Reach
from components.ground.system_nodes import SYSTEM_NODE_LABELS, SYSTEM_NODES, SYSTEM_TAINT
from components.hub.inside import homes, pod
from components.hub.network_policies import hub_policy
from components.hub.values import CONFIGURATION, PACKAGE, PACKAGE_FOLDER, HubValuesArgs, home_sizes_map, hub_values
from components.identity.keycloak import SERVER_PORT
from components.teams import network_policy as team_network
from components.teams.names import HUB_NAMESPACE, HUB_PORT, NOTEBOOK_PORT, PULL_SECRET, TEAM_LABEL
from rehearsal.providers.kubernetes.chart_values import check

REACH = Reach(cluster_cidr="10.40.0.0/16", api_server_cidrs=("10.40.0.0/16", "172.20.0.0/16"))
CHART = contracts.chart("jupyterhub")
ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:gpulab/registry-AbCdEf"
REGISTRY = {"mirror": "mirror.example.com/quay", "pullSecret": {"secretsManager": ARN}}
URL = "postgresql+psycopg2://jupyterhub@db:5432/jupyterhub?sslmode=require"

HUBS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "through a registry": {"registry": REGISTRY},
    "without named servers and pulled images": {"namedServers": 0, "prePull": False},
}


def values(database_url: str | None = None, **sections: Any) -> dict[str, Any]:
    given = HubValuesArgs(
        settings=of_dev(**sections),
        placement=SYSTEM_NODES,
        reach=REACH,
        modules="hub-modules-1",
        catalogue="hub-catalogue-1",
        secrets_checksum="0" * 64,
        database_url=database_url,
    )
    return hub_values(given)


@pytest.mark.parametrize("database_url", [None, URL])
@pytest.mark.parametrize("hub", HUBS.values(), ids=HUBS)
def test_the_charts_schema_accepts_the_values(hub: dict[str, Any], database_url: str | None) -> None:
    assert check(values(database_url, hub=hub), CHART.values, CHART.schema) == []


def test_at_names_of_people_no_notebook_sets_a_cookie_of_the_hubs() -> None:
    """By `subdomain_host` the chart's proxy routes by host (zero-to-jupyterhub-k8s#3548)."""
    ingress = {"access": "internet-facing", "domain": "lab.example.com", "cidrs": ["203.0.113.0/24"]}
    found = values(ingress=ingress)
    assert check(found, CHART.values, CHART.schema) == []
    assert found["hub"]["config"]["JupyterHub"]["subdomain_host"] == "https://platform.lab.example.com"
    assert found["hub"]["config"]["JupyterHub"]["cookie_host_prefix_enabled"] is True
    # A cookie of that kind is for all paths: of one origin, every notebook would see it.
    at_one_origin = values(ingress=ingress, hub={"subdomains": False})["hub"]["config"]["JupyterHub"]
    assert not at_one_origin.keys() & {"subdomain_host", "cookie_host_prefix_enabled"}


def test_a_value_that_the_chart_does_not_have_is_refused() -> None:
    wrong = values()
    wrong["hub"]["baseURL"] = "/"
    assert check(wrong, CHART.values, CHART.schema)


def test_no_way_in_but_keycloak() -> None:
    assert values()["hub"]["config"]["JupyterHub"]["authenticator_class"] == "generic-oauth"


def test_nothing_is_set_of_which_jupyterhub_takes_no_notice() -> None:
    """JupyterHub ignores `admin_access` now: members of `admin_groups` may enter notebooks (docs/notebooks.md)."""
    assert "admin_access" not in values()["hub"]["config"]["JupyterHub"]


def test_the_hub_loads_its_package_from_where_it_is_mounted() -> None:
    hub = values()["hub"]
    mount, volume = hub["extraVolumeMounts"][0], hub["extraVolumes"][0]
    assert mount["mountPath"] == PACKAGE_FOLDER
    assert mount["name"] == volume["name"]
    assert [one["configMap"]["name"] for one in volume["projected"]["sources"]] == ["hub-modules-1", "hub-catalogue-1"]
    assert hub["extraConfig"] == {PACKAGE: CONFIGURATION}
    compile(CONFIGURATION, "extraConfig", "exec")


def test_the_hub_has_what_homes_hold_where_its_modules_look() -> None:
    """As optional files: they do not exist before the first night."""
    hub = values()["hub"]
    (mount,) = [one for one in hub["extraVolumeMounts"] if one["mountPath"] == str(homes.FOLDER)]
    (volume,) = [one for one in hub["extraVolumes"] if one["name"] == mount["name"]]
    maps = [one["configMap"] for one in volume["projected"]["sources"]]
    assert maps == [{"name": home_sizes_map(team), "optional": True} for team in of_dev().teams]


def test_notebooks_of_other_namespaces_find_the_hub_and_the_hub_finds_them() -> None:
    found = values()
    assert found["hub"]["config"]["JupyterHub"]["hub_connect_url"] == (
        f"http://hub.{HUB_NAMESPACE}.svc.cluster.local:{HUB_PORT}"
    )
    assert found["hub"]["networkPolicy"]["interNamespaceAccessLabels"] == "accept"
    ingress = team_network.network_policy(REACH, reaches_buckets=False)["ingress"]
    admitted = {one["podSelector"]["matchLabels"]["component"] for rule in ingress for one in rule["from"]}
    assert admitted == {"hub", "proxy"}
    for policy in (found["hub"]["networkPolicy"], found["proxy"]["chp"]["networkPolicy"]):
        to_notebooks = [rule for rule in policy["egress"] if rule["ports"][0]["port"] == NOTEBOOK_PORT]
        (peer,) = to_notebooks[0]["to"]
        assert peer["namespaceSelector"]["matchExpressions"] == [{"key": TEAM_LABEL, "operator": "Exists"}]
        assert peer["podSelector"]["matchLabels"] == {"component": "singleuser-server"}


def destinations(policy: dict[str, Any], port: int) -> list[str]:
    return [
        one.get("ipBlock", {}).get("cidr", "pods")
        for rule in policy["egress"]
        if port in [each["port"] for each in rule["ports"]]
        for one in rule["to"]
    ]


def test_hub_reaches_what_it_needs_and_no_private_address_beside() -> None:
    policy = hub_policy(REACH, reaches_database=False, asks_keycloak=True, asks_github=False)
    allowed = policy["egressAllowRules"]
    assert [name for name, is_open in allowed.items() if is_open] == ["dnsPortsKubeSystemNamespace"]
    assert set(allowed) == set(CHART.values["hub"]["networkPolicy"]["egressAllowRules"])
    assert "10.40.0.0/16" in destinations(policy, 443)
    assert destinations(policy, SERVER_PORT) == ["pods"]
    assert destinations(policy, 5432) == []
    with_database = hub_policy(REACH, reaches_database=True, asks_keycloak=True, asks_github=False)
    assert destinations(with_database, 5432) == ["10.40.0.0/16"]


def test_the_internet_is_reached_to_ask_github_and_for_nothing_else() -> None:
    policy = hub_policy(REACH, reaches_database=False, asks_keycloak=False, asks_github=True)
    assert policy["egressAllowRules"]["nonPrivateIPs"]
    assert destinations(policy, SERVER_PORT) == [], "without Keycloak nobody reaches for it"


def test_hub_and_proxy_run_on_system_nodes_and_nowhere_else_and_can_be_drained() -> None:
    found = values()
    for of_pods in (found["hub"], found["proxy"]["chp"]):
        assert of_pods["nodeSelector"] == SYSTEM_NODE_LABELS
    (toleration,) = found["scheduling"]["corePods"]["tolerations"]
    assert (toleration["key"], toleration["operator"]) == (SYSTEM_TAINT["key"], "Exists")
    for budget in (found["hub"]["pdb"], found["proxy"]["chp"]["pdb"]):
        # Of one pod, a least number available of one lets no node ever be renewed.
        assert budget == {"enabled": True, "maxUnavailable": 1, "minAvailable": None}


def test_consolidation_leaves_hub_and_proxy_alone() -> None:
    found = values()
    for of_pods in (found["hub"]["annotations"], found["proxy"]["annotations"]):
        assert of_pods["karpenter.sh/do-not-disrupt"] == "true"


def test_images_are_pulled_ahead_for_cpu_notebooks_on_their_nodes_alone() -> None:
    pools = section("nodePools")
    pools["batch"] = {**pools["cpu"], "taints": [{"key": "example.com/batch", "effect": "NoSchedule"}]}
    teams = section("teams")
    for team in teams.values():
        team["nodePools"] = [name for name in team.get("nodePools", ["cpu", "gpu", "gpu-shared"]) if name != "batch"]
    found = values(nodePools=pools, teams=teams)
    (term,) = found["singleuser"]["extraNodeAffinity"]["required"]
    (expression,) = term["matchExpressions"]
    assert (expression["key"], expression["values"]) == (pod.POOL_LABEL, ["cpu"])
    pulled = [found["singleuser"]["image"], *found["prePuller"]["extraImages"].values()]
    images = {f"{one['name']}:{one['tag']}" for one in pulled}
    assert images == {profile["image"] for profile in section("profiles").values() if "gpu" not in profile}
    assert found["prePuller"]["hook"] == {"enabled": False}
    assert found["prePuller"]["extraTolerations"] == []


def test_pullers_tolerate_the_taints_of_pools_that_teams_use() -> None:
    pools = section("nodePools")
    pools["cpu"]["taints"] = [{"key": "example.com/batch", "effect": "NoSchedule"}]
    (toleration,) = values(nodePools=pools)["prePuller"]["extraTolerations"]
    assert toleration["key"] == "example.com/batch"


def test_an_image_by_its_digest_is_put_together_again_by_the_template() -> None:
    profiles = section("profiles")
    digest = f"quay.io/x/y:1@sha256:{'0' * 64}"
    profiles["python"]["image"] = digest
    image = values(profiles=profiles)["singleuser"]["image"]
    assert f"{image['name']}:{image['tag']}" == digest


@pytest.mark.parametrize(
    ("hub", "lifecycle", "pulled"),
    [
        ({}, {"kind": "lab", "expires": "2027-12-31"}, False),
        ({"prePull": True}, {"kind": "lab", "expires": "2027-12-31"}, True),
        ({}, {"kind": "production"}, True),
        ({"prePull": False}, {"kind": "production"}, False),
    ],
)
def test_images_are_pulled_ahead_in_production_or_if_it_is_asked_for(
    hub: dict[str, Any], lifecycle: dict[str, Any], pulled: bool
) -> None:
    identity = {"administrators": ["ada@example.com"]}
    found = values(hub=hub, lifecycle=lifecycle, identity=identity)
    assert found["prePuller"]["continuous"]["enabled"] is pulled


def test_every_image_comes_through_the_mirror_with_its_secret() -> None:
    found = values(hub={"registry": REGISTRY})
    named = [
        found["hub"]["image"],
        found["proxy"]["chp"]["image"],
        found["prePuller"]["pause"]["image"],
        found["singleuser"]["image"],
        *found["prePuller"]["extraImages"].values(),
    ]
    assert [one["name"] for one in named if not one["name"].startswith("mirror.example.com/quay/")] == []
    assert found["imagePullSecrets"] == [PULL_SECRET]
    assert values()["imagePullSecrets"] == []


def test_database_is_sqlite_on_a_volume_or_postgres_over_tls() -> None:
    volume = values()["hub"]["db"]
    assert (volume["type"], volume["pvc"]) == ("sqlite-pvc", {"storage": "4Gi", "storageClassName": "gp3"})
    postgres = values(URL)["hub"]["db"]
    assert postgres["type"] == "postgres"
    assert postgres["upgrade"] is True
    assert "sslmode=require" in postgres["url"]


def test_named_servers_are_as_many_as_the_settings_say() -> None:
    hub = values(hub={"namedServers": 5})["hub"]
    assert (hub["allowNamedServers"], hub["namedServerLimitPerUser"]) == (True, 5)
    assert values(hub={"namedServers": 0})["hub"]["allowNamedServers"] is False


def test_nothing_that_restricted_refuses_or_that_does_our_work_a_second_time() -> None:
    found = values()
    assert found["singleuser"]["cloudMetadata"]["blockWithIptables"] is False
    assert found["singleuser"]["storage"] == {"type": "none"}
    assert found["scheduling"]["userScheduler"]["enabled"] is False
    assert found["cull"]["enabled"] is False
    assert found["proxy"]["service"]["type"] == "ClusterIP"
    assert found["rbac"]["create"] is False


def test_start_timeout_is_that_of_the_settings() -> None:
    assert values(hub={"startTimeout": "20m"})["singleuser"]["startTimeout"] == 1200
