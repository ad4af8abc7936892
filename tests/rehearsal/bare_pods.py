"""Pods without a controller: only the test makes them again."""

from __future__ import annotations

import time

from rehearsal.checks.pods import is_running, until
from rehearsal.controllers.world import NODES, Kubernetes, Object, place

DISRUPTED = "karpenter.sh/disrupted"
# Seconds from Karpenter's last look at an empty node until it taints it and deletes its NodeClaim, on a busy machine.
_SETTLED_SECONDS = 5.0


def run(kubernetes: Kubernetes, path: str, pod: Object, *, seconds: float) -> Object:
    """Makes a pod and returns it once it runs on a node that stays. Raises DoesNotHold.

    A node counts as empty until its pod arrives, and Karpenter removes empty nodes after seconds here. A pod that
    arrives as its node is removed may run until the node's grace period is over. It is then deleted with the node and
    made again.
    """
    since: dict[str, float] = {}

    def settled() -> Object | None:
        found = kubernetes.get(path)
        if found is None:
            kubernetes.create(path, pod)
        if found is None or not is_running(found) or not _stays(kubernetes, found["spec"]["nodeName"]):
            since.clear()
            return None
        ran = since.setdefault(found["metadata"]["uid"], time.monotonic())
        return found if time.monotonic() >= ran + _SETTLED_SECONDS else None

    return until(settled, f"{path} runs on a node that stays", seconds=seconds)


def _stays(kubernetes: Kubernetes, name: str) -> bool:
    node = kubernetes.get(place(NODES, name))
    taints = node["spec"].get("taints", []) if node else []
    return bool(node and "deletionTimestamp" not in node["metadata"] and all(one["key"] != DISRUPTED for one in taints))
