"""NVIDIA's own feature discovery, on cards that are not there: its labels are those that this project writes down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plugin_lab import Programs, programs

import contracts
from contracts import clusters
from rehearsal.controllers.device_plugins import DevicePlugin, sharing_plugin
from rehearsal.node.gpu.cards import CARDS, Card
from rehearsal.site.plugins import gpu_labels

__all__ = ["programs"]

BY_NAME = {card.name: card for card in CARDS.values() if card.instances is None}
OF_OTHERS = (
    "nvidia.com/gpu.present",
    "nvidia.com/gpu.deploy.",
    "nvidia.com/device-plugin.config",
    "nvidia.com/mig.config",
)
WHOLE = "version: v1\n"
SHARED = """
version: v1
sharing: {%s: {renameByDefault: %s, resources: [{name: nvidia.com/gpu, replicas: 8}]}}
"""


def nodes() -> list[Any]:
    """The nodes of all fixtures whose GPUs feature discovery has looked at."""
    found = [one for name in ("eks", "k3s", "kind", "microk8s", "rke2", "talos") for one in clusters.cluster(name)]
    labelled = [one for one in found if "nvidia.com/gpu.product" in one["metadata"].get("labels", {})]
    return [pytest.param(one, id=one["metadata"]["name"]) for one in labelled]


def hardware(card: Card, count: int = 1) -> list[clusters.NodeGpus]:
    return [clusters.NodeGpus(product=card.name, memory=card.memory, count=count)]


@pytest.mark.parametrize("node", nodes())
def test_nodes_of_other_clusters_have_the_labels_that_nvidia_gives(
    programs: Programs, tmp_path: Path, node: dict[str, Any]
) -> None:
    cards = [BY_NAME[one.product] for one in clusters.gpus_of(node) for _ in range(one.count)]
    found = programs.labels(tmp_path, cards, WHOLE)
    written = {
        key: value
        for key, value in node["metadata"]["labels"].items()
        if key.startswith("nvidia.com/") and not key.startswith(OF_OTHERS)
    }
    assert written.items() <= found.items()
    assert "nvidia.com/gpu.present" not in found, "the GPU Operator sets it, and the device plugin's chart does not"


@pytest.mark.parametrize(
    "config", [WHOLE, *(SHARED % (kind, rename) for kind in ("timeSlicing", "mps") for rename in ("true", "false"))]
)
def test_a_rehearsal_labels_shared_cards_as_nvidia_does(programs: Programs, tmp_path: Path, config: str) -> None:
    plugin = sharing_plugin({}, {"a": config}, "a")
    assert plugin
    found = programs.labels(tmp_path, [CARDS["RTX-4090"]], config)
    assert gpu_labels(hardware(CARDS["RTX-4090"]), plugin).items() <= found.items()


@pytest.mark.parametrize(("strategy", "layout"), [("single", {"1g.10gb": 7}), ("mixed", {"1g.10gb": 3, "3g.40gb": 1})])
def test_a_rehearsal_labels_partitions_as_nvidia_does(
    programs: Programs, tmp_path: Path, strategy: str, layout: dict[str, int]
) -> None:
    card = CARDS["A100"].partitioned(layout)
    found = programs.labels(tmp_path, [card, card], WHOLE, strategy)
    plugin = DevicePlugin(slices=layout, strategy=strategy)
    assert gpu_labels(hardware(card, 2), plugin).items() <= found.items()


def test_the_profiles_of_a_card_are_those_that_a_stack_may_ask_for() -> None:
    card = CARDS["A100"]
    contract = contracts.mig_gpus()["A100", card.memory]
    for name, profile in contract.profiles.items():
        assert card.profiles[name].count == len(profile.starts)
    with pytest.raises(ValueError, match=r"has no profile 1g\.5gb; it has 1g\.10gb"):
        card.partitioned({"1g.5gb": 1})


@pytest.mark.parametrize("card", [one for one in CARDS.values() if one.instances is None], ids=lambda card: card.name)
def test_every_card_is_known_to_nvidia_as_what_it_is(programs: Programs, tmp_path: Path, card: Card) -> None:
    found = programs.labels(tmp_path, [card], WHOLE)
    assert found["nvidia.com/gpu.memory"] == str(card.memory)
    assert found["nvidia.com/mig.capable"] == str(card.has_mig).lower()
    assert found["nvidia.com/gpu.family"] != "undefined"
