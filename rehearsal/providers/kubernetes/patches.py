"""Patch resources (`StorageClassPatch`): some fields of an object that another owner made, by server-side apply.

As in the real plugin, a create applies the fields and a delete gives them up, but the object stays (provider.go,
await.go and ssa/actions.go of pulumi-kubernetes).
"""

from __future__ import annotations

from rehearsal.providers.protocol.model import Properties, Refused, Request

from . import field_managers, objects
from .client import ApiError, Cluster
from .connection import Connection
from .objects import Object
from .resource import KubernetesObject

SUFFIX = "Patch"


class PatchObject(KubernetesObject):
    """Some fields of objects of one kind."""

    def __init__(self, connection: Connection, token: str) -> None:
        super().__init__(connection, token.removesuffix(SUFFIX))

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """As in the base, but the name is required. Raises Refused."""
        if objects.name_of(inputs) == "":
            raise Refused("patch resources require the `.metadata.name` field to be set", "metadata.name")
        return super().check(inputs, olds, request)

    def preview(self, inputs: Properties, olds: Properties | None, request: Request) -> Properties:
        """For a create the inputs, because the update can make the object first."""
        return inputs if olds is None else super().preview(inputs, olds, request)

    def delete(self, id: str, olds: Properties, request: Request) -> None:
        """Removes the fields that no other manager owns."""
        cluster = self._connection.reachable_cluster()
        live = objects.to_manifest(olds)
        metadata = {key: live["metadata"][key] for key in ("name", "namespace") if key in live["metadata"]}
        nothing = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata}
        try:
            cluster.apply(nothing, field_manager=field_managers.field_manager({}, olds), force=False)
        except ApiError as error:
            raise Refused(f"deletion of patch resource {request.urn!r} failed: {error}") from error

    def _create(self, cluster: Cluster, inputs: Object, manager: str, *, dry_run: bool = False) -> Object:
        return self._apply(cluster, objects.to_manifest(inputs), manager, force=False, dry_run=dry_run)

    def _update(self, cluster: Cluster, inputs: Object, manager: str, *, dry_run: bool = False) -> Object:
        return self._apply(cluster, objects.to_manifest(inputs), manager, force=False, dry_run=dry_run)
