"""The GPU Operator: its values, and where it and its DaemonSets may run."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
from gpu_pools import BOTTLEROCKET, P4D, cpu_pool, gpu_pool

import contracts
from components.ground.system_nodes import SYSTEM_NODES, SYSTEM_TAINT
from components.nodes.gpu import Gpu, GpuArgs, gpu_operator_values
from components.nodes.gpu_sharing import node_labels
from components.nodes.node_pools import node_pool_spec
from rehearsal.controllers.selectors import tolerates
from settings import NodePool

EXTRA_TAINT = {"key": "example.com/team", "value": "ml", "effect": "NoSchedule"}
DISCOVERY = "node-feature-discovery"


def deploy(mocks: Any, **pools: NodePool) -> Gpu:
    def program() -> Gpu:
        provider = kubernetes.Provider("lab", kubeconfig="{}")
        return Gpu(
            "lab-gpu", GpuArgs(pools=pools, placement=SYSTEM_NODES), pulumi.ResourceOptions(providers=[provider])
        )

    return mocks.deploy(program)


def known_paths(values: Any, defaults: Any, path: str = "") -> list[str]:
    """Keys that the chart does not know, in mappings whose keys it defines."""
    if not isinstance(values, dict) or not isinstance(defaults, dict) or not defaults:
        return []
    unknown = [f"{path}.{key}" for key in values if key not in defaults]
    return unknown + [one for key in values for one in known_paths(values[key], defaults.get(key), f"{path}.{key}")]


def test_values_are_keys_of_the_chart() -> None:
    pools = {"gpu": gpu_pool(), "sliced": gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "1g.5gb"})}
    unknown = known_paths(
        gpu_operator_values(pools, SYSTEM_NODES, monitored=True), contracts.chart("gpu-operator").values
    )
    # The defaults show no keys of what the subchart of feature discovery takes, nor of affinity's kinds.
    subchart = [one for one in unknown if one.startswith(f".{DISCOVERY}") or ".affinity." in one]
    assert sorted(unknown) == sorted(subchart)


@pytest.mark.parametrize("taints", [[], [EXTRA_TAINT]])
def test_every_daemon_set_tolerates_every_taint_of_every_pool(taints: list[dict[str, str]]) -> None:
    startup = [{"key": "example.com/agent", "effect": "NoExecute"}]
    pools = {"gpu": gpu_pool(), "team": gpu_pool(taints=taints, startupTaints=startup)}
    values = gpu_operator_values(pools, SYSTEM_NODES)
    for name, pool in pools.items():
        template = node_pool_spec(name, pool)["template"]["spec"]
        for taint in [*template["taints"], *template.get("startupTaints", [])]:
            for tolerations in (values["daemonsets"]["tolerations"], values[DISCOVERY]["worker"]["tolerations"]):
                assert any(tolerates(one, taint) for one in tolerations), taint


def test_a_taint_of_a_cpu_pool_is_none_of_its_business() -> None:
    pools = {"gpu": gpu_pool(), "cpu": cpu_pool(taints=[EXTRA_TAINT])}
    assert "example.com/team" not in str(gpu_operator_values(pools, SYSTEM_NODES))


def test_controllers_and_hooks_run_on_system_nodes() -> None:
    """A destroy runs its hooks when other nodes may be gone, and no node must be bought for them."""
    values = gpu_operator_values({"gpu": gpu_pool()}, SYSTEM_NODES)
    for controller in (values["operator"], values[DISCOVERY]["master"], values[DISCOVERY]["gc"]):
        assert any(tolerates(one, SYSTEM_TAINT) for one in controller["tolerations"])
        assert "karpenter.sh/nodepool" in str(controller["affinity"])


def test_driver_and_toolkit_are_the_images() -> None:
    values = gpu_operator_values({"gpu": gpu_pool()}, SYSTEM_NODES)
    assert not values["driver"]["enabled"]
    assert not values["toolkit"]["enabled"]


def test_mig_manager_runs_where_there_are_slices_alone() -> None:
    assert not gpu_operator_values({"gpu": gpu_pool()}, SYSTEM_NODES)["migManager"]["enabled"]
    sliced = gpu_operator_values({"gpu": gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "1g.5gb"})}, SYSTEM_NODES)
    assert sliced["migManager"]["enabled"]
    assert sliced["mig"]["strategy"] == "mixed"


@pytest.mark.parametrize("monitored", [True, False])
def test_metrics_are_scraped_where_there_is_a_monitoring_stack(monitored: bool) -> None:
    """From v26.7.0 on the chart makes a ServiceMonitor by default, which needs the monitoring stack's CRD."""
    values = gpu_operator_values({"gpu": gpu_pool()}, SYSTEM_NODES, monitored=monitored)
    assert values["dcgmExporter"]["enabled"]
    assert values["dcgmExporter"]["serviceMonitor"]["enabled"] is monitored


def test_the_device_plugin_serves_gpus_and_no_dra_driver() -> None:
    """The operator supports only one way; quotas, shares and MIG profiles use the device plugin."""
    effective = {**contracts.chart("gpu-operator").values, **gpu_operator_values({"gpu": gpu_pool()}, SYSTEM_NODES)}
    assert effective["clusterPolicy"]["deployCR"]
    assert not effective["gpuCluster"]["deployCR"]


def test_the_definitions_that_its_hooks_manage_come_with_the_chart() -> None:
    """The hooks apply and remove all of them, in both ways."""
    names = {crd["metadata"]["name"] for crd in contracts.chart("gpu-operator").crds}
    assert {"clusterpolicies.nvidia.com", "gpuclusters.nvidia.com", "nvidiadrivers.nvidia.com"} <= names


def test_release_is_pinned_and_taken_back_when_it_fails(mocks: Any) -> None:
    deploy(mocks, gpu=gpu_pool())
    release = mocks.one("kubernetes:helm.sh/v3:Release").inputs
    assert release["version"] == contracts.chart("gpu-operator").version
    assert release["atomic"]
    namespace = mocks.one("kubernetes:core/v1:Namespace")
    assert release["namespace"] == namespace.inputs["metadata"]["name"]
    assert mocks.needs(mocks.one("kubernetes:helm.sh/v3:Release"), namespace)


def test_there_is_no_operator_where_no_node_needs_it(mocks: Any) -> None:
    made = deploy(mocks, cpu=cpu_pool(), gpu=gpu_pool(ami=BOTTLEROCKET))
    assert made.release is None
    assert mocks.all("kubernetes:helm.sh/v3:Release") == []


def test_only_shared_gpus_have_a_plugin_that_starts_again_on_a_new_node() -> None:
    """It begins with the configuration of nodes without a label, and Kubernetes refuses pods while it starts again."""
    pools = {"gpu": gpu_pool(), "shared": gpu_pool(gpu={"sharing": "time-slicing", "replicas": 4})}
    config = gpu_operator_values(pools, SYSTEM_NODES)["devicePlugin"]["config"]
    selected = {name: node_labels(name, pool)["nvidia.com/device-plugin.config"] for name, pool in pools.items()}
    assert selected["gpu"] == config["default"]
    assert selected["shared"] != config["default"]
    assert config["data"][selected["shared"]] != config["data"][config["default"]]
