"""Which machine joins for a Node of the simulated cloud, and what the cloud leaves to its kubelet."""

from __future__ import annotations

from typing import Any

import pytest

import contracts
from contracts import clusters
from rehearsal.cloud import nodes
from rehearsal.node.instances import node_args


def made(instance_type: str) -> dict[str, Any]:
    known = contracts.instance_types()[instance_type]
    return nodes.manifest(
        name="ip-10-40-0-7.ec2.internal",
        instance_id="i-0123456789abcdef0",
        instance_type=known,
        zone="us-east-1a",
        private_ip="10.40.0.7",
        version="1.36",
        labels={"gpulab.dev/system": "true"},
        taints=[],
        resources=nodes.resources(known, 50),
    )


@pytest.mark.parametrize(
    ("instance_type", "cards", "runtime"),
    [
        ("m6i.large", [], ""),
        ("g4dn.xlarge", ["Tesla T4"], "nvidia"),
        ("g6.12xlarge", ["NVIDIA L4"] * 4, "nvidia"),
    ],
)
def test_a_machine_has_what_its_instance_has(instance_type: str, cards: list[str], runtime: str) -> None:
    known = contracts.instance_types()[instance_type]
    args = node_args(made(instance_type))
    assert args.name == "ip-10-40-0-7.ec2.internal"
    assert args.cores == known.vcpu
    assert args.memory == known.memory_mib / 1024
    assert args.provider_id == "aws:///us-east-1a/i-0123456789abcdef0"
    assert [card.name for card in args.cards] == cards
    # A pod that names no runtime sees the GPU that it was given, as on Amazon's images for GPUs.
    assert args.default_runtime == runtime
    described = {"metadata": {"annotations": dict(args.annotations)}}
    assert [one.product for one in clusters.gpus_of(described)] == cards


def test_a_node_is_ready_by_itself_only_where_kwok_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    by_kwok = made("m6i.large")
    assert by_kwok["metadata"]["annotations"]
    assert [one["type"] for one in by_kwok["status"]["conditions"]] == ["Ready"]

    monkeypatch.setenv(nodes.REAL, "1")
    by_its_kubelet = made("m6i.large")
    assert not by_its_kubelet["metadata"]["annotations"]
    assert not by_its_kubelet["status"]["conditions"]
