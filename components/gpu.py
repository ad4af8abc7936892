"""The GPU Operator: device plugin, feature discovery, validation, MIG and metrics on the nodes that have GPUs.

Driver and container toolkit are the image's: EKS's AL2023 images for NVIDIA carry both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s

from components.charts import release_args
from components.cluster import SYSTEM_TOLERATION
from components.gpu_sharing import GPU_COUNT_LABEL, NODE_POOL_LABEL, is_managed, operator_values, tolerations
from components.images import with_digests

if TYPE_CHECKING:
    from settings import ChartSource, NodePool

CHART = "gpu-operator"
NAMESPACE = "gpu-operator"

# Seconds: a hook pulls an image before the operator and node feature discovery start.
RELEASE_TIMEOUT = 600

# Karpenter's nodes come and go; what the cluster needs at all times runs on others.
ON_SYSTEM_NODES = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": [{"key": NODE_POOL_LABEL, "operator": "DoesNotExist"}]}]
        }
    }
}
# The chart has no values for the resources of its hooks (upgrade-crd, cleanup-crd) and sets none for most of its
# DaemonSets (templates of v26.3): what says nothing gets these. The limit is far above what any of them uses.
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
    """What the operator is set up by.

    `pools` and `charts` are the stack file's. `monitored`: the cluster has the definitions of ServiceMonitors, without
    which the operator makes none. Images are taken by their digests with `by_digest`, where contracts have them.
    """

    pools: Mapping[str, NodePool]
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    monitored: bool = False
    by_digest: bool = False


class Gpu(pulumi.ComponentResource):
    """The operator's release in a namespace of its own; nothing where no pool has nodes for it.

    It depends on the node pools, so that it goes before them. Its hooks need a node: the system nodes, which they
    tolerate, are there until the end.
    """

    release: k8s.helm.v3.Release | None

    def __init__(self, name: str, args: GpuArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Gpu", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        self.release = None
        if any(map(is_managed, args.pools.values())):
            namespace = k8s.core.v1.Namespace(
                name,
                # The operator's DaemonSets reach into their hosts.
                metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
                opts=child,
            )
            limits = k8s.core.v1.LimitRange(
                name,
                metadata={"name": NAMESPACE, "namespace": namespace.metadata.name},
                spec={"limits": [DEFAULT_RESOURCES]},
                opts=child,
            )
            values = gpu_operator_values(args.pools, monitored=args.monitored)
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


def gpu_operator_values(pools: Mapping[str, NodePool], *, monitored: bool = False) -> dict[str, Any]:
    """The values of the chart `gpu-operator` for the pools of a stack.

    Its DaemonSets and node feature discovery's tolerate every taint of every GPU pool, whatever was added to it.
    """
    on_gpu_nodes = tolerations({name: pool for name, pool in pools.items() if pool.is_gpu})
    on_system_nodes = {"tolerations": [SYSTEM_TOLERATION], "affinity": ON_SYSTEM_NODES}
    return {
        "driver": {"enabled": False},
        "toolkit": {"enabled": False},
        # Its hooks run where it does.
        "operator": {**on_system_nodes, "cleanupCRD": True, "upgradeCRD": True},
        "daemonsets": {"tolerations": on_gpu_nodes},
        "nfd": {"enabled": True},
        "gfd": {"enabled": True},
        "node-feature-discovery": {
            "master": on_system_nodes,
            "gc": on_system_nodes,
            "worker": {"tolerations": on_gpu_nodes, "affinity": ON_GPU_NODES},
        },
        "dcgmExporter": {"enabled": True, "serviceMonitor": {"enabled": monitored}},
        **operator_values(pools),
    }
