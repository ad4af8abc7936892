"""Starts of notebooks on the real API server, with the real KubeSpawner and Karpenter: what people read meanwhile.

Everything is done with the rights of the hub's account. Kubelets are KWOK's: no container runs.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from karpenter_lab import until
from notebook_lab import NotebookLab, Spawning, pod_of

from components.hub.inside import node_ends, start_messages
from components.hub.inside.people import group_of
from components.hub.inside.spawner import Refused, pre_spawn_hook
from rehearsal.controllers.world import Object, place
from settings.language.values import seconds

pytestmark = pytest.mark.seconds(100)


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
    assert "Karpenter could not buy a machine" in said
    assert "limit" in said
    assert any("Karpenter cannot buy a machine for it" in line for line in told), told


def test_the_page_tells_of_the_machine_that_is_bought_and_jupyterlab_of_its_end(notebooks: NotebookLab) -> None:
    async def start(spawning: Spawning) -> tuple[list[str], list[Any], Object]:
        spawner = await spawning.start("ada", [group_of("research", "data-scientist")], "research_pytorch")
        told = [step["message"] async for step in spawner.progress()]
        # Karpenter writes the node's name into the claim a moment after pods may start there; the hub looks again too.
        node = pod_of(notebooks, spawner)["spec"]["nodeName"]
        for _ in range(300):
            if node in (ends := await node_ends.known() or {}):
                break
            await asyncio.sleep(0.2)
        bought = [await spawner._machine(name) for name in start_messages.node_claims(spawner.events)]
        await spawner.note_end_of_machine(ends)
        return told, bought, pod_of(notebooks, spawner)

    told, bought, pod = notebooks.run(start)
    assert bought  # which the hub may look at, to say why one does not become ready
    assert {one["kind"] for one in bought} == {"NodeClaim"}
    (claim,) = [one for one in bought if one["status"].get("nodeName") == pod["spec"]["nodeName"]]
    lasts = sum(seconds(claim["spec"][key]) for key in ("expireAfter", "terminationGracePeriod"))
    created = datetime.fromisoformat(claim["metadata"]["creationTimestamp"])
    told_to_jupyterlab = json.loads(pod["metadata"]["annotations"]["files.gpulab.dev/limits"])
    assert datetime.fromisoformat(told_to_jupyterlab["machineEnds"]) == created + timedelta(seconds=lasts)
    assert told[0].startswith("PyTorch")
    assert "for team research" in told[0]
    assert any("Karpenter buys a machine for it" in line for line in told), told
