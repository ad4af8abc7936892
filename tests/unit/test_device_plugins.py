"""The stand-in of NVIDIA's device plugin: it fails where the real one fails."""

from __future__ import annotations

from typing import Any

import pytest
from gpu_pools import P4D, gpu_pool

import contracts
from components.gpu import gpu_operator_values
from components.gpu_sharing import node_labels
from rehearsal.controllers.device_plugins import gpu_resources
from rehearsal.controllers.releases import Release

SHARED = gpu_pool(gpu={"sharing": "time-slicing", "replicas": 4})
SLICED = gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "1g.5gb"})
OPERATOR = Release("gpu-operator", gpu_operator_values({"shared": SHARED, "sliced": SLICED}))
AL2023: dict[str, Any] = {"spec": {"amiSelectorTerms": [{"alias": "al2023@v20260930"}]}}


def resources(labels: dict[str, str], name: str = "g5.xlarge", operator: Release | None = OPERATOR) -> dict[str, str]:
    return gpu_resources(labels, contracts.instance_types()[name], AL2023, operator)


def test_no_gpu_without_the_operator() -> None:
    assert resources(node_labels("shared", SHARED), operator=None) == {}
    assert resources(node_labels("shared", SHARED)) == {"nvidia.com/gpu.shared": "4"}


def test_node_without_the_label_has_whole_gpus() -> None:
    assert resources({}, "g5.12xlarge") == {"nvidia.com/gpu": "4"}


def test_label_that_names_no_configuration_leaves_a_node_without_gpus() -> None:
    assert resources({"nvidia.com/device-plugin.config": "other"}) == {}


def test_operands_can_be_kept_off_a_node() -> None:
    assert resources({"nvidia.com/gpu.deploy.operands": "false"}) == {}


def test_gpu_that_cannot_be_partitioned_is_no_slices() -> None:
    assert resources(node_labels("sliced", SLICED), "p4d.24xlarge") == {"nvidia.com/mig-1g.5gb": "56"}
    assert resources(node_labels("sliced", SLICED), "p5.48xlarge") == {}
    assert resources(node_labels("sliced", SLICED), "g5.xlarge") == {}


@pytest.mark.parametrize("name", ["m7i.large", "g6f.large"])
def test_machine_without_a_whole_gpu_has_none(name: str) -> None:
    assert resources({}, name) == {}
