"""Finalizers of controllers: they hold an object, and let it go."""

from __future__ import annotations

from collections.abc import Callable

from rehearsal.controllers.world import Cluster
from rehearsal.providers.kubernetes.client import ApiError

_ATTEMPTS = 5


def with_finalizer(cluster: Cluster, path: str, finalizer: str) -> None:
    """Holds the object at `path` with a finalizer."""
    _change(cluster, path, lambda held: [*held, finalizer] if finalizer not in held else held)


def without_finalizer(cluster: Cluster, path: str, finalizer: str) -> None:
    """Lets go of the object at `path`, which may be gone."""
    _change(cluster, path, lambda held: [one for one in held if one != finalizer])


def _change(cluster: Cluster, path: str, change: Callable[[list[str]], list[str]]) -> None:
    for attempt in range(_ATTEMPTS):
        live = cluster.kubernetes.get(path)
        if live is None:
            return
        metadata = live["metadata"]
        held = metadata.get("finalizers") or []
        if (changed := change(held)) == held:
            return
        # With the version the API server refuses a change over somebody else's.
        changes = {"metadata": {"finalizers": changed, "resourceVersion": metadata["resourceVersion"]}}
        try:
            cluster.kubernetes.patch(path, changes)
        except ApiError as error:
            if not error.was_overtaken or attempt == _ATTEMPTS - 1:
                raise
        else:
            return
