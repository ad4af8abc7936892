"""Whether a node of the stack has room for a pod of Keycloak."""

from __future__ import annotations

from collections.abc import Mapping

import contracts
from settings.allocatable import memory_for_pods
from settings.cluster import SystemNodes
from settings.identity import Identity
from settings.node_pools import NodePool
from settings.section import Findings


def keycloak_findings(identity: Identity, system_nodes: SystemNodes, pools: Mapping[str, NodePool]) -> Findings:
    """A memory that no node has; paths are the stack's.

    Keycloak's pods run on the system nodes, or on those of a pool without GPUs and without taints of its own. EKS takes
    whichever of the system nodes' instance types is there, so the smallest of them counts.
    """
    server = identity.keycloak
    catalogue = contracts.instance_types()
    known = [catalogue[name] for name in system_nodes.instance_types if name in catalogue]
    if not known:
        return  # said of the system nodes
    smallest = min(known, key=memory_for_pods)
    on_a_system_node = int(memory_for_pods(smallest) // server.memory)
    in_pools = {
        name: max((memory_for_pods(one) for one in pool.types_within_limits), default=0.0)
        for name, pool in pools.items()
        if not pool.is_gpu and not any(taint.effect != "PreferNoSchedule" for taint in pool.taints)
    }
    if on_a_system_node * system_nodes.count >= server.replicas or any(
        most >= server.memory for most in in_pools.values()
    ):
        return
    rooms = [
        f"a system node has {int(memory_for_pods(smallest))} GiB for pods ({smallest.name})",
        *(f"a node of pool {name} {int(most)} GiB" for name, most in in_pools.items()),
    ]
    has = f"needs more system nodes than {system_nodes.count}" if on_a_system_node else "fits on no node of the stack"
    yield (
        ("identity", "keycloak", "memory"),
        f"{has}: {', '.join(rooms)}. Lower it, take larger cluster.systemNodes.instanceTypes, or add a pool without "
        "GPUs and without taints whose nodes have the memory",
    )
