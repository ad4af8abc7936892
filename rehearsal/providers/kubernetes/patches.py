"""Patch resources (`StorageClassPatch`): a part of an object that somebody else made, by server-side apply.

As in the real plugin: creating one applies its fields, deleting it gives them up, and the object stays (provider.go,
await.go and ssa/actions.go of pulumi-kubernetes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rehearsal.providers.serving import Properties, Refused, Request

from . import objects, ownership
from .client import ApiError, Cluster
from .objects import Object
from .resource import KubernetesObject

if TYPE_CHECKING:
    from .provider import KubernetesProvider

SUFFIX = "Patch"


class PatchObject(KubernetesObject):
    """Some fields of objects of one kind."""

    def __init__(self, provider: KubernetesProvider, token: str) -> None:
        super().__init__(provider, token.removesuffix(SUFFIX))

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """As for objects; but whose fields they are has to be said. Raises Refused."""
        if not objects.name_of(inputs):
            raise Refused("patch resources require the `.metadata.name` field to be set", "metadata.name")
        return super().check(inputs, olds, request)

    def preview(self, inputs: Properties, olds: Properties | None, request: Request) -> Properties:
        """Of a create the inputs: what they are merged with may be made before."""
        return inputs if olds is None else super().preview(inputs, olds, request)

    def delete(self, id: str, olds: Properties, request: Request) -> None:
        """Gives the fields up: those that nobody else has go."""
        cluster = self._provider.reachable_cluster()
        live = objects.to_manifest(olds)
        metadata = {key: live["metadata"][key] for key in ("name", "namespace") if key in live["metadata"]}
        nothing = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata}
        try:
            cluster.apply(nothing, field_manager=ownership.field_manager({}, olds), force=False)
        except ApiError as error:
            raise Refused(f"deletion of patch resource {request.urn!r} failed: {error}") from error

    def _create(self, cluster: Cluster, inputs: Object, manager: str, *, dry_run: bool = False) -> Object:
        return self._apply(cluster, objects.to_manifest(inputs), manager, force=False, dry_run=dry_run)

    def _update(self, cluster: Cluster, inputs: Object, manager: str, *, dry_run: bool = False) -> Object:
        return self._apply(cluster, objects.to_manifest(inputs), manager, force=False, dry_run=dry_run)
