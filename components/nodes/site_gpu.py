"""What gives the GPUs of an existing cluster to pods: NVIDIA's device plugin, the GPU Operator, or what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s

from components.charts import release_args
from components.ground.placement import Placement
from components.hub.inside.catalogue import node_terms
from components.images import with_digests
from components.nodes import gpu as operator
from components.nodes.gpu import DEFAULT_RESOURCES, RELEASE_TIMEOUT
from components.nodes.gpu_sharing import WHOLE_GPUS, plugin_configs, sharing_values, tolerations
from settings.pools.fixed_findings import is_configured_by_label
from settings.pools.found_nodes import is_discovered

if TYPE_CHECKING:
    from contracts.clusters import ContainerdPaths
    from settings import ChartSource
    from settings.pools.fixed_pools import FixedPool
    from settings.pools.site_gpu import SiteGpu as SiteGpuSettings

CHART = "nvidia-device-plugin"
NAMESPACE = "gpulab-gpu"
PCI_LABEL = "feature.node.kubernetes.io/pci-10de.present"
"""Node Feature Discovery's label of nodes with a device of NVIDIA's."""


@dataclass(frozen=True, kw_only=True)
class SiteGpuArgs:
    """What the charts' values are made from.

    `pools`, `gpu` and `charts` are the stack file's; `placement` is for what isn't on GPU nodes. `containerd` is where
    the distribution has its container runtime. `runtime_class_exists`: somebody else has made the RuntimeClass that
    `gpu` names. `monitored`: the cluster has the ServiceMonitor CRD. With `by_digest`, images are pinned by their
    digests, if contracts has them.
    """

    pools: Mapping[str, FixedPool]
    gpu: SiteGpuSettings
    placement: Placement
    containerd: ContainerdPaths
    runtime_class_exists: bool
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    monitored: bool = False
    by_digest: bool = False


class SiteGpu(pulumi.ComponentResource):
    """The release that `gpulab:gpu.plugin` asks for, and the RuntimeClass of pods with GPUs; nothing without GPU pools.

    It depends on the marks of nodes (`components.nodes.fixed_nodes`), which select their configuration.
    """

    release: k8s.helm.v3.Release | None = None
    runtime_class: k8s.node.v1.RuntimeClass | None = None

    def __init__(self, name: str, args: SiteGpuArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:SiteGpu", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        if any(pool.is_gpu for pool in args.pools.values()):
            # The GPU Operator makes it itself.
            if args.gpu.plugin != "operator" and not args.runtime_class_exists:
                self.runtime_class = k8s.node.v1.RuntimeClass(
                    name, metadata={"name": args.gpu.runtime_class}, handler=args.gpu.runtime_class, opts=child
                )
            if args.gpu.plugin == "device-plugin":
                self.release = self._install(name, CHART, NAMESPACE, device_plugin_values(args), args)
            elif args.gpu.plugin == "operator":
                self.release = self._install(name, operator.CHART, operator.NAMESPACE, site_operator_values(args), args)
        self.register_outputs({"release": self.release.name if self.release else None})

    def _install(
        self, name: str, chart: str, namespace_name: str, values: dict[str, Any], args: SiteGpuArgs
    ) -> k8s.helm.v3.Release:
        namespace = k8s.core.v1.Namespace(
            name,
            # Its DaemonSets need access to their hosts. Talos enforces `baseline` without the label.
            metadata={"name": namespace_name, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
            opts=pulumi.ResourceOptions(parent=self),
        )
        limits = k8s.core.v1.LimitRange(
            name,
            metadata={"name": namespace_name, "namespace": namespace.metadata.name},
            spec={"limits": [DEFAULT_RESOURCES]},
            opts=pulumi.ResourceOptions(parent=self),
        )
        before = [limits, *([self.runtime_class] if self.runtime_class else [])]
        return k8s.helm.v3.Release(
            name,
            name=chart,
            namespace=namespace.metadata.name,
            values=with_digests(chart, values, args.charts, by_digest=args.by_digest),
            timeout=RELEASE_TIMEOUT,
            atomic=True,
            opts=pulumi.ResourceOptions(parent=self, depends_on=before),
            **release_args(chart, args.charts),
        )


def device_plugin_values(args: SiteGpuArgs) -> dict[str, Any]:
    """The values of the chart `nvidia-device-plugin` for the pools of a stack.

    The chart's own affinity needs labels of Node Feature Discovery, which nodes with only a label of the site lack. Its
    template reads `sleepInterval` at the top, although its values have it below `gfd` (v0.20.0).
    """
    gpu_pools = {name: pool for name, pool in args.pools.items() if pool.is_gpu}
    flags, on_gpu_nodes = args.gpu.device_plugin, tolerations(gpu_pools)
    partitioned = any(pool.gpu.sharing == "mig" for pool in gpu_pools.values())
    affinity = gpu_affinity(gpu_pools)
    sleep = args.gpu.feature_discovery.sleep_interval
    optional = {
        "failOnInitError": flags.fail_on_init_error,
        "deviceIDStrategy": flags.device_id_strategy,
        "nvidiaDriverRoot": flags.nvidia_driver_root,
        "sleepInterval": sleep,
        # Where no GPU is partitioned the plugin needs no rights for that; else each configuration says its strategy.
        "migStrategy": None if partitioned else "none",
    }
    return {
        "config": {"map": plugin_configs(gpu_pools, strategies=True), "default": default_config(gpu_pools)},
        # The plugin's own default. Unless it is set, the chart gives the plugin the rights of every strategy.
        "deviceListStrategy": flags.device_list_strategy or "envvar",
        **{key: value for key, value in optional.items() if value is not None},
        "runtimeClassName": args.gpu.runtime_class,
        "affinity": affinity,
        "tolerations": on_gpu_nodes,
        "gfd": {"enabled": True},
        "nfd": {"enabled": args.gpu.feature_discovery.nfd, **_discovery(args.placement, on_gpu_nodes, gpu_pools)},
    }


def site_operator_values(args: SiteGpuArgs) -> dict[str, Any]:
    """The values of the chart `gpu-operator` for the pools of a stack, with driver and toolkit as the stack file says.

    With a driver of the host, its validator looks for it below `nvidiaDriverRoot`, and makes no links in /dev/char,
    which fails on hosts with other rules and which CDI does not need: else it would wait forever.
    """
    gpu, gpu_pools = args.gpu, {name: pool for name, pool in args.pools.items() if pool.is_gpu}
    on_gpu_nodes = tolerations(gpu_pools)
    values: dict[str, Any] = {
        "driver": {"enabled": gpu.driver},
        "toolkit": {"enabled": gpu.toolkit},
        "cdi": {"enabled": True},
        "operator": {
            **args.placement.off_pools,
            "runtimeClass": gpu.runtime_class,
            "cleanupCRD": True,
            "upgradeCRD": True,
        },
        "daemonsets": {"tolerations": on_gpu_nodes},
        "nfd": {"enabled": gpu.feature_discovery.nfd},
        "gfd": {"enabled": True},
        "node-feature-discovery": _discovery(args.placement, on_gpu_nodes, gpu_pools),
        "dcgmExporter": {"enabled": True, "serviceMonitor": {"enabled": args.monitored}},
        **sharing_values(gpu_pools, default=default_config(gpu_pools)),
    }
    if gpu.toolkit:
        values["toolkit"]["env"] = _env(args.containerd.toolkit or {})
    if not gpu.driver:
        values["validator"] = {"driver": {"env": _env({"DISABLE_DEV_CHAR_SYMLINK_CREATION": "true"})}}
        root = gpu.device_plugin.nvidia_driver_root or args.containerd.driver_root
        if root != "/":
            values["hostPaths"] = {"driverInstallDir": root}
    if gpu.device_plugin.fail_on_init_error is not None:
        values["devicePlugin"]["env"] = _env({"FAIL_ON_INIT_ERROR": str(gpu.device_plugin.fail_on_init_error).lower()})
    if gpu.feature_discovery.sleep_interval is not None:
        values["gfd"]["env"] = _env({"GFD_SLEEP_INTERVAL": gpu.feature_discovery.sleep_interval})
    return values


def default_config(gpu_pools: Mapping[str, FixedPool]) -> str:
    """The configuration of nodes without the label of one: that of pools which select nodes by labels of others.

    They all share their GPUs in the same way (`settings.pools.fixed_findings`). Where there are none it is that of the
    only pool, else whole GPUs.
    """
    unlabelled = [name for name, pool in gpu_pools.items() if not is_configured_by_label(name, pool)]
    if unlabelled:
        return unlabelled[0]
    return next(iter(gpu_pools)) if len(gpu_pools) == 1 else WHOLE_GPUS


def gpu_affinity(gpu_pools: Mapping[str, FixedPool]) -> dict[str, Any]:
    """The affinity to the pools' nodes, by their labels, whoever has set these.

    Labels that feature discovery sets come only after it has run on a node. So where a pool is selected by them, all
    nodes count in which Node Feature Discovery has seen a device of NVIDIA's.
    """
    terms = node_terms(pool.node_selector(name) for name, pool in gpu_pools.items())
    if any(map(is_discovered, gpu_pools.values())):
        terms.append([{"key": PCI_LABEL, "operator": "In", "values": ["true"]}])
    return {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": term} for term in terms]
            }
        }
    }


def _discovery(
    placement: Placement, on_gpu_nodes: list[dict[str, str]], gpu_pools: Mapping[str, FixedPool]
) -> dict[str, Any]:
    """The values of Node Feature Discovery. Its workers run on the pools' nodes, or everywhere to find these."""
    worker: dict[str, Any] = {"tolerations": on_gpu_nodes}
    if not any(map(is_discovered, gpu_pools.values())):
        worker["affinity"] = gpu_affinity(gpu_pools)
    return {"master": placement.off_pools, "gc": placement.off_pools, "worker": worker}


def _env(variables: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in variables.items()]
