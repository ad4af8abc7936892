"""Warnings about objects: an event of the object says what is wrong with it."""

from __future__ import annotations

import logging

from rehearsal.controllers.world import Cluster, Object, place

_LOG = logging.getLogger("controllers")
_EVENTS = "/api/v1/events"
_LONGEST_MESSAGE = 1000


class Warnings:
    """Warnings about objects of one kind, each reported once, though every pass finds it again."""

    def __init__(self, kind: str, *, api_version: str = "v1") -> None:
        self._kind = {"apiVersion": api_version, "kind": kind}
        self._reported: dict[str, str] = {}

    def report(self, cluster: Cluster, about: Object, reason: str, message: str) -> None:
        """Writes it to the log, and where `kubectl describe` shows it, unless it was the last one about that object."""
        metadata = about["metadata"]
        if self._reported.get(metadata["uid"]) == message:
            return
        self._reported[metadata["uid"]] = message
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
        cluster.kubernetes.create(place(_EVENTS, "new", metadata["namespace"]), event)
