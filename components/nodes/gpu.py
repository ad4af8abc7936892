"""The GPU Operator: device plugin, feature discovery, validation, MIG and metrics on the nodes that have GPUs.

Driver and container toolkit come with the node's image: EKS's AL2023 images for NVIDIA have both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s

from components.charts import release_args
from components.ground.placement import Placement
from components.images import with_digests
from components.nodes.gpu_sharing import GPU_COUNT_LABEL, is_managed, operator_values, tolerations

if TYPE_CHECKING:
    from settings import ChartSource, NodePool

CHART = "gpu-operator"
NAMESPACE = "gpu-operator"

# Seconds: a hook pulls an image before the operator and node feature discovery start.
RELEASE_TIMEOUT = 600

# The chart has no values for the resources of its hooks (upgrade-crd, cleanup-crd) and sets none for most of its
# DaemonSets (templates of v26.3). Containers without resources get these. The limit is far above what they use.
DEFAULT_RESOURCES: Any = {
    "type": "Container",
    "defaultRequest": {"cpu": "10m", "memory": "64Mi"},
    "default": {"memory": "2Gi"},
}
ON_GPU_NODES = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": GPU_COUNT_LABEL, "operator": "Exists"}]}]
        }
    }
}


@dataclass(frozen=True, kw_only=True)
class GpuArgs:
    """What the operator's values are made from.

    `pools` and `charts` are the stack file's; `placement` is for what isn't on GPU nodes. `monitored`: the cluster has
    the ServiceMonitor CRD, so the operator may make ServiceMonitors. With `by_digest`, images are pinned by their
    digests, if contracts has them.
    """

    pools: Mapping[str, NodePool]
    placement: Placement
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    monitored: bool = False
    by_digest: bool = False


class Gpu(pulumi.ComponentResource):
    """The operator's release in its own namespace; nothing if no pool needs the operator.

    It depends on the node pools, so a destroy deletes it before them. Its hooks need a node: they tolerate the system
    nodes, which exist until the end.
    """

    release: k8s.helm.v3.Release | None

    def __init__(self, name: str, args: GpuArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Gpu", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        self.release = None
        if any(map(is_managed, args.pools.values())):
            namespace = k8s.core.v1.Namespace(
                name,
                # The operator's DaemonSets need access to their hosts.
                metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
                opts=child,
            )
            limits = k8s.core.v1.LimitRange(
                name,
                metadata={"name": NAMESPACE, "namespace": namespace.metadata.name},
                spec={"limits": [DEFAULT_RESOURCES]},
                opts=child,
            )
            values = gpu_operator_values(args.pools, args.placement, monitored=args.monitored)
            self.release = k8s.helm.v3.Release(
                name,
                name=CHART,
                namespace=namespace.metadata.name,
                values=with_digests(CHART, values, args.charts, by_digest=args.by_digest),
                timeout=RELEASE_TIMEOUT,
                atomic=True,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[limits]),
                **release_args(CHART, args.charts),
            )
        self.register_outputs({"release": self.release.name if self.release else None})


def gpu_operator_values(
    pools: Mapping[str, NodePool], placement: Placement, *, monitored: bool = False
) -> dict[str, Any]:
    """The values of the chart `gpu-operator` for the pools of a stack.

    The operator's DaemonSets and node feature discovery's tolerate every taint of every GPU pool.
    """
    on_gpu_nodes = tolerations({name: pool for name, pool in pools.items() if pool.is_gpu})
    return {
        "driver": {"enabled": False},
        "toolkit": {"enabled": False},
        # CDI is the only way in which nodes accept which GPUs a container gets (`components.nodes.user_data`).
        "cdi": {"enabled": True},
        # Its hooks run on the same nodes as the operator.
        "operator": {**placement.off_pools, "cleanupCRD": True, "upgradeCRD": True},
        "daemonsets": {"tolerations": on_gpu_nodes},
        "nfd": {"enabled": True},
        "gfd": {"enabled": True},
        "node-feature-discovery": {
            "master": placement.off_pools,
            "gc": placement.off_pools,
            "worker": {"tolerations": on_gpu_nodes, "affinity": ON_GPU_NODES},
        },
        "dcgmExporter": {"enabled": True, "serviceMonitor": {"enabled": monitored}},
        **operator_values(pools),
    }
