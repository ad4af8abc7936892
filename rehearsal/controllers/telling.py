"""What controllers do to an object beside their work: say in an event what is wrong, and let go of a finalizer."""

from __future__ import annotations

import logging
from collections.abc import Callable

from rehearsal.controllers.world import Object, World, place
from rehearsal.providers.kubernetes.client import ApiError

_LOG = logging.getLogger("controllers")
_EVENTS = "/api/v1/events"
_LONGEST_MESSAGE = 1000
_ATTEMPTS = 5


class Warnings:
    """Warnings about objects of one kind, each told once, though every pass comes across it again."""

    def __init__(self, kind: str, *, api_version: str = "v1") -> None:
        self._kind = {"apiVersion": api_version, "kind": kind}
        self._told: dict[str, str] = {}

    def tell(self, world: World, about: Object, reason: str, message: str) -> None:
        """Writes it to the log, and where `kubectl describe` shows it, unless it was the last about that object."""
        metadata = about["metadata"]
        if self._told.get(metadata["uid"]) == message:
            return
        self._told[metadata["uid"]] = message
        _LOG.warning("%s: %s", metadata["name"], message)
        identity = {key: metadata[key] for key in ("name", "namespace", "uid")}
        event = {
            "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": {**self._kind, **identity},
            "type": "Warning",
            "reason": reason,
            "message": message[:_LONGEST_MESSAGE],
            "source": {"component": "rehearsal-controllers"},
        }
        world.kubernetes.create(place(_EVENTS, "new", metadata["namespace"]), event)


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
