"""Removes namespaces that are being deleted, as the controller manager does, but at once.

The controller manager waits five seconds before it looks at one, each time (namespaceDeletionGracePeriod, a constant).
A destroy deletes namespaces one after the other, and the wait is not what a rehearsal is about.
"""

from __future__ import annotations

from rehearsal.controllers.world import Cluster, Object
from rehearsal.providers.kubernetes.client import ApiError, Kind
from rehearsal.providers.kubernetes.client import Cluster as Client

NAMESPACES = "/api/v1/namespaces"


class Namespaces:
    """Empties namespaces on their way out, and lets go of those that are empty."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def reconcile(self, cluster: Cluster) -> None:
        """Looks at each once."""
        leaving = [one for one in cluster.listed(NAMESPACES) if "deletionTimestamp" in one["metadata"]]
        if not leaving:
            return
        kinds = [kind for kind in self._client.all_kinds() if kind.namespaced and "deletecollection" in kind.verbs]
        for namespace in leaving:
            # Not `any`: everything is deleted in the same pass.
            if not sum(self._has(kind, namespace["metadata"]["name"]) for kind in kinds):
                self._let_go(cluster, namespace)

    def _has(self, kind: Kind, namespace: str) -> bool:
        """Whether objects of a kind are there; if so, they are on their way out."""
        path = kind.path(namespace)
        try:
            found = self._client.request("GET", path, query={"limit": "1"})["items"]
            if found:
                self._client.request("DELETE", path)
        except ApiError as error:
            if not error.is_not_found:  # its definition may have gone
                raise
            return False
        return bool(found)

    @staticmethod
    def _let_go(cluster: Cluster, namespace: Object) -> None:
        path = f"{NAMESPACES}/{namespace['metadata']['name']}/finalize"
        cluster.kubernetes.request("PUT", path, {**namespace, "spec": {"finalizers": []}})
