"""What became of the pods that ran when a destroy began, on nodes that had to go."""

from __future__ import annotations

from collections.abc import Sequence

from rehearsal.controllers.starting import GRACE_PERIOD_SECONDS
from rehearsal.controllers.world import NODES, Kubernetes, Object, place
from rehearsal.machine.engine import Result
from settings import EksSettings

from .checking import NotTried, require
from .pods import DO_NOT_DISRUPT


def drained(kubernetes: Kubernetes, settings: EksSettings, pods: Sequence[Object], destroy: Result) -> str:
    """How long the nodes of `pods` took to go. Raises NotTried, and DoesNotHold where a node is left."""
    lasting = [pod for pod in pods if DO_NOT_DISRUPT in pod["metadata"].get("annotations", {})]
    if not lasting:
        raise NotTried("no pod ran that must not be disrupted")
    nodes = {pod["spec"]["nodeName"] for pod in pods}
    left = [name for name in nodes if kubernetes.get(place(NODES, name))]
    require(not left, f"{', '.join(left)} are left")
    began = min(step.at for step, _ in destroy.begun if step.type.endswith(":NodePool"))
    ended = max(step.at for step in destroy.steps if step.type.endswith(":NodePool"))
    periods = {f"{pool.termination_grace_period}" for pool in settings.node_pools.values()}
    return (
        f"{len(nodes)} nodes with {len(pods)} pods, {len(lasting)} not to be disrupted, in {ended - began:.1f} s;"
        f" a pod may hold its node for {GRACE_PERIOD_SECONDS} s here, for {', '.join(sorted(periods))} on AWS"
    )
