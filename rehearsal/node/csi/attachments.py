"""The attachments of volumes that nothing attaches: those of file systems in the network.

SeaweedFS' driver asks for them all the same, and its external-attacher says each time that it is done.
"""

from __future__ import annotations

from rehearsal.controllers.world import Cluster, place_of

ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"


class Attachments:
    """Says of each volume that it is attached, without which no kubelet mounts it."""

    def reconcile(self, cluster: Cluster) -> None:
        """Answers what Kubernetes asks to attach. What it detaches has no finalizer, and so is gone at once."""
        for one in cluster.listed(ATTACHMENTS):
            if not one.get("status", {}).get("attached"):
                cluster.kubernetes.patch(f"{place_of(ATTACHMENTS, one)}/status", {"status": {"attached": True}})
