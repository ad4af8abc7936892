"""Kubelets' second look at pods that do not start.

A kubelet syncs each of its pods every minute ("--sync-frequency"). KWOK looks at a pod when it changes, and at one that
it passed over then, or whose change it could not write, never again. So what is bound and does not start is changed.
"""

from __future__ import annotations

import logging
import time

from rehearsal.controllers.world import PODS, Cluster, place_of

# Seconds; KWOK starts a pod within one.
SYNC_SECONDS = 5.0
SYNCED = "rehearsal.gpulab.dev/synced"

_LOG = logging.getLogger("controllers.pod_sync")


class PodSync:
    """Has KWOK look again at pods that have a node for a while and have not started there."""

    def __init__(self) -> None:
        self._looked_at: dict[str, float] = {}

    def reconcile(self, cluster: Cluster) -> None:
        """Notes pods that are bound and pending, and annotates those that were so for long."""
        now = time.monotonic()
        pending = cluster.kubernetes.list(PODS, fieldSelector="status.phase=Pending,spec.nodeName!=")
        self._looked_at = {uid: self._looked_at.get(uid, now) for uid in (pod["metadata"]["uid"] for pod in pending)}
        for pod in pending:
            uid = pod["metadata"]["uid"]
            if now - self._looked_at[uid] >= SYNC_SECONDS and "deletionTimestamp" not in pod["metadata"]:
                self._looked_at[uid] = now
                cluster.kubernetes.patch(place_of(PODS, pod), {"metadata": {"annotations": {SYNCED: f"{now:.0f}"}}})
                _LOG.info("%s on %s did not start", pod["metadata"]["name"], pod["spec"]["nodeName"])
