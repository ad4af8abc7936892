"""How long a pod took from its making to its start, in the phases that people wait for.

Kubernetes notes whole seconds. A phase that the cluster does not tell apart is left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from verify.cluster_api import ClusterApi, Object, conditions

NODE_BOUGHT, NODE_READY, IMAGE_PULLED, STARTED, SERVER_UP, TOTAL = (
    "node bought",
    "node ready",
    "image pulled",
    "started",
    "server up",
    "submit to ready",
)
# kubelet's event about a pull: "Successfully pulled image … in 1m2.5s (…)", in Go's notation of durations.
_PULLED = re.compile(r"in (?P<took>(?:[0-9.]+(?:h|ms|m|s))+)")
_PART = re.compile(r"(?P<number>[0-9.]+)(?P<unit>h|ms|m|s)")
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def phases(api: ClusterApi, pod: Object) -> dict[str, float]:
    """The seconds of each phase of a pod that has started, in their order, and of all together."""
    made, metadata = _time(pod["metadata"]["creationTimestamp"]), pod["metadata"]
    started = _started(pod)
    if started is None:
        return {}
    found: dict[str, float] = {}
    claim = _claim_bought_after(api, pod, made)
    if claim:
        registered = conditions(claim).get("Registered", {}).get("lastTransitionTime")
        initialized = conditions(claim).get("Initialized", {}).get("lastTransitionTime")
        if registered and initialized:
            found[NODE_BOUGHT] = (_time(registered) - made).total_seconds()
            found[NODE_READY] = (_time(initialized) - _time(registered)).total_seconds()
    pulled = _pull_seconds(api.events(metadata["namespace"], metadata["name"]))
    if pulled is not None:
        found[IMAGE_PULLED] = pulled
    total = (started - made).total_seconds()
    return {**found, STARTED: max(0.0, total - sum(found.values())), TOTAL: total}


def in_words(found: Mapping[str, float]) -> str:
    """The phases in words: `submit to ready 42 s (node bought 30 s, node ready 8 s, started 4 s)`."""
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in found.items() if name != TOTAL)
    return f"{TOTAL} {found[TOTAL]:.0f} s ({parts})" if found else ""


def _claim_bought_after(api: ClusterApi, pod: Object, made: datetime) -> Object | None:
    """The NodeClaim of the pod's node, if Karpenter made it for the pod."""
    node = pod["spec"].get("nodeName")
    for claim in api.list("/apis/karpenter.sh/v1/nodeclaims"):
        is_its = claim.get("status", {}).get("nodeName") == node
        if is_its and _time(claim["metadata"]["creationTimestamp"]) >= made:
            return claim
    return None


def _started(pod: Object) -> datetime | None:
    for status in pod["status"].get("containerStatuses") or ():
        state = status.get("state", {})
        running = state.get("running") or state.get("terminated") or {}
        if running.get("startedAt"):
            return _time(running["startedAt"])
    return None


def _pull_seconds(events: str) -> float | None:
    """What kubelet says that the pull took; None where the image was there."""
    for line in events.splitlines():
        if line.startswith("Pulled:") and (match := _PULLED.search(line)):
            return sum(float(part["number"]) * _UNITS[part["unit"]] for part in _PART.finditer(match["took"]))
    return None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
