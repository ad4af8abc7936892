"""When nodes end, according to NodeClaims, and the effects on starting and running notebooks."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, patch

import pytest
from hub_catalogue import NOON, choice, dev, document
from test_hub_starting import spawner_of

from components.hub.inside import node_ends, notices, pod_files
from components.hub.inside.catalogue import parse
from components.hub.inside.pod import overrides, pools_for
from components.hub.inside.spawner import NotebookSpawner

HOUR = timedelta(hours=1)


def claim(node: str | None, **spec: str) -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": "2026-09-01T12:00:00Z"},
        "spec": {"expireAfter": "720h", "terminationGracePeriod": "10m", **spec},
        "status": {"nodeName": node} if node else {},
    }


def test_a_machine_ends_when_its_age_and_the_grace_of_what_must_not_be_disrupted_are_over() -> None:
    never = claim("never", expireAfter="Never")
    endless = claim("endless")
    del endless["spec"]["terminationGracePeriod"]
    short = claim("short", expireAfter="1h30m0s")
    assert node_ends.ends([claim("node"), short, never, endless, claim(None)]) == {
        "node": NOON + timedelta(hours=720, minutes=10),
        "short": NOON + timedelta(hours=1, minutes=40),
    }


def test_of_an_end_that_has_begun_karpenter_says_the_time() -> None:
    drifted = claim("node")
    drifted["metadata"]["annotations"] = {"karpenter.sh/nodeclaim-termination-timestamp": "2026-09-01T18:00:00Z"}
    assert node_ends.ends([drifted]) == {"node": NOON + 6 * HOUR}


@pytest.mark.parametrize(("answer", "known"), [(404, {}), (503, None)])
def test_a_cluster_that_says_nothing_of_machines_keeps_nobody_out(answer: int, known: Any) -> None:
    refusal = type("Refusal", (Exception,), {"status": answer})
    api = SimpleNamespace(list_cluster_custom_object=AsyncMock(side_effect=refusal))
    with patch("components.hub.inside.node_ends.shared_client", lambda _: api):
        assert asyncio.run(node_ends.known()) == known


def test_a_machine_that_ends_before_the_notebook_has_to_is_avoided_and_one_that_ends_at_once_is_not_taken() -> None:
    agents = choice("research_agents")
    assert agents.profile.lifetime == 168 * 3600
    ends = {"old": NOON + HOUR / 2, "older": NOON + 100 * HOUR, "young": NOON + 700 * HOUR}
    found = overrides(dev(), agents, NOON, ends=ends)
    (preferred,) = found["node_affinity_preferred"]
    (avoided,) = preferred["preference"]["matchExpressions"]
    assert (avoided["operator"], avoided["values"]) == ("NotIn", ["old", "older"])
    (term,) = found["node_affinity_required"]
    (refused,) = [one for one in term["matchExpressions"] if one["key"] == avoided["key"]]
    assert (refused["operator"], refused["values"]) == ("NotIn", ["old"])
    # And the next start knows nothing of it.
    assert overrides(dev(), agents, NOON)["node_affinity_preferred"] == []


def test_a_profile_of_on_demand_machines_runs_on_no_other_and_in_no_pool_that_buys_none() -> None:
    changed = document()
    changed["profiles"]["python"]["capacityType"] = "on-demand"
    changed["pools"]["cheap"] = {**changed["pools"]["cpu"], "capacityTypes": ["spot"]}
    changed["teams"]["research"]["nodePools"].append("cheap")
    catalogue = parse(changed)
    python = choice("research_python", catalogue=catalogue)
    assert [pool.name for pool in pools_for(catalogue, python)] == ["cpu"]
    (term,) = overrides(catalogue, python, NOON)["node_affinity_required"]
    assert {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["on-demand"]} in term["matchExpressions"]
    agents = choice("research_agents", catalogue=catalogue)
    assert [pool.name for pool in pools_for(catalogue, agents)] == ["cpu", "cheap"]


LIMITS = "files.gpulab.dev/limits"


def spawner_with_pod() -> tuple[NotebookSpawner, Any, Any]:
    """A spawner, its notebook's pod, and the reflector that has seen it."""
    running = spawner_of("/research/developer")
    running.namespace, running.api = "team-research", SimpleNamespace(patch_namespaced_pod=AsyncMock())
    brought = pod_files.files(dev().profiles["python"], warn_minutes=10, started=NOON)
    pod: Any = {"metadata": {"annotations": pod_files.pod_annotations(brought)}, "spec": {"nodeName": "node"}}
    return running, pod, SimpleNamespace(pods={f"team-research/{running.pod_name}": pod})


def test_jupyterlab_is_told_by_the_pods_annotations_and_only_when_something_has_changed() -> None:
    running, pod, reflector = spawner_with_pod()
    end = datetime.now(UTC).replace(microsecond=0) + HOUR
    with patch.object(NotebookSpawner, "pod_reflector", reflector):
        asyncio.run(running.note_end_of_machine({"other": end}))
        assert running.machine_ends is None
        running.api.patch_namespaced_pod.assert_not_awaited()
        for _ in range(2):
            asyncio.run(running.note_end_of_machine({"node": end}))
            for call in running.api.patch_namespaced_pod.await_args_list:
                pod["metadata"]["annotations"] |= call.args[2]["metadata"]["annotations"]
    assert running.machine_ends == end
    running.api.patch_namespaced_pod.assert_awaited_once()
    limits = json.loads(pod["metadata"]["annotations"][LIMITS])
    assert limits["machineEnds"] == end.isoformat()
    assert limits["lifetimeSeconds"] == dev().profiles["python"].lifetime


@pytest.mark.parametrize("odd", ["x", "[]", "null", "[" * 100_000, "", None], ids=lambda odd: str(odd)[:5])
def test_what_somebody_makes_of_a_pods_annotations_is_nothing_to_change(odd: str | None) -> None:
    assert pod_files.limits_change({} if odd is None else {LIMITS: odd}, NOON) == {}


def test_a_notebook_of_which_nothing_can_be_noted_keeps_no_other_from_being_culled() -> None:
    """The culler checks all notebooks at once."""
    running, pod, reflector = spawner_with_pod()
    running.orm_spawner.started = running.orm_spawner.last_activity = NOON
    user: Any = running.user
    user.new_api_token = lambda **_: "token"
    # It ends while the others are asked.
    over: Any = SimpleNamespace(ready=True, server=None)

    async def ends(_: node_ends.Ends) -> None:
        over.ready = False

    over.note_end_of_machine, pod["spec"] = ends, None
    told: list[str] = []
    users = {"ada": SimpleNamespace(spawners={"": running}), "eve": SimpleNamespace(spawners={"": over})}
    hub: Any = SimpleNamespace(users=users, finish=told.append)
    with (
        patch.object(NotebookSpawner, "pod_reflector", reflector),
        patch.object(NotebookSpawner, "ready", True),
        patch.object(NotebookSpawner, "server", SimpleNamespace(url="/user/ada/", base_url="/user/ada/")),
        patch("components.hub.inside.node_ends.known", AsyncMock(return_value={"node": NOON})),
    ):
        asyncio.run(notices.EndsHandler.get(hub))
    assert [one["user"] for one in json.loads(told[0])] == ["ada"]


def test_the_home_page_tells_of_it_when_it_is_near() -> None:
    def told(minutes: int | None) -> list[str]:
        end = None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes, seconds=1)
        user: Any = SimpleNamespace(name="ada", spawners={"": SimpleNamespace(ready=True, machine_ends=end)})
        return notices.notices_for(dev())(user)

    assert told(None) == told(60) == []
    (said,) = told(9)
    assert "in 9 minutes: its machine is replaced" in said
