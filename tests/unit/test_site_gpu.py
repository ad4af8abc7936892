"""What gives GPUs to pods on an existing cluster: values of charts, the RuntimeClass, the marks of nodes."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as kubernetes
import pytest
import yaml
from site_lab import POOLS, load
from test_gpu import known_paths

import contracts
from components.gates.node_marks import Marks
from components.ground.placement import Placement
from components.nodes.fixed_nodes import FixedNodes, FixedNodesArgs, pool_marks
from components.nodes.site_gpu import SiteGpu, SiteGpuArgs, device_plugin_values, site_operator_values
from contracts import clusters
from rehearsal.checks.gpu import tolerates

PLACEMENT = Placement(node_selector={}, tolerations=[], annotations={}, off_pools={"nodeSelector": {"system": "yes"}})
RELEASE, RUNTIME_CLASS = "kubernetes:helm.sh/v3:Release", "kubernetes:node.k8s.io/v1:RuntimeClass"


def args(pools: Any = None, *, distribution: str = "k3s", there: bool = False, **gpu: Any) -> SiteGpuArgs:
    settings = load(pools, gpu=gpu, profiles=None, teams=None)
    return SiteGpuArgs(
        pools=settings.node_pools,
        gpu=settings.gpu,
        placement=PLACEMENT,
        containerd=clusters.containerd(distribution),
        runtime_class_exists=there,
    )


def deploy(mocks: Any, wanted: SiteGpuArgs) -> SiteGpu:
    def program() -> SiteGpu:
        provider = kubernetes.Provider("lab", kubeconfig="{}")
        return SiteGpu("lab-gpu", wanted, pulumi.ResourceOptions(providers=[provider]))

    return mocks.deploy(program)


def configuration(values: dict[str, Any], marks: Marks) -> Any:
    """The device plugin's configuration of a node with these marks."""
    config = values["config"] if "config" in values else values["devicePlugin"]["config"]
    name = marks.labels.get("nvidia.com/device-plugin.config", config["default"])
    return yaml.safe_load(config.get("map", config.get("data"))[name])


@pytest.mark.parametrize("plugin", ["device-plugin", "operator"])
def test_each_node_gets_the_sharing_of_its_pool(plugin: Any) -> None:
    """By the label that the stack sets; nodes with only labels of others have the default."""
    wanted = args(plugin=plugin)
    values = device_plugin_values(wanted) if plugin == "device-plugin" else site_operator_values(wanted)
    shared = configuration(values, pool_marks("shared", wanted.pools["shared"], plugin))["sharing"]["timeSlicing"]
    assert shared["renameByDefault"]
    assert shared["resources"] == [{"name": "nvidia.com/gpu", "replicas": 8}]
    assert "sharing" not in configuration(values, Marks(labels={"role": "gpu"}))


def test_a_lone_pool_is_the_default() -> None:
    for where in ({"selector": {"role": "gpu"}}, {"nodes": ["tower"]}):
        pool = {**where, "gpus": {"count": 1}, "gpu": {"sharing": "mps", "replicas": 4}}
        assert "mps" in configuration(device_plugin_values(args({"a": pool})), Marks(labels={}))["sharing"]


def test_the_plugin_runs_where_the_site_has_labelled_gpus() -> None:
    """Public fault: the chart's own affinity needs labels of Node Feature Discovery, which these nodes lack."""
    values = device_plugin_values(args())
    terms = values["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert sorted(one["key"] for term in terms for one in term["matchExpressions"]) == ["gpulab.dev/pool", "role"]
    assert all(len(term["matchExpressions"]) == 1 for term in terms)
    assert values["nfd"]["worker"]["affinity"] == values["affinity"]


def test_a_label_that_discovery_sets_is_found_by_a_label_that_it_sets_first() -> None:
    pools = {"gpu": {"selector": {"nvidia.com/gpu.product": "Tesla-T4"}, "gpus": {"count": 1}}}
    values = device_plugin_values(args(pools))
    assert "feature.node.kubernetes.io/pci-10de.present" in str(values["affinity"])
    assert "affinity" not in values["nfd"]["worker"]


@pytest.mark.parametrize("plugin", ["device-plugin", "operator"])
def test_every_daemon_set_tolerates_the_taints_of_every_gpu_pool(plugin: Any) -> None:
    taints = [{"key": "gpu", "value": "true", "effect": "NoSchedule"}]
    wanted = args(
        {
            **POOLS,
            "gpu": {**POOLS["gpu"], "taints": taints},
            "shared": {**POOLS["shared"], "includeControlPlane": True},
        },
        plugin=plugin,
    )
    values = device_plugin_values(wanted) if plugin == "device-plugin" else site_operator_values(wanted)
    lists = (
        [values["tolerations"], values["nfd"]["worker"]["tolerations"]]
        if plugin == "device-plugin"
        else [values["daemonsets"]["tolerations"], values["node-feature-discovery"]["worker"]["tolerations"]]
    )
    for tolerations in lists:
        for taint in (*taints, {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}):
            assert any(tolerates(one, taint) for one in tolerations), taint


@pytest.mark.parametrize("distribution", ["k3s", "talos"])
def test_pods_that_need_the_runtime_class_name_it(distribution: str, mocks: Any) -> None:
    """Public fault: without it, the device plugin on k3s finds no driver."""
    deploy(mocks, args(distribution=distribution))
    made = mocks.one(RUNTIME_CLASS)
    release = mocks.one(RELEASE)
    assert made.inputs["handler"] == made.inputs["metadata"]["name"] == release.inputs["values"]["runtimeClassName"]
    assert mocks.needs(release, made)


def test_a_runtime_class_of_others_is_used_and_not_made(mocks: Any) -> None:
    deploy(mocks, args(there=True, runtimeClass="gpus"))
    assert mocks.all(RUNTIME_CLASS) == []
    assert mocks.one(RELEASE).inputs["values"]["runtimeClassName"] == "gpus"


def test_what_is_present_stays_as_it_is(mocks: Any) -> None:
    wanted = args(plugin="present")
    deploy(mocks, wanted)
    assert mocks.all(RELEASE) == []
    assert mocks.one(RUNTIME_CLASS).inputs["handler"] == "nvidia"
    marks = pool_marks("shared", wanted.pools["shared"], "present")
    assert list(marks.labels) == ["gpulab.dev/pool"]


def test_a_site_without_gpus_gets_nothing(mocks: Any) -> None:
    deploy(mocks, args({"cpu": {"selector": {"role": "cpu"}}}))
    assert {one.type for one in mocks.resources if one.custom} == {"pulumi:providers:kubernetes"}


def test_flags_reach_the_plugin() -> None:
    flags = {"failOnInitError": False, "deviceListStrategy": "cdi-cri", "nvidiaDriverRoot": "/usr/local"}
    values = device_plugin_values(args(devicePlugin=flags, featureDiscovery={"sleepInterval": "5m", "nfd": False}))
    assert flags.items() <= values.items()
    # The chart's template reads it at the top, whatever its values show.
    assert values["sleepInterval"] == "5m"
    assert values["nfd"]["enabled"] is False
    own = device_plugin_values(args())
    assert not {"failOnInitError", "nvidiaDriverRoot", "sleepInterval"} & own.keys()


def test_a_plugin_without_slices_has_no_rights_for_them() -> None:
    """The chart adds SYS_ADMIN unless both are set (v0.20.0, templates/_helpers.tpl)."""
    values = device_plugin_values(args())
    assert (values["migStrategy"], values["deviceListStrategy"]) == ("none", "envvar")
    sliced = {"nodes": ["tower"], "gpus": {"count": 1}, "gpu": {"sharing": "mig", "profile": "1g.5gb"}}
    values = device_plugin_values(args({**POOLS, "shared": sliced}))
    assert "migStrategy" not in values
    assert configuration(values, Marks(labels={"nvidia.com/device-plugin.config": "shared"}))["flags"] == {
        "migStrategy": "mixed"
    }


@pytest.mark.parametrize("plugin", ["device-plugin", "operator"])
def test_values_are_keys_of_the_chart(plugin: Any) -> None:
    wanted = args(plugin=plugin, toolkit=plugin == "operator")
    values = device_plugin_values(wanted) if plugin == "device-plugin" else site_operator_values(wanted)
    chart = contracts.chart("nvidia-device-plugin" if plugin == "device-plugin" else "gpu-operator")
    unknown = known_paths(values, chart.values)
    # The defaults show no keys of the subchart, of affinity's kinds, nor the validator's own parts.
    subchart = (".nfd", ".node-feature-discovery", ".validator.driver")
    free = (".affinity.", ".nodeSelector.")
    assert [one for one in unknown if not one.startswith(subchart) and not any(part in one for part in free)] == []


def test_the_operator_uses_what_nodes_have() -> None:
    values = site_operator_values(args(plugin="operator", devicePlugin={"failOnInitError": False}))
    assert not values["driver"]["enabled"]
    assert values["toolkit"] == {"enabled": False}
    assert values["devicePlugin"]["env"] == [{"name": "FAIL_ON_INIT_ERROR", "value": "false"}]
    assert values["operator"]["runtimeClass"] == "nvidia"
    assert values["operator"]["nodeSelector"] == {"system": "yes"}


def test_the_validator_finds_a_driver_of_the_host() -> None:
    """Public fault: it waits forever for a driver in a container, or for links in /dev/char that it can't make."""
    values = site_operator_values(args(plugin="operator"))
    assert values["validator"]["driver"]["env"] == [{"name": "DISABLE_DEV_CHAR_SYMLINK_CREATION", "value": "true"}]
    assert "hostPaths" not in values
    talos = site_operator_values(args(plugin="operator", distribution="talos"))
    assert talos["hostPaths"] == {"driverInstallDir": clusters.containerd("talos").driver_root}
    own = site_operator_values(args(plugin="operator", devicePlugin={"nvidiaDriverRoot": "/opt/nvidia"}))
    assert own["hostPaths"] == {"driverInstallDir": "/opt/nvidia"}
    driver = site_operator_values(args(plugin="operator", driver=True, toolkit=True))
    assert not {"validator", "hostPaths"} & driver.keys()


@pytest.mark.parametrize("distribution", ["k3s", "rke2", "microk8s", "kubeadm"])
def test_the_toolkit_changes_the_containerd_of_the_distribution(distribution: str) -> None:
    """Public fault: RKE2 and MicroK8s have other paths than the operator's defaults."""
    values = site_operator_values(args(plugin="operator", toolkit=True, distribution=distribution))
    found = {one["name"]: one["value"] for one in values["toolkit"]["env"]}
    assert found == clusters.containerd(distribution).toolkit


def test_nobodys_machine_is_restarted_to_partition_it() -> None:
    sliced = {"nodes": ["tower"], "gpus": {"count": 1}, "gpu": {"sharing": "mig", "layout": {"1g.5gb": 7}}}
    wanted = args({**POOLS, "shared": sliced}, plugin="operator")
    manager = site_operator_values(wanted)["migManager"]
    assert {"name": "WITH_REBOOT", "value": "false"} in manager["env"]
    chosen = pool_marks("shared", wanted.pools["shared"], "operator").labels["nvidia.com/mig.config"]
    configs = yaml.safe_load(manager["config"]["data"]["config.yaml"])["mig-configs"]
    assert configs[chosen][0]["mig-devices"] == {"1g.5gb": 7}


def test_the_namespace_lets_daemon_sets_at_their_hosts(mocks: Any) -> None:
    deploy(mocks, args())
    namespace = mocks.one("kubernetes:core/v1:Namespace")
    assert namespace.inputs["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "privileged"}
    release = mocks.one(RELEASE)
    assert release.inputs["namespace"] == namespace.inputs["metadata"]["name"]
    assert release.inputs["version"] == contracts.chart("nvidia-device-plugin").version


def test_only_nodes_that_the_stack_file_names_are_marked(mocks: Any) -> None:
    taints = [{"key": "gpu", "value": "true", "effect": "NoSchedule"}]
    settings = load({**POOLS, "shared": {**POOLS["shared"], "nodes": ["tower", "other"], "taints": taints}})
    mocks.deploy(
        lambda: FixedNodes(
            "lab-nodes",
            FixedNodesArgs(pools=settings.node_pools, gpu=settings.gpu, stack="lab", kubeconfig="{}"),
        )
    )
    marked = mocks.all("pulumi-python:dynamic/gpulab:NodeMarks")
    assert sorted(one.inputs["node"] for one in marked) == ["other", "tower"]
    for one in marked:
        assert one.inputs["labels"] == {"gpulab.dev/pool": "shared", "nvidia.com/device-plugin.config": "shared"}
        assert one.inputs["taints"] == taints
        assert one.inputs["stack"] == "lab"
