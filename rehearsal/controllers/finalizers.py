"""Finalizers of controllers: they hold an object, and let it go."""

from __future__ import annotations

from collections.abc import Callable

from rehearsal.controllers.world import World
from rehearsal.providers.kubernetes.client import ApiError

_ATTEMPTS = 5


def with_finalizer(world: World, path: str, finalizer: str) -> None:
    """Holds the object at `path` with a finalizer."""
    _change(world, path, lambda held: [*held, finalizer] if finalizer not in held else held)


def without_finalizer(world: World, path: str, finalizer: str) -> None:
    """Lets go of the object at `path`, which may be gone."""
    _change(world, path, lambda held: [one for one in held if one != finalizer])


def _change(world: World, path: str, change: Callable[[list[str]], list[str]]) -> None:
    for attempt in range(_ATTEMPTS):
        live = world.kubernetes.get(path)
        if live is None:
            return
        metadata = live["metadata"]
        held = metadata.get("finalizers") or []
        if (changed := change(held)) == held:
            return
        # With the version the API server refuses a change over somebody else's.
        changes = {"metadata": {"finalizers": changed, "resourceVersion": metadata["resourceVersion"]}}
        try:
            world.kubernetes.patch(path, changes)
        except ApiError as error:
            if not error.was_overtaken or attempt == _ATTEMPTS - 1:
                raise
        else:
            return
