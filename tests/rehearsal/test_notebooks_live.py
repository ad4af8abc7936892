"""Notebooks on the real API server, with the real KubeSpawner and Karpenter: what each person gets, and is refused.

Everything is done with the rights of the hub's account. Kubelets are KWOK's: no container runs.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from karpenter_lab import CLUSTER, running_lab, until
from kubernetes_asyncio.client.rest import ApiException
from notebook_lab import NotebookLab, Spawning, hub_kubeconfig, make_hub

import contracts
from components import team_network, volumes
from components.csi_drivers import EBS_DRIVER
from components.hub import telling
from components.hub.choices import choices
from components.hub.people import ROLES, group_of
from components.hub.spawner import NotebookSpawner, Refused, pre_spawn_hook
from components.team_names import NOTEBOOK_PORT
from rehearsal.controllers.volumes import ADDON as EBS_ADDON
from rehearsal.controllers.volumes import CLAIMS, CLASSES
from rehearsal.controllers.world import NODES, Kubernetes, Object, place
from rehearsal.providers.kubernetes.client import ApiError
from rehearsal.toolchain import Toolchain
from settings import Storage

pytestmark = pytest.mark.seconds(100)

PODS = "/api/v1/pods"


@pytest.fixture(scope="module")
def notebooks(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookLab]:
    """dev's pools and teams."""
    folder = tmp_path_factory.mktemp("notebooks")
    with running_lab(toolchain, folder) as lab:
        for pool in lab.settings.node_pools:
            lab.make_pool(pool)
        make_hub(lab.kubernetes)
        account = hub_kubeconfig(lab.kubernetes, folder / "kubernetes" / "kubeconfig", folder)
        made = NotebookLab(lab, lab.settings, account, folder)
        for pool in lab.settings.node_pools:
            until(lambda pool=pool: lab.is_ready(pool), f"{pool} is ready")
        yield made


@pytest.fixture(autouse=True)
def _nothing_left(notebooks: NotebookLab) -> Iterator[None]:
    yield
    for team in notebooks.catalogue.teams.values():
        for one in notebooks.pods(team.namespace):
            notebooks.lab.kubernetes.delete(place(PODS, one["metadata"]["name"], team.namespace))
    notebooks.lab.end_nodes()


def pod_of(notebooks: NotebookLab, spawner: NotebookSpawner) -> Object:
    found = notebooks.lab.kubernetes.get(place(PODS, spawner.pod_name, spawner.namespace))
    assert found
    return found


def test_every_choice_is_admitted_and_gets_its_kind_of_node(notebooks: NotebookLab) -> None:
    """Each profile of each team, by people of all roles. In a team one after the other: its quota is for few."""
    catalogue = notebooks.catalogue
    offered: dict[str, dict[str, list[str]]] = {}
    for team in catalogue.teams:
        for role in ROLES:
            for choice in choices(catalogue, [group_of(team, role)]):
                offered.setdefault(team, {}).setdefault(choice.slug, []).append(role)

    async def of_team(spawning: Spawning, team: str) -> list[tuple[str, str, Object, Object]]:
        seen = []
        for number, (slug, roles) in enumerate(offered[team].items()):
            role = roles[number % len(roles)]
            spawner = await spawning.start(f"{role}@example.com", [group_of(team, role)], slug)
            pod = pod_of(notebooks, spawner)
            node = notebooks.lab.kubernetes.get(place(NODES, pod["spec"]["nodeName"]))
            assert node
            seen.append((slug, role, pod, node))
            await spawning.stop(spawner)
        return seen

    async def of_all(spawning: Spawning) -> list[tuple[str, str, Object, Object]]:
        return [one for team in await asyncio.gather(*(of_team(spawning, team) for team in offered)) for one in team]

    seen = notebooks.run(of_all)
    assert {role for _, role, _, _ in seen} == set(ROLES)
    assert {slug.partition("_")[2] for slug, _, _, _ in seen} == set(catalogue.profiles)
    for slug, role, pod, node in seen:
        team, _, profile = slug.partition("_")
        wanted = catalogue.profiles[profile]
        spec, labels = pod["spec"], pod["metadata"]["labels"]
        assert pod["metadata"]["namespace"] == f"team-{team}"
        assert (labels["gpulab.dev/team"], labels["gpulab.dev/profile"]) == (team, profile)
        assert spec["serviceAccountName"] == "notebook"
        assert spec["automountServiceAccountToken"] is False
        assert pod["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
        (container,) = spec["containers"]
        assert container["image"] == wanted.image
        home = next(one for one in container["volumeMounts"] if one["mountPath"] == "/home/jovyan")
        assert home["subPath"] == labels["gpulab.dev/person"] != f"{role}@example.com"
        pool = node["metadata"]["labels"]["gpulab.dev/pool"]
        machine = contracts.instance_types()[node["metadata"]["labels"]["node.kubernetes.io/instance-type"]]
        if wanted.gpu is None:
            assert pool == "cpu"
            assert machine.gpu_count == 0
        else:
            assert pool == wanted.gpu.pool
            assert container["resources"]["limits"][wanted.gpu.resource] == str(wanted.gpu.count)
            assert wanted.gpu.resource.endswith("shared") or machine.gpu_count >= wanted.gpu.count
            if any(one["key"].endswith("gpu-memory") for one in wanted.gpu.affinity):
                assert machine.gpu_memory_mib > 22 * 1024
        # What the chart does for notebooks anywhere, and these have no part in.
        assert [one["key"] for one in spec["tolerations"] if "hub.jupyter.org" in one["key"]] == []
        assert "preferredDuringSchedulingIgnoredDuringExecution" not in spec["affinity"]["nodeAffinity"]
        assert_let_through(notebooks, pod)


def assert_let_through(notebooks: NotebookLab, pod: Object) -> None:
    """The network policies of hub and proxy let through to the notebook, and from it to the hub."""
    namespace = notebooks.lab.kubernetes.get(place("/api/v1/namespaces", pod["metadata"]["namespace"]))
    assert namespace
    labels = pod["metadata"]["labels"]
    hub, proxy = notebooks.values["hub"]["networkPolicy"], notebooks.values["proxy"]["chp"]["networkPolicy"]
    for policy in (hub, proxy):
        ports_and_peers = [(rule["ports"][0]["port"], peer) for rule in policy["egress"] for peer in rule["to"]]
        (peer,) = [peer for port, peer in ports_and_peers if port == NOTEBOOK_PORT]
        assert selects(peer["namespaceSelector"], namespace["metadata"]["labels"])
        assert selects(peer["podSelector"], labels)
    # The chart's hub takes pods with this label, of all namespaces where it is told to (templates/hub/netpol.yaml).
    assert hub["interNamespaceAccessLabels"] == "accept"
    assert labels["hub.jupyter.org/network-access-hub"] == "true"
    own = team_network.network_policy(vpc_cidr="10.40.0.0/16", reaches_buckets=False)
    assert selects(own["podSelector"], labels)


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Whether a label selector takes these labels."""
    assert all(one["operator"] == "Exists" for one in selector.get("matchExpressions", []))
    keys = {one["key"] for one in selector.get("matchExpressions", [])}
    return keys <= labels.keys() and selector.get("matchLabels", {}).items() <= labels.items()


def test_who_looks_at_a_notebooks_pod_does_not_read_its_token(notebooks: NotebookLab) -> None:
    async def of_ada(spawning: Spawning) -> tuple[Object, list[Object]]:
        spawner = await spawning.start("ada@example.com", [group_of("research", "developer")], "research_python")
        pod = pod_of(notebooks, spawner)
        secrets = notebooks.lab.kubernetes.list("/api/v1/namespaces/team-research/secrets")
        await spawning.stop(spawner)
        return pod, secrets

    pod, secrets = notebooks.run(of_ada)
    (container,) = pod["spec"]["containers"]
    variables = {one["name"]: one for one in container["env"]}
    for name in ("JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"):
        assert "value" not in variables[name]
        reference = variables[name]["valueFrom"]["secretKeyRef"]
        (secret,) = [one for one in secrets if one["metadata"]["name"] == reference["name"]]
        assert base64.b64decode(secret["data"][reference["key"]]) == b"token"
        (owner,) = secret["metadata"]["ownerReferences"]
        assert owner["uid"] == pod["metadata"]["uid"]
    assert '"value": "token"' not in json.dumps(pod)
    until(
        lambda: (
            not [
                one
                for one in notebooks.lab.kubernetes.list("/api/v1/namespaces/team-research/secrets")
                if one["metadata"]["name"] == secret["metadata"]["name"]
            ]
        ),
        "the Secret goes with its pod",
    )


@pytest.fixture
def two_gpus(notebooks: NotebookLab) -> Iterator[None]:
    """The quota of research is two GPUs."""
    quota = place("/api/v1/resourcequotas", "team", "team-research")
    before = notebooks.lab.kubernetes.request("GET", quota)["spec"]["hard"]

    def set_hard(hard: Object) -> None:
        notebooks.lab.kubernetes.patch(quota, {"spec": {"hard": hard}})
        until(lambda: notebooks.lab.kubernetes.request("GET", quota)["status"].get("hard") == hard, "the quota counts")

    set_hard({**before, "requests.nvidia.com/gpu": "2"})
    yield
    set_hard(before)


@pytest.mark.usefixtures("two_gpus")
def test_the_third_gpu_of_a_quota_of_two_is_refused_before_there_is_a_pod(notebooks: NotebookLab) -> None:
    async def three(spawning: Spawning) -> str:
        group = [group_of("research", "data-scientist")]
        await spawning.start("ada", group, "research_pytorch")
        await spawning.start("grace", group, "research_tensorflow")
        with pytest.raises(Refused) as refused:
            await pre_spawn_hook(spawning.spawner("alan", group, "research_pytorch"))
        return str(refused.value)

    said = notebooks.run(three)
    assert "quota is 2 GPUs: 2 in use (ada 1, grace 1), 0 left, and this needs 1" in said
    assert {one["metadata"]["annotations"]["hub.jupyter.org/username"] for one in notebooks.pods("team-research")} == {
        "ada",
        "grace",
    }


@pytest.mark.usefixtures("two_gpus")
def test_the_quota_that_two_race_for_is_told_as_the_cluster_says_it(notebooks: NotebookLab) -> None:
    """Somebody else had the last GPU after the hub had looked: the API server refuses the pod itself."""

    async def late(spawning: Spawning) -> str:
        group = [group_of("research", "data-scientist")]
        late = spawning.spawner("alan", group, "research_pytorch")
        await pre_spawn_hook(late)
        await spawning.start("ada", group, "research_pytorch")
        await spawning.start("grace", group, "research_tensorflow")
        with pytest.raises(Refused) as refused:
            await late.start()
        return str(refused.value)

    assert "exceeded quota" in notebooks.run(late)


def test_what_gets_no_machine_ends_with_what_karpenter_says(notebooks: NotebookLab) -> None:
    """The pool is full by pods of which the hub knows nothing."""

    def fill() -> None:
        for number in range(2):
            notebooks.lab.run_pod(f"other-{number}", gpus=8, pool="gpu")
        until(lambda: all(notebooks.lab.node_of(f"other-{number}") for number in range(2)), "the pool is full")

    async def start(spawning: Spawning) -> tuple[str, list[str]]:
        spawner = spawning.spawner("ada", [group_of("research", "data-scientist")], "research_pytorch")
        spawner.start_timeout = 90
        await pre_spawn_hook(spawner)
        starting = spawner.start()
        with pytest.raises(Refused) as refused:
            await starting
        return str(refused.value), [step["message"] async for step in spawner.progress()]

    fill()
    try:
        said, told = notebooks.run(start)
    finally:
        for number in range(2):
            notebooks.lab.delete_pod(f"other-{number}")
    assert "Karpenter could buy no machine" in said
    assert "limit" in said
    assert any("Karpenter can buy no machine for it" in line for line in told), told


def test_the_page_tells_of_the_machine_that_is_bought(notebooks: NotebookLab) -> None:
    async def start(spawning: Spawning) -> tuple[list[str], list[Any]]:
        spawner = await spawning.start("ada", [group_of("research", "data-scientist")], "research_pytorch")
        told = [step["message"] async for step in spawner.progress()]
        return told, [await spawner._machine(name) for name in telling.machines(spawner.events)]

    told, machines = notebooks.run(start)
    assert machines  # which the hub may look at, to say why one does not become ready
    assert {one["kind"] for one in machines} == {"NodeClaim"}
    assert told[0].startswith("PyTorch")
    assert "for team research" in told[0]
    assert any("Karpenter buys a machine for it" in line for line in told), told


def test_the_hub_reaches_no_other_namespace_and_nothing_of_the_cluster(notebooks: NotebookLab) -> None:
    async def look(spawning: Spawning) -> Any:
        spawner = spawning.spawner("ada", [group_of("research", "developer")])
        for asked in (
            spawner.api.list_pod_for_all_namespaces(),
            spawner.api.list_node(),
            spawner.api.list_namespaced_secret("team-research"),
            spawner.api.list_namespaced_pod("kube-system"),
        ):
            with pytest.raises(ApiException, match="is forbidden"):
                await asked

    notebooks.run(look)


def test_a_privileged_change_of_a_notebook_is_refused(notebooks: NotebookLab) -> None:
    """What the hub makes is admitted because it conforms, not because nobody looks."""

    async def start(spawning: Spawning) -> Object:
        spawner = await spawning.start("ada", [group_of("data-platform", "developer")])
        return pod_of(notebooks, spawner)

    made = notebooks.run(start)
    spec = {name: value for name, value in made["spec"].items() if name not in ("nodeName", "priority")}
    spec["containers"][0]["securityContext"] = {"privileged": True}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "privileged"}, "spec": spec}
    with pytest.raises(ApiError, match="violates PodSecurity"):
        notebooks.lab.kubernetes.create(place(PODS, "privileged", "team-data-platform"), pod)


@pytest.fixture
def disks(notebooks: NotebookLab, tmp_path: Path) -> Iterator[NotebookLab]:
    """A team whose people have a home each: a disk of the EBS CSI driver's, as large as the settings say."""
    lab = notebooks.lab
    lab.client("eks").create_addon(clusterName=CLUSTER, addonName=EBS_ADDON)
    gp3 = {
        "metadata": {"name": volumes.GP3_CLASS},
        "provisioner": EBS_DRIVER,
        "parameters": {"type": "gp3"},
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    lab.kubernetes.create(place(CLASSES, volumes.GP3_CLASS), gp3)
    research = lab.settings.teams["research"]
    quota = research.quota.model_copy(update={"storage": 40})
    storage = Storage.model_validate({"homes": "per-person", "homeSize": 20, "retain": False})
    teams = {"disks": research.model_copy(update={"quota": quota})}
    changed = dataclasses.replace(lab.settings, storage=storage, teams=teams)
    made = NotebookLab(lab, changed, notebooks.kubeconfig, tmp_path)
    hub = Kubernetes(notebooks.kubeconfig)

    def hub_may_look() -> bool:
        with contextlib.suppress(ApiError):
            hub.request("GET", "/api/v1/namespaces/team-disks/resourcequotas")
            return True
        return False

    # The authorizer hears of a binding a moment later.
    until(hub_may_look, "the hub may look into the team's namespace")
    yield made
    for one in made.pods("team-disks"):
        lab.kubernetes.delete(place(PODS, one["metadata"]["name"], "team-disks"))


def test_homes_per_person_are_disks_that_the_hub_makes_and_finds_again(disks: NotebookLab) -> None:
    group = [group_of("disks", "developer")]

    async def start(spawning: Spawning) -> list[Object]:
        claims = []
        for person in ("ada@example.com", "grace@example.com", "ada@example.com"):
            spawner = await spawning.start(person, group, "disks_python")
            spec = pod_of(disks, spawner)["spec"]
            (name,) = [
                volume["persistentVolumeClaim"]["claimName"]
                for volume in spec["volumes"]
                for mount in spec["containers"][0]["volumeMounts"]
                if mount["mountPath"] == "/home/jovyan" and mount["name"] == volume["name"]
            ]
            claim = disks.lab.kubernetes.get(place(CLAIMS, name, "team-disks"))
            assert claim
            claims.append(claim)
            await spawning.stop(spawner)
            with pytest.raises(ApiException, match="is forbidden"):
                await spawner.api.delete_namespaced_persistent_volume_claim(name, "team-disks")
        with pytest.raises(Refused, match="exceeded quota"):
            await spawning.start("alan@example.com", group, "disks_python")
        return claims

    first, another, again = disks.run(start)
    for claim in (first, another):
        assert claim["status"]["phase"] == "Bound"
        assert claim["spec"]["storageClassName"] == volumes.GP3_CLASS
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
        assert claim["status"]["capacity"]["storage"] == "20Gi"
    assert again["metadata"]["uid"] == first["metadata"]["uid"] != another["metadata"]["uid"]
