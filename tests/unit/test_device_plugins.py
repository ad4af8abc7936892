"""The stand-in of NVIDIA's device plugin: it fails where the real one fails."""

from __future__ import annotations

import copy
import dataclasses

import pytest
from gpu_pools import P4D, gpu_pool

import contracts
from components.ground.system_nodes import SYSTEM_NODES
from components.nodes.gpu import gpu_operator_values
from components.nodes.gpu_sharing import node_labels
from components.nodes.node_pools import ec2_node_class_spec
from contracts import InstanceType
from rehearsal.controllers.deployed import DeployedRelease
from rehearsal.controllers.device_plugins import gpu_resources

SHARED = gpu_pool(gpu={"sharing": "time-slicing", "replicas": 4})
SLICED = gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "1g.5gb"})
OPERATOR = DeployedRelease("gpu-operator", gpu_operator_values({"shared": SHARED, "sliced": SLICED}, SYSTEM_NODES))
AL2023 = "al2023@v20260930"


def resources(
    labels: dict[str, str], name: str = "g5.xlarge", operator: DeployedRelease | None = OPERATOR
) -> dict[str, str]:
    return gpu_resources(labels, contracts.instance_types()[name], AL2023, "", operator)


def of_image(alias: str, machine: InstanceType) -> dict[str, str]:
    """What a node with an image reports, without its own label."""
    return gpu_resources({}, machine, alias, "", OPERATOR)


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


def test_an_image_whose_driver_is_too_old_registers_no_gpu() -> None:
    b300 = contracts.instance_types()["p6-b300.48xlarge"]
    assert of_image("al2023@v20251023", b300) == {}
    assert of_image("al2023@v20251217", b300) == {"nvidia.com/gpu": "8"}
    # Not in the catalogue yet, so no pool buys it; its nodes joined and stayed without GPUs all the same.
    g7 = dataclasses.replace(contracts.instance_types()["g7e.2xlarge"], name="g7.2xlarge")
    assert of_image("al2023@v20260810", g7) == {}
    assert of_image("al2023@v20260917", g7) == {"nvidia.com/gpu": "1"}
    assert of_image("bottlerocket@v1.66.0", g7) == {}


def test_a_mig_manager_that_restarts_kubelet_leaves_the_node_without_slices() -> None:
    values = copy.deepcopy(dict(OPERATOR.values))
    values["migManager"]["env"] = [{"name": "WITH_REBOOT", "value": "true"}]
    assert resources(node_labels("sliced", SLICED), "p4d.24xlarge", DeployedRelease("gpu-operator", values)) == {}


def test_a_runtime_that_ignores_the_variable_needs_a_plugin_that_gives_gpus_by_cdi() -> None:
    values = {**copy.deepcopy(dict(OPERATOR.values)), "cdi": {"enabled": False}}
    g5, by_variable = contracts.instance_types()["g5.xlarge"], DeployedRelease("gpu-operator", values)
    ignoring = ec2_node_class_spec(SHARED, cluster_name="lab", node_role_name="node", tags={})["userData"]
    assert gpu_resources({}, g5, AL2023, ignoring, by_variable) == {}
    assert gpu_resources({}, g5, AL2023, ignoring, OPERATOR) == {"nvidia.com/gpu": "1"}
    assert gpu_resources({}, g5, AL2023, "", by_variable) == {"nvidia.com/gpu": "1"}


@pytest.mark.parametrize("name", ["m7i.large", "g6f.large"])
def test_machine_without_a_whole_gpu_has_none(name: str) -> None:
    assert resources({}, name) == {}
