"""Whether the system nodes have room for what runs only there: Keycloak, its database, and the hub."""

from __future__ import annotations

import contracts
from settings.cluster import SystemNodes
from settings.language.section import Findings
from settings.notebooks.hub import Hub
from settings.people.database import SERVER_GIB
from settings.people.identity import Identity
from settings.pools.allocatable import memory_for_pods

# A node has at most one of Karpenter's controllers (components.nodes.karpenter).
_KARPENTER_GIB = 1


def system_findings(
    identity: Identity | None, hub: Hub | None, system_nodes: SystemNodes, *, karpenters: int
) -> Findings:
    """Memory that the system nodes do not have beside Karpenter's `karpenters` controllers; paths are the stack's.

    EKS may take any of the system nodes' instance types, so the smallest counts. A node has at most one of Keycloak's
    servers (the chart's affinity).
    """
    catalogue = contracts.instance_types()
    known = [catalogue[name] for name in system_nodes.instance_types if name in catalogue]
    if not known:
        return  # reported for cluster.systemNodes
    smallest = min(known, key=memory_for_pods)
    has = memory_for_pods(smallest)
    rooms = [has - (_KARPENTER_GIB if number < karpenters else 0) for number in range(system_nodes.count)]
    said = f"a system node has {int(has)} GiB for pods ({smallest.name}), and Karpenter takes {_KARPENTER_GIB} of it"
    remedy = "take larger cluster.systemNodes.instanceTypes"
    if identity is not None:
        server = identity.keycloak
        rooms.sort(reverse=True)
        rooms = [room - server.memory if number < server.replicas else room for number, room in enumerate(rooms)]
        if min(rooms) < 0:
            yield ("identity", "keycloak", "memory"), f"fits on no system node: {said}. Lower it, or {remedy}"
            return
        if server.replicas > system_nodes.count:
            yield (
                ("identity", "keycloak", "replicas"),
                f"must be at most {system_nodes.count}, as each pod has its own system node: lower it, or raise "
                "cluster.systemNodes.count",
            )
    beside = "" if identity is None else f", Keycloak {identity.keycloak.memory}"
    if hub is not None and hub.enabled:
        if max(rooms) < hub.memory:
            yield ("hub", "memory"), f"fits on no system node: {said}{beside}. Lower it, or {remedy}"
            return
        rooms[rooms.index(max(rooms))] -= hub.memory
        beside += f", the hub {hub.memory}"
    if identity is not None and identity.database.kind == "cloudnative-pg":
        left = sum(int(room // SERVER_GIB) for room in rooms)
        if left < identity.database.instances:
            yield (
                ("identity", "database", "instances"),
                f"is more than the system nodes have room for, which is {left} of {SERVER_GIB} GiB each: {said}"
                f"{beside}. Lower it, raise cluster.systemNodes.count, or {remedy}",
            )
