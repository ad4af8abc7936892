"""Labels and taints on nodes of the stack file: set, changed, taken off; what others have set there stays."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from components.gates import node_marks
from components.gates.node_marks import MarksError, NodeMarksProvider
from components.gates.volume_gate import DELETE_UNREACHABLE
from settings.pools.labels import MARKS_ANNOTATION

GPU = {"key": "gpu", "value": "true", "effect": "NoSchedule"}
THEIRS = {"key": "maintenance", "effect": "NoExecute", "timeAdded": "2026-11-30T12:00:00Z"}


class Nodes:
    """An API server's nodes: merges patches, and refuses those of another version."""

    def __init__(self) -> None:
        self.nodes: dict[str, Any] = {}
        self.in_between: list[dict[str, Any]] = []
        """Labels that somebody sets before each of the next patches."""

    def add(self, name: str, labels: dict[str, str], taints: list[dict[str, str]] | None = None) -> None:
        self.nodes[name] = {
            "metadata": {"name": name, "resourceVersion": "1", "labels": dict(labels)},
            "spec": {"taints": copy.deepcopy(taints)} if taints else {},
        }

    def read(self, _kubeconfig: Any, name: str) -> Any:
        return copy.deepcopy(self.nodes.get(name))

    def patch(self, _kubeconfig: Any, name: str, patch: dict[str, Any]) -> bool:
        node = self.nodes[name]
        if self.in_between:
            self._merge(node, {"metadata": {"labels": self.in_between.pop(0)}})
        if patch["metadata"]["resourceVersion"] != node["metadata"]["resourceVersion"]:
            return False
        self._merge(node, {**patch, "metadata": {**patch["metadata"], "resourceVersion": None}})
        return True

    def _merge(self, node: dict[str, Any], patch: dict[str, Any]) -> None:
        version = int(node["metadata"]["resourceVersion"]) + 1
        merge(node, copy.deepcopy(patch))
        node["metadata"]["resourceVersion"] = str(version)

    def labels(self, name: str) -> dict[str, str]:
        return self.nodes[name]["metadata"].get("labels", {})

    def taints(self, name: str) -> list[dict[str, str]]:
        return self.nodes[name]["spec"].get("taints", [])


def merge(target: dict[str, Any], patch: dict[str, Any]) -> None:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    found = Nodes()
    monkeypatch.setattr(node_marks, "read_node", found.read)
    monkeypatch.setattr(node_marks, "patch_node", found.patch)
    return found


def props(labels: dict[str, str], *taints: dict[str, str], node: str = "tower", stack: str = "lab") -> dict[str, Any]:
    return {"kubeconfig": "{}", "stack": stack, "node": node, "labels": labels, "taints": list(taints)}


POOL = {"gpulab.dev/pool": "gpu"}


def test_what_the_stack_set_goes_and_what_others_set_stays(nodes: Nodes) -> None:
    nodes.add("tower", {"role": "gpu"}, [THEIRS])
    before = copy.deepcopy(nodes.nodes)
    NodeMarksProvider().create(props(POOL, GPU))
    assert nodes.labels("tower") == {"role": "gpu", **POOL}
    assert nodes.taints("tower") == [THEIRS, GPU]
    NodeMarksProvider().delete("marks", props(POOL, GPU))
    nodes.nodes["tower"]["metadata"]["resourceVersion"] = "1"
    nodes.nodes["tower"]["metadata"].pop("annotations")  # empty
    assert nodes.nodes == before


def test_what_was_there_before_with_the_same_value_is_others(nodes: Nodes) -> None:
    nodes.add("tower", {"role": "gpu", **POOL}, [GPU])
    NodeMarksProvider().create(props({**POOL, "nvidia.com/device-plugin.config": "gpu"}, GPU))
    NodeMarksProvider().delete("marks", props(POOL, GPU))
    assert nodes.labels("tower") == {"role": "gpu", **POOL}
    assert nodes.taints("tower") == [GPU]


def test_an_update_is_the_difference(nodes: Nodes) -> None:
    nodes.add("tower", {"role": "gpu"})
    provider = NodeMarksProvider()
    old = props({**POOL, "nvidia.com/mig.config": "gpu"}, GPU)
    provider.create(old)
    new = props({"gpulab.dev/pool": "sliced"}, {**GPU, "key": "nvidia.com/gpu"})
    assert provider.diff("marks", old, new).changes
    provider.update("marks", old, new)
    assert nodes.labels("tower") == {"role": "gpu", "gpulab.dev/pool": "sliced"}
    assert [taint["key"] for taint in nodes.taints("tower")] == ["nvidia.com/gpu"]
    assert not provider.diff("marks", new, new).changes


@pytest.mark.parametrize(
    ("labels", "taints", "named"),
    [
        ({"gpulab.dev/pool": "other"}, [], "gpulab.dev/pool=other"),
        ({}, [{**GPU, "value": "no"}], "gpu=no:NoSchedule"),
    ],
)
def test_another_value_of_somebody_else_is_refused_by_name(
    nodes: Nodes, labels: dict[str, str], taints: list[dict[str, str]], named: str
) -> None:
    nodes.add("tower", labels, taints)
    before = copy.deepcopy(nodes.nodes)
    with pytest.raises(MarksError) as refusal:
        NodeMarksProvider().create(props(POOL, GPU))
    assert "tower" in str(refusal.value)
    assert named in str(refusal.value)
    assert nodes.nodes == before


def test_a_node_of_another_stack_is_refused_and_stays_its(nodes: Nodes) -> None:
    nodes.add("tower", {})
    NodeMarksProvider().create(props(POOL, GPU))
    with pytest.raises(MarksError, match="stack lab"):
        NodeMarksProvider().create(props({"gpulab.dev/pool": "gpu"}, stack="other"))
    NodeMarksProvider().delete("marks", props(POOL, GPU, stack="other"))
    assert nodes.labels("tower") == POOL


def test_a_label_that_somebody_has_changed_since_is_theirs(nodes: Nodes) -> None:
    nodes.add("tower", {})
    NodeMarksProvider().create(props(POOL))
    nodes.labels("tower")["gpulab.dev/pool"] = "elsewhere"
    NodeMarksProvider().delete("marks", props(POOL))
    assert nodes.labels("tower") == {"gpulab.dev/pool": "elsewhere"}


def test_a_change_in_between_is_kept(nodes: Nodes) -> None:
    nodes.add("tower", {}, [THEIRS])
    nodes.in_between = [{"theirs": "1"}, {"theirs": "2"}]
    NodeMarksProvider().create(props(POOL, GPU))
    assert nodes.labels("tower") == {"theirs": "2", **POOL}
    assert nodes.taints("tower") == [THEIRS, GPU]


def test_a_node_that_changes_all_the_time_is_given_up(nodes: Nodes) -> None:
    nodes.add("tower", {})
    nodes.in_between = [{"theirs": str(number)} for number in range(100)]
    with pytest.raises(MarksError, match="tower was changed by others"):
        NodeMarksProvider().create(props(POOL))


def test_a_node_that_is_gone_has_no_marks_and_gets_none(nodes: Nodes) -> None:
    NodeMarksProvider().delete("marks", props(POOL, GPU))
    with pytest.raises(MarksError, match="tower is not in the cluster"):
        NodeMarksProvider().create(props(POOL, GPU))


def test_a_node_that_was_set_up_again_is_marked_again(nodes: Nodes) -> None:
    nodes.add("tower", {})
    provider, wanted = NodeMarksProvider(), props(POOL, GPU)
    provider.create(wanted)
    assert not provider.diff("marks", wanted, wanted).changes
    nodes.add("tower", {"new": "yes"})
    assert provider.diff("marks", wanted, wanted).changes
    provider.update("marks", wanted, wanted)
    assert nodes.labels("tower") == {"new": "yes", **POOL}


def test_a_cluster_out_of_reach_stops_a_destroy_and_no_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any) -> None:
        raise OSError("timed out")

    monkeypatch.setattr(node_marks, "read_node", unreachable)
    assert not NodeMarksProvider().diff("marks", props(POOL), props(POOL)).changes
    with pytest.raises(MarksError, match=rf"tower.*timed out.*{DELETE_UNREACHABLE}=true"):
        NodeMarksProvider().delete("marks", props(POOL))
    monkeypatch.setenv(DELETE_UNREACHABLE, "true")
    NodeMarksProvider().delete("marks", props(POOL))


def test_the_note_on_the_node_says_what_is_the_stacks(nodes: Nodes) -> None:
    nodes.add("tower", {"role": "gpu"}, [THEIRS])
    NodeMarksProvider().create(props(POOL, GPU))
    note = json.loads(nodes.nodes["tower"]["metadata"]["annotations"][MARKS_ANNOTATION])
    assert note == {"stack": "lab", "labels": POOL, "taints": [GPU]}
