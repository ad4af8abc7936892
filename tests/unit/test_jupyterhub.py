"""The hub in a whole platform: its parts, where its secrets are, and what it waits for."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import ingress_mocks
import jupyterhub.crypto
import platform_lab
import pytest
from engine_mocks import EngineMocks, Registered
from jupyterhub.app import JupyterHub
from test_notebook_catalogue import of_dev
from traitlets.config import Config

import contracts
from components.hub import values as jupyterhub_values
from components.hub.inside import catalogue as hub_catalogue
from components.hub.inside import config as hub_config
from components.hub.inside import pod
from components.hub.inside import sign_in as hub_sign_in
from components.hub.jupyterhub import (
    MODULES,
    PRIORITY_CLASS,
    hub_modules,
    hub_rules,
    published_service,
    secrets_checksum,
)
from components.hub.values import PACKAGE, SECRETS_CHECKSUM
from components.identity.first_sign_in import first_steps
from components.identity.realm.clients import HUB_BASE_URL
from components.ingress.ingress import rules_of
from components.ingress.published_service import wildcards
from components.nodes.warm import PRIORITY as PLACEHOLDER_PRIORITY
from components.platform_urls import PlatformUrls
from components.teams.names import HUB_NAMESPACE
from rehearsal.providers.protocol.model import Request
from rehearsal.providers.random.provider import RandomProvider
from settings import Identity

RELEASE, CONFIG_MAP, SECRET = (
    "kubernetes:helm.sh/v3:Release",
    "kubernetes:core/v1:ConfigMap",
    "kubernetes:core/v1:Secret",
)


INSTANCE, SNAPSHOT = "aws:rds/instance:Instance", "aws:rds/snapshot:Snapshot"


PASSWORD = "random:index/randomPassword:RandomPassword"


IMAGE = "quay.io/jupyter/base-notebook:2026-08-03"


SECTIONS: dict[str, Any] = {
    "gpulab:profiles": {"python": {"displayName": "Python", "image": IMAGE, "cpu": 2, "memory": 4}},
    "gpulab:teams": {
        "research": {
            "description": "Models",
            "quota": {"cpu": 8, "memory": 32, "notebooks": 4},
            "profiles": ["python"],
        }
    },
    "gpulab:identity": {"administrators": ["ada@example.com"]},
}


PUBLIC = {"access": "internet-facing", "domain": "lab.example.com", "cidrs": ["203.0.113.0/24"]}


Deploy = Callable[..., None]


def answer(mocks: EngineMocks) -> None:
    """Has `mocks` compute what RDS and Pulumi's own naming do."""
    mocks.outputs[SNAPSHOT] = lambda resource: {"dbSnapshotArn": f"arn of {resource.name}"}
    mocks.outputs[CONFIG_MAP] = lambda resource: {
        "metadata": {"name": f"{resource.name}-named-by-pulumi", **resource.inputs["metadata"]}
    }


@pytest.fixture(scope="module")
def lab() -> EngineMocks:
    """The graph of a lab with a hub, which tests only read."""
    mocks = EngineMocks()
    answer(mocks)
    with pytest.MonkeyPatch.context() as patch, platform_lab.answering_eks(mocks, patch):
        platform_lab.deploy(mocks, **SECTIONS)
    return mocks


@pytest.fixture
def deploy(mocks: EngineMocks, monkeypatch: pytest.MonkeyPatch) -> Iterator[Deploy]:
    """Deploys a lab with a hub, and some sections of its stack file changed."""
    answer(mocks)
    with platform_lab.answering_eks(mocks, monkeypatch):
        yield (
            lambda **changed: (
                platform_lab.deploy(
                    mocks, **{**SECTIONS, **{f"gpulab:{name}": value for name, value in changed.items()}}
                )
                and None
            )
        )


def hub_release(mocks: EngineMocks) -> Registered:
    (found,) = [one for one in mocks.all(RELEASE) if one.inputs["chart"] == "jupyterhub"]
    return found


def in_hub(mocks: EngineMocks, kind: str) -> dict[str, Registered]:
    found = [one for one in mocks.all(kind) if one.inputs["metadata"].get("namespace") == HUB_NAMESPACE]
    return {one.outputs["metadata"]["name"]: one for one in found}


def test_no_secret_is_among_helms_values_and_each_is_where_the_chart_looks(lab: EngineMocks) -> None:
    secrets = in_hub(lab, SECRET)
    values = hub_release(lab).inputs["values"]
    held = secrets[values["hub"]["existingSecret"]].inputs["stringData"]
    assert held["hub.config.JupyterHub.cookie_secret"] == "generated for gpulab-dev-hub-cookies"
    assert held["hub.config.CryptKeeper.keys"] == "generated for gpulab-dev-hub-auth-state"
    # The chart mounts the Secret, and the hub reads the file.
    assert "extraEnv" not in values["hub"]
    client_secret = held[hub_sign_in.CLIENT_SECRET.name]
    assert client_secret == "generated for gpulab-dev-identity-client-jupyterhub-secret"
    text = json.dumps(values)
    assert [one for one in held.values() if one in text] == []


def test_a_new_secret_of_any_kind_starts_the_hub_anew(lab: EngineMocks) -> None:
    held = in_hub(lab, SECRET)["hub-secrets"].inputs["stringData"]
    annotation = hub_release(lab).inputs["values"]["hub"]["annotations"][SECRETS_CHECKSUM]
    assert annotation == lab.value(secrets_checksum(held))
    changed = [lab.value(secrets_checksum({**held, key: "another"})) for key in held]
    assert len({annotation, *changed}) == 1 + len(held)


def keys(lab: EngineMocks) -> list[tuple[dict[str, Any], list[str]]]:
    """The inputs of the hub's keys, and those whose changes are ignored. The mocks have floats for whole numbers."""
    found = [lab.one(PASSWORD, name) for name in ("gpulab-dev-hub-cookies", "gpulab-dev-hub-auth-state")]
    return [({**one.inputs, "length": int(one.inputs["length"])}, one.ignore_changes) for one in found]


def test_keys_are_what_jupyterhub_wants_and_no_state_has_them_open(lab: EngineMocks) -> None:
    kind, request = RandomProvider().resource_type(PASSWORD), Request(urn="", provider=RandomProvider())
    for given, _ in keys(lab):
        id, outputs = kind.create(kind.check(given, {}, request), request)
        assert len(bytes.fromhex(outputs["result"])) == 32
        assert jupyterhub.crypto._validate_key(outputs["result"]) == bytes.fromhex(outputs["result"])
        assert id == "none"


def test_a_key_of_before_can_be_imported_and_stays(lab: EngineMocks) -> None:
    """With the recipe of docs/upgrades.md: an import's state must not cause a new key."""
    kind, request = RandomProvider().resource_type(PASSWORD), Request(urn="", provider=RandomProvider())
    for given, ignore_changes in keys(lab):
        found = kind.read("0f" * 32, {}, {}, request)
        assert found
        inputs, outputs = found
        ignored = {key: inputs[key] for key in ignore_changes if key in inputs}
        asked = {key: value for key, value in given.items() if key not in ignore_changes}
        assert kind.difference(inputs, kind.check({**asked, **ignored}, inputs, request), outputs).changes == []


def test_release_asks_helm_to_go_back_when_an_upgrade_fails(lab: EngineMocks) -> None:
    release = hub_release(lab)
    assert release.inputs["atomic"] is True
    assert release.inputs["cleanupOnFail"] is True
    assert release.inputs["version"] == contracts.chart("jupyterhub").version
    assert release.inputs["namespace"] == HUB_NAMESPACE
    # Deprecated: the plugin keeps nulls, and warns of it.
    assert "allowNullValues" not in release.inputs


def test_each_content_has_a_config_map_whose_name_comes_never_again(lab: EngineMocks) -> None:
    maps = in_hub(lab, CONFIG_MAP)
    assert all(one.inputs["immutable"] for one in maps.values())
    # With a name of the program's, going back to a content would make the map of that name a second time.
    assert not [one for one in maps.values() if "name" in one.inputs["metadata"]]
    sources = hub_release(lab).inputs["values"]["hub"]["extraVolumes"][0]["projected"]["sources"]
    mounted = {key for source in sources for key in maps[source["configMap"]["name"]].inputs["data"]}
    assert {"config.py", "catalogue.json"} <= mounted


def test_hubs_modules_read_the_catalogue_that_the_program_writes(lab: EngineMocks) -> None:
    data = {key: text for one in in_hub(lab, CONFIG_MAP).values() for key, text in one.inputs["data"].items()}
    known = hub_catalogue.parse(json.loads(data["catalogue.json"]))
    assert list(known.teams) == ["research"]
    assert known.profiles["python"].image == IMAGE
    assert hub_config.CATALOGUE.name in data


def test_package_of_the_hub_is_whole() -> None:
    modules = hub_modules()
    assert {"__init__.py", "config.py"} <= modules.keys()
    left_out = {path.name for path in MODULES.iterdir() if path.is_file()} - modules.keys()
    assert left_out == set()
    assert PACKAGE == "gpulab"


def test_hub_comes_after_teams_and_goes_before_them_and_does_not_wait_for_keycloak(lab: EngineMocks) -> None:
    release = hub_release(lab)
    (keycloak,) = [one for one in lab.all(RELEASE) if one.inputs["chart"].endswith("keycloakx")]
    (namespace,) = [
        one for one in lab.all("kubernetes:core/v1:Namespace") if one.inputs["metadata"]["name"] == "team-research"
    ]
    gate, end = (
        lab.one("pulumi-python:dynamic/gpulab:VolumeGate"),
        lab.one("pulumi-python:dynamic/gpulab:NotebookEnd"),
    )
    for needed in (namespace, gate, end):
        assert lab.needs(release, needed)
    assert not lab.needs(release, keycloak)
    assert lab.needs(end, namespace)


def test_hub_may_look_at_its_own_namespace_and_change_nothing_there() -> None:
    assert {verb for rule in hub_rules() for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert {one for rule in hub_rules() for one in rule["resources"]} == {"pods", "events"}


def test_notebooks_push_placeholders_aside_and_nobody_else(lab: EngineMocks) -> None:
    (priority,) = lab.all("kubernetes:scheduling.k8s.io/v1:PriorityClass")
    assert priority.inputs["metadata"]["name"] == PRIORITY_CLASS == pod.PRIORITY_CLASS
    assert PLACEHOLDER_PRIORITY < priority.inputs["value"] <= 0


def test_a_hub_that_is_turned_off_leaves_teams_and_identity(deploy: Deploy, mocks: EngineMocks) -> None:
    deploy(hub={"enabled": False})
    assert [one for one in mocks.all(RELEASE) if one.inputs["chart"] == "jupyterhub"] == []
    assert [one for one in mocks.resources if one.type == "gpulab:index:Team"]
    assert in_hub(mocks, SECRET) == {}


def test_database_on_rds_waits_for_neither_teams_nor_keycloak(deploy: Deploy, mocks: EngineMocks) -> None:
    deploy(hub={"database": {"kind": "rds"}})
    (instance,) = [one for one in mocks.all(INSTANCE) if one.inputs["identifier"].endswith("-jupyterhub")]
    (keycloak,) = [one for one in mocks.all(INSTANCE) if one.inputs["identifier"].endswith("-keycloak")]
    assert not mocks.needs(instance, keycloak)
    assert not [one for one in mocks.all("kubernetes:core/v1:Namespace") if mocks.needs(instance, one)]
    assert (instance.inputs["dbName"], instance.inputs["username"]) == ("jupyterhub", "jupyterhub")
    held = in_hub(mocks, SECRET)["hub-secrets"].inputs["stringData"]
    assert held["hub.db.password"] == instance.inputs["password"]
    assert hub_release(mocks).inputs["values"]["hub"]["db"]["url"].startswith("postgresql+psycopg2://jupyterhub@")


def test_production_keeps_its_database_and_has_it_snapshot_before_an_upgrade(
    deploy: Deploy, mocks: EngineMocks
) -> None:
    deploy(lifecycle={"kind": "production"})
    (instance,) = [one for one in mocks.all(INSTANCE) if one.inputs["identifier"].endswith("-jupyterhub")]
    assert instance.inputs["multiAz"] is True
    assert instance.inputs["deletionProtection"] is True
    assert instance.protect
    version = (contracts.chart("jupyterhub").app_version or "").replace(".", "-")
    names = [one.inputs["dbSnapshotIdentifier"] for one in mocks.all(SNAPSHOT)]
    assert f"gpulab-dev-jupyterhub-before-{version}" in names


def test_registrys_credentials_are_in_the_hubs_namespace_and_in_each_teams(deploy: Deploy, mocks: EngineMocks) -> None:
    arn = "arn:aws:secretsmanager:us-east-1:123456789012:secret:registry-AbCdEf"
    mocks.invokes["aws:secretsmanager/getSecretVersion:getSecretVersion"] = {"secretString": '{"auths": {}}'}
    deploy(hub={"registry": {"pullSecret": {"secretsManager": arn}}})
    found = [one for one in mocks.all(SECRET) if one.inputs.get("type") == "kubernetes.io/dockerconfigjson"]
    assert {one.inputs["metadata"]["namespace"] for one in found} == {HUB_NAMESPACE, "team-research"}
    assert {one.inputs["metadata"]["name"] for one in found} == {"registry"}
    assert {one.inputs["stringData"][".dockerconfigjson"] for one in found} == {'{"auths": {}}'}


def test_load_balancers_binding_waits_for_the_hubs_namespace(
    deploy: Deploy, mocks: EngineMocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingress_mocks.answer(mocks, monkeypatch)
    deploy(
        ingress={
            "access": "internet-facing",
            "domain": "gpulab.example.com",
            "hostedZone": "example.com",
            "cidrs": ["203.0.113.0/24"],
        }
    )
    (namespace,) = [
        one for one in mocks.all("kubernetes:core/v1:Namespace") if one.inputs["metadata"]["name"] == HUB_NAMESPACE
    ]
    bindings = [one for one in mocks.resources if one.type.endswith(":TargetGroupBinding")]
    (binding,) = [one for one in bindings if one.inputs["metadata"]["namespace"] == HUB_NAMESPACE]
    assert mocks.needs(binding, namespace)


def test_load_balancer_asks_the_proxy_itself_so_that_notebooks_outlive_a_start_of_the_hub() -> None:
    published = published_service(of_dev(ingress=PUBLIC), HUB_NAMESPACE)
    assert published.host == "platform.lab.example.com"
    assert (published.service, published.port, published.target_port) == ("proxy-public", 80, 8000)
    assert "hub" not in published.health_check_path


def test_at_names_of_people_there_are_notebooks_and_no_page_of_the_hub() -> None:
    published = published_service(of_dev(ingress=PUBLIC), HUB_NAMESPACE)
    below = [one for one in rules_of(published) if one.host == "*.platform.lab.example.com"]
    assert [(one.paths, one.redirect_to) for one in below] == [
        ((f"{HUB_BASE_URL}/user/*",), None),
        (("/*",), "platform.lab.example.com"),
    ]
    # As the hub's own configuration has it.
    assert jupyterhub_values.jupyterhub(of_dev(ingress=PUBLIC))["subdomain_host"] == f"https://{published.host}"
    for one_origin in (of_dev(ingress=PUBLIC, hub={"subdomains": False}), of_dev()):
        assert wildcards([published_service(one_origin, HUB_NAMESPACE)]) == []
        assert "subdomain_host" not in jupyterhub_values.jupyterhub(one_origin)


@pytest.mark.parametrize(
    "name", ["ada", "ada.lovelace", "ada@example.com", "a--b", "12345", "-ada-", "ädä.lovelace", "x" * 80]
)
def test_each_person_has_a_name_that_certificate_and_rules_are_for(name: str) -> None:
    """JupyterHub's own: a dot in a name must not make a name two levels down (jupyterhub#4282)."""
    stack = of_dev(ingress=PUBLIC)
    app = JupyterHub(config=Config(JupyterHub=jupyterhub_values.jupyterhub(stack)))
    label, _, rest = app.subdomain_hook(name, app.domain, kind="user").partition(".")
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label)
    assert wildcards([published_service(stack, HUB_NAMESPACE)]) == [f"*.{rest}"]


def test_first_steps_name_who_has_a_password_and_who_signs_in_otherwise() -> None:
    identity = Identity.model_validate(
        {
            "administrators": ["ada@example.com"],
            "providers": {
                "company": {
                    "kind": "google",
                    "clientId": "a",
                    "clientSecret": {"kubernetesSecret": "google", "key": "secret"},
                    "hostedDomain": "example.com",
                }
            },
        }
    )
    steps = "\n".join(first_steps(identity, PlatformUrls.of("lab.example.com"), "kubectl"))
    assert "ada@example.com" in steps
    assert "company" in steps
    assert "https://platform.lab.example.com/jupyter/" in steps
    assert "first-passwords" in steps
