"""Pods of notebooks on the real API server, with the real KubeSpawner and Karpenter: what people get, and are refused.

Everything is done with the rights of the hub's account. Kubelets are KWOK's: no container runs.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from karpenter_lab import until
from kubernetes_asyncio.client.rest import ApiException
from notebook_lab import NotebookLab, Spawning, pod_of

import contracts
from components.ground.reach import Reach
from components.hub.inside.choices import choices
from components.hub.inside.people import ROLES, group_of
from components.hub.inside.quantities import amount
from components.teams import network_policy as team_network
from components.teams.names import NOTEBOOK_PORT
from rehearsal.controllers.world import NODES, Object, place
from rehearsal.providers.kubernetes.client import ApiError

pytestmark = pytest.mark.seconds(100)

PODS = "/api/v1/pods"


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
        (shared,) = [one["name"] for one in container["volumeMounts"] if one["mountPath"] == "/dev/shm"]
        in_memory = next(one["emptyDir"] for one in spec["volumes"] if one["name"] == shared)
        assert in_memory["medium"] == "Memory"
        assert amount(in_memory["sizeLimit"]) == amount(wanted.shared_memory or "0") == amount(wanted.memory) / 2
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
        preferred = spec["affinity"]["nodeAffinity"].get("preferredDuringSchedulingIgnoredDuringExecution", [])
        # But for machines that end soon.
        asked = [term["key"] for one in preferred for term in one["preference"]["matchExpressions"]]
        assert set(asked) <= {"kubernetes.io/hostname"}
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
    own = team_network.network_policy(Reach(cluster_cidr="10.40.0.0/16", api_server_cidrs=()), reaches_buckets=False)
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
