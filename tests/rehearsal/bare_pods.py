"""Pods that nobody makes again but the test that needs them."""

from __future__ import annotations

from rehearsal.controllers.world import Kubernetes, Object
from rehearsal.pods import is_running, until


def run(kubernetes: Kubernetes, path: str, pod: Object, *, seconds: float) -> Object:
    """Makes a pod and returns it once it runs. Raises DoesNotHold.

    A node counts as empty until its pod gets there, and Karpenter takes empty nodes after seconds here: a pod that went
    with its node before it ran is made again.
    """

    def running() -> Object | None:
        found = kubernetes.get(path)
        if found is None:
            kubernetes.create(path, pod)
        return found if found and is_running(found) else None

    return until(running, f"{path} runs", seconds=seconds)
