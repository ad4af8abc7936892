"""Objects of every kind that an API server knows, as resources."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import ClassVar

from rehearsal.providers.protocol.model import (
    Difference,
    InitFailed,
    Properties,
    Refused,
    Request,
    ResourceType,
    changed_paths,
)

from . import awaiting, deleting, field_managers, kinds, normalizing, objects
from .client import ApiError, Cluster, NoSuchKind
from .connection import Connection
from .objects import Object

# A namespace or a custom resource definition may be on its way: tried again after 0.1, 0.2, … 3.2 s, 6.3 s in all.
_RETRIES = 6
_FIRST_PAUSE_SECONDS = 0.1
_ALREADY_EXISTS = (
    "{}\n\nThe resource already exists in the cluster. Use `pulumi import` to adopt it, an alias when a Pulumi resource"
    " was renamed, or upsertExistingObjects on the provider to let creates update what is there."
)


class KubernetesObject(ResourceType):
    """Objects of one kind in one version."""

    def __init__(self, connection: Connection, token: str) -> None:
        self._connection = connection
        self._api_version, self._kind = objects.group_version_kind(token)
        self._token = token

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """Fills in apiVersion, kind, name and namespace. Raises Refused."""
        obj = objects.normalized(inputs, self._api_version, self._kind)
        for field, expected in (("apiVersion", self._api_version), ("kind", self._kind)):
            if obj[field] != expected:
                raise Refused(f"{obj[field]!r} is not the {field} of the resource type {self._token}", field)
        metadata = obj.setdefault("metadata", {})
        if isinstance(metadata, dict):
            if metadata.get("generateName") and objects.name_of(obj) == "":
                raise Refused("generateName is not supported in Server-Side Apply mode", "metadata.generateName")
            objects.assign_name(obj, olds, request)
            if objects.namespace_of(obj) == "" and self._is_namespaced():
                metadata["namespace"] = self._connection.namespace
        return normalizing.normalized(obj) if objects.is_known(obj) else obj

    def _is_namespaced(self) -> bool:
        """Whether objects of this kind have a namespace. True for a kind that does not exist yet."""
        if self._connection.unreachable:
            return True
        try:
            return self._connection.cluster.kind(self._api_version, self._kind).namespaced
        except NoSuchKind:
            return True

    def difference(self, old_inputs: Properties, inputs: Properties, olds: Properties) -> Difference:
        """Compares the inputs. A replacement deletes first only if both objects have the same chosen name."""
        if objects.is_known(inputs):
            # An older release of this provider kept the form of the program, which is no difference.
            old_inputs, inputs = normalizing.normalized(old_inputs), normalizing.normalized(inputs)
        changes = list(changed_paths(old_inputs, inputs))
        settings = self._connection.settings
        replacing = kinds.replacing_paths(
            [path for path, _ in changes],
            self._api_version,
            self._kind,
            immutable=olds.get("immutable") is True,
            config_map_mutable=settings.config_map_mutable,
            secret_mutable=settings.secret_mutable,
        )
        if self._is_to_be_replaced(inputs, olds):
            path = ("metadata", "annotations", objects.REPLACE_UNREADY)
            changes, replacing = [*changes, (path, "update")], replacing | {path}
        name_is_chosen = objects.annotation(inputs, objects.AUTONAMED) != "true"
        same_place = all(of(inputs) == of(olds) for of in (objects.name_of, objects.namespace_of))
        return Difference(changes, replacing, bool(replacing) and name_is_chosen and same_place)

    def _is_to_be_replaced(self, inputs: Properties, olds: Properties) -> bool:
        """Whether this is an unfinished Job with the annotation that asks for a new Job then."""
        if objects.annotation(inputs, objects.REPLACE_UNREADY) != "true" or self._kind != "Job":
            return False
        if self._connection.unreachable:
            return False
        try:
            return bool(awaiting.problems(self._connection.cluster, inputs, self._connection.cluster.get(olds)))
        except ApiError:
            return False

    def preview(self, inputs: Properties, olds: Properties | None, request: Request) -> Properties:
        """The result of a dry run. The inputs, if a value, the kind or the cluster is not known yet."""
        connection = self._connection
        if connection.unreachable or not objects.is_known(inputs):
            return inputs
        try:
            if not connection.cluster.serves(self._api_version, self._kind):
                return inputs
            if olds is None:
                live = self._create(connection.cluster, inputs, field_managers.field_manager(inputs), dry_run=True)
            else:
                live = self._update(
                    connection.cluster, inputs, field_managers.field_manager(inputs, olds), dry_run=True
                )
        except ApiError as error:
            # The update can make the namespace first, or delete the old object, so this is not an error yet.
            if error.is_not_found or error.already_exists or error.status == 403:
                return inputs
            raise Refused(str(error)) from error
        live.pop("status", None)
        return objects.to_outputs(live, field_managers.field_manager(inputs, olds))

    def create(self, inputs: Properties, request: Request) -> tuple[str, Properties]:
        """Makes the object and waits until it is ready. Raises Refused, InitFailed."""
        cluster = self._connection.reachable_cluster()
        manager = field_managers.field_manager(inputs)
        try:
            live = _retried(lambda: self._create(cluster, inputs, manager), request)
        except NoSuchKind as error:
            raise Refused(
                f"creation of resource {request.urn!r} with kind {self._api_version}/{self._kind} failed because the"
                " Kubernetes API server reported that the apiVersion for this resource does not exist."
                f" Verify that any required CRDs have been created: {error}"
            ) from error
        except ApiError as error:
            text = _ALREADY_EXISTS.format(error) if error.already_exists else str(error)
            raise Refused(
                f"resource {request.urn!r} was not successfully created by the Kubernetes API server: {text}"
            ) from error
        try:
            live = awaiting.until_ready(cluster, inputs, live, request)
        except awaiting.NotReady as not_ready:
            raise InitFailed(
                objects.object_id(live),
                objects.to_outputs(not_ready.object, manager),
                [
                    f"resource {request.urn!r} was successfully created, but the Kubernetes API server reported that it"
                    f" failed to fully initialize or become live: {not_ready.reasons[0]}",
                    *not_ready.reasons[1:],
                ],
            ) from not_ready
        return objects.object_id(live), objects.to_outputs(live, manager)

    def _create(self, cluster: Cluster, inputs: Object, manager: str, *, dry_run: bool = False) -> Object:
        manifest = objects.to_manifest(inputs)
        if not self._connection.settings.upsert:
            return cluster.create(manifest, field_manager=field_managers.CREATED_BY, dry_run=dry_run)
        return self._apply(cluster, manifest, manager, force=dry_run, dry_run=dry_run)

    def _apply(self, cluster: Cluster, manifest: Object, manager: str, *, force: bool, dry_run: bool) -> Object:
        force = force or self._connection.settings.patch_force
        force = force or objects.annotation(manifest, objects.PATCH_FORCE) == "true"
        try:
            return cluster.apply(manifest, field_manager=manager, force=force, dry_run=dry_run)
        except ApiError as error:
            if error.is_field_conflict:
                raise field_managers.conflict(error, manager) from error
            raise

    def read(
        self, id: str, inputs: Properties, olds: Properties, request: Request
    ) -> tuple[Properties, Properties] | None:
        """The live object. The inputs have its drift from `olds`. Raises InitFailed if it is not ready anymore."""
        connection = self._connection
        if connection.unreachable:
            if connection.gives_up_unreachable(request):
                return None
            return connection.unread(inputs, olds, request)
        namespace, name = objects.parse_id(id)
        identity = {
            "apiVersion": self._api_version,
            "kind": self._kind,
            "metadata": {"name": name, "namespace": namespace},
        }
        try:
            live = connection.cluster.get(identity)
        except NoSuchKind:
            return None
        except ApiError as error:
            if error.is_not_found:
                return None
            raise
        outputs = objects.to_outputs(live, field_managers.field_manager(inputs, olds))
        if not inputs:
            return objects.imported_inputs(outputs), outputs
        drifted = objects.live_inputs(inputs, olds, outputs)
        reasons = awaiting.problems(connection.cluster, inputs, live)
        if reasons:
            first = f"Resource '{name}' was created but failed to initialize"
            raise InitFailed(id, outputs, [first, *reasons], inputs=drifted)
        return drifted, outputs

    def update(
        self, id: str, inputs: Properties, olds: Properties, old_inputs: Properties, request: Request
    ) -> Properties:
        """Applies the inputs and waits until the object is ready. Raises Refused, InitFailed."""
        cluster = self._connection.reachable_cluster()
        manager = field_managers.field_manager(inputs, olds)
        try:
            live = self._update(cluster, inputs, manager)
        except (ApiError, NoSuchKind) as error:
            raise Refused(f"update of resource {request.urn!r} failed: {error}") from error
        try:
            live = awaiting.until_ready(cluster, inputs, live, request)
        except awaiting.NotReady as not_ready:
            raise InitFailed(
                id,
                objects.to_outputs(not_ready.object, manager),
                [
                    f"the Kubernetes API server reported that {id!r} failed to fully initialize or become live:"
                    f" {not_ready.reasons[0]}",
                    *not_ready.reasons[1:],
                ],
            ) from not_ready
        return objects.to_outputs(live, manager)

    def _update(self, cluster: Cluster, inputs: Object, manager: str, *, dry_run: bool = False) -> Object:
        manifest = objects.to_manifest(inputs)
        live = cluster.get(manifest)
        if self._kind == "CustomResourceDefinition":
            # Replaced as a whole, so that removed versions and fields disappear.
            manifest["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
            return cluster.replace(manifest, field_manager=manager, dry_run=dry_run)
        if dry_run:
            created_plainly = field_managers.was_created_plainly(live)
            return self._apply(cluster, manifest, manager, force=created_plainly, dry_run=True)
        field_managers.take_over(cluster, live, manager)
        return self._apply(cluster, manifest, manager, force=False, dry_run=False)

    def delete(self, id: str, olds: Properties, request: Request) -> None:
        """Deletes the object and waits until it is gone. Raises TimeoutError with what blocks the deletion."""
        connection = self._connection
        if connection.unreachable:
            if connection.gives_up_unreachable(request):
                return
            raise connection.unreachable_refusal()
        deleting.delete(connection.cluster, objects.to_manifest(olds), request)


class SecretObject(KubernetesObject):
    """`v1/Secret`. Its values are always secret in the state."""

    secret_outputs: ClassVar[frozenset[str]] = frozenset({"data", "stringData"})
    copies: ClassVar[Mapping[str, str]] = {"data": "stringData"}


def _retried(make: Callable[[], Object], request: Request) -> Object:
    pause = _FIRST_PAUSE_SECONDS
    for attempt in range(_RETRIES):
        try:
            return make()
        except (ApiError, NoSuchKind) as error:
            if isinstance(error, ApiError) and not error.is_not_found:
                raise
            request.log(f"Retry #{attempt}; creation failed: {error}")
        time.sleep(pause)
        pause *= 2
    return make()
