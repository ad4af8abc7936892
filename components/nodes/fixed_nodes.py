"""The nodes that a stack on an existing cluster names: the labels and taints by which notebooks get there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.gates.node_marks import Marks, NodeMarks
from settings.pools.labels import DEVICE_PLUGIN_CONFIG_LABEL, MIG_CONFIG_LABEL, POOL_LABEL

if TYPE_CHECKING:
    from settings.pools.fixed_pools import FixedPool
    from settings.pools.site_gpu import GpuPlugin, SiteGpu


@dataclass(frozen=True, kw_only=True)
class FixedNodesArgs:
    """`pools` and `gpu` are the stack file's, `stack` its name; `kubeconfig` is the cluster's for gates."""

    pools: Mapping[str, FixedPool]
    gpu: SiteGpu
    stack: str
    kubeconfig: pulumi.Input[str]


class FixedNodes(pulumi.ComponentResource):
    """The marks of each node that a pool names. Pods need them, so a destroy takes them off after these are gone."""

    def __init__(self, name: str, args: FixedNodesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:FixedNodes", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        for pool_name, pool in args.pools.items():
            for node in pool.nodes:
                NodeMarks(
                    f"{name}-{node}",
                    args.kubeconfig,
                    stack=args.stack,
                    node=node,
                    marks=pool_marks(pool_name, pool, args.gpu.plugin),
                    opts=child,
                )
        self.register_outputs({})


def pool_marks(name: str, pool: FixedPool, plugin: GpuPlugin) -> Marks:
    """What nodes of the pool get: its label, its taints, and the labels that select the configuration of their GPUs.

    A plugin of somebody else's has configurations of its own.
    """
    labels = {POOL_LABEL: name}
    if pool.is_gpu and plugin != "present":
        labels[DEVICE_PLUGIN_CONFIG_LABEL] = name
        if plugin == "operator" and pool.gpu.sharing == "mig":
            labels[MIG_CONFIG_LABEL] = name
    return Marks(labels=labels, taints=[taint.model_dump(exclude_none=True) for taint in pool.taints])
