"""Deletes an object and waits until it is gone. If it stays, the error says what blocks the deletion."""

from __future__ import annotations

import os

from rehearsal.providers.protocol.model import Request

from . import objects
from .awaiting import timeout
from .client import ApiError, Cluster, NoSuchKind
from .objects import Object

# The most seconds that any deletion is waited for. In a rehearsal nothing takes long that goes at all.
LONGEST = "GPULAB_LONGEST_DELETION"

# The kinds for which the real plugin takes skipAwait to mean deletions too (metadata/overrides.go).
_SKIP_AWAIT_ON_DELETE = frozenset(
    {
        ("v1", "Namespace"),
        ("v1", "Pod"),
        ("v1", "ReplicationController"),
        ("apps/v1", "DaemonSet"),
        ("apps/v1", "Deployment"),
        ("apps/v1", "StatefulSet"),
        ("batch/v1", "Job"),
    }
)
_PROPAGATION = {"orphan": "Orphan", "background": "Background"}
_DEPENDENTS_SHOWN = 5


def delete(cluster: Cluster, obj: Object, request: Request) -> None:
    """Deletes `obj` and waits for it. The deletion is in the foreground, unless an annotation has another policy.

    It is not an error if the object or its kind is gone already. Raises TimeoutError with what blocks the deletion.
    """
    policy = objects.annotation(obj, objects.DELETION_PROPAGATION_POLICY).lower()
    try:
        cluster.delete(obj, propagation=_PROPAGATION.get(policy, "Foreground"))
    except NoSuchKind:
        return
    except ApiError as error:
        if error.is_not_found:
            return
        raise
    skips = objects.annotation(obj, objects.SKIP_AWAIT) == "true"
    if skips and (obj["apiVersion"], obj["kind"]) in _SKIP_AWAIT_ON_DELETE:
        return
    _until_gone(cluster, obj, request, seconds=timeout(obj))


def _until_gone(cluster: Cluster, obj: Object, request: Request, *, seconds: float) -> None:
    """Waits until `obj`, which is being deleted, is gone. Raises TimeoutError with what blocks the deletion."""
    last: Object | None = obj
    said = ""

    def gone() -> bool:
        nonlocal last, said
        last = _find(cluster, obj)
        # A new object with the same name has another UID.
        if last is None or last["metadata"]["uid"] != obj["metadata"].get("uid", last["metadata"]["uid"]):
            return True
        if (status := _status(last)) and status != said:
            request.log(status)
            said = status
        return False

    what = f"{objects.describe(obj)} was not deleted"
    longest = float(os.environ.get(LONGEST, "inf"))
    try:
        request.wait(gone, seconds=seconds, longest=longest, what=what)
    except TimeoutError as error:
        holders = _holders(cluster, last) if last else []
        raise TimeoutError(". ".join([str(error), *holders])) from error


def _find(cluster: Cluster, obj: Object) -> Object | None:
    try:
        return cluster.get(obj)
    except NoSuchKind:
        return None
    except ApiError as error:
        if error.is_not_found:
            return None
        raise


def _status(obj: Object) -> str:
    """The current status of a deletion, in a few words."""
    if obj["kind"] == "Namespace":
        return "; ".join(_namespace_messages(obj))
    finalizers = obj["metadata"].get("finalizers", [])
    return f"deleting, waiting for {', '.join(finalizers)}" if finalizers else ""


def _namespace_messages(namespace: Object) -> list[str]:
    conditions = namespace.get("status", {}).get("conditions", [])
    return [condition["message"] for condition in conditions if condition["status"] == "True"]


def _holders(cluster: Cluster, obj: Object) -> list[str]:
    """Sentences about what blocks the deletion of an object."""
    finalizers = obj["metadata"].get("finalizers", [])
    if obj["kind"] == "Namespace":
        return _namespace_messages(obj)
    said = []
    if obj["kind"] == "CustomResourceDefinition":
        said += _instances_in_words(cluster, obj)
    if others := [finalizer for finalizer in finalizers if finalizer != "foregroundDeletion"]:
        said.append(f"Its finalizers wait for their controllers: {', '.join(others)}")
    if "foregroundDeletion" in finalizers:
        dependents = [
            objects.describe(dependent) + _finalizers_in_words(dependent) for dependent in cluster.dependents(obj)
        ]
        shown = ", ".join(dependents[:_DEPENDENTS_SHOWN])
        more = len(dependents) - _DEPENDENTS_SHOWN
        said.append(f"Its dependents go first: {shown or 'none is left'}" + (f" and {more} more" if more > 0 else ""))
    return said or ["No finalizer holds it"]


def _instances_in_words(cluster: Cluster, definition: Object) -> list[str]:
    spec = definition["spec"]
    version = next(version["name"] for version in spec["versions"] if version["served"])
    try:
        kind = cluster.kind(f"{spec['group']}/{version}", spec["names"]["kind"])
        instances = [{**item, "kind": kind.kind} for item in cluster.objects(kind)]
    except (NoSuchKind, ApiError):
        return []
    shown = [objects.describe(item) + _finalizers_in_words(item) for item in instances[:_DEPENDENTS_SHOWN]]
    return [f"Its custom resources go first: {', '.join(shown)}"] if shown else []


def _finalizers_in_words(obj: Object) -> str:
    finalizers = obj["metadata"].get("finalizers", [])
    return f" (finalizers: {', '.join(finalizers)})" if finalizers else ""
