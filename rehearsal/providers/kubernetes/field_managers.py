"""Field managers of server-side apply: the one of a resource, and how it takes over the fields of a create.

https://kubernetes.io/docs/reference/using-api/server-side-apply
"""

from __future__ import annotations

import secrets
from typing import Any

from rehearsal.providers.protocol.model import Properties, Refused

from . import objects
from .client import ApiError, Cluster
from .objects import Object

# A create is a plain POST, so that an object that exists already is an error; its fields get this manager.
CREATED_BY = "pulumi-kubernetes"
_PREFIX = "pulumi-kubernetes-"
_TAKEN_OVER = {
    ("kubectl", "Apply"),
    ("kubectl", "Update"),
    ("before-first-apply", "Update"),
    (CREATED_BY, "Update"),
}
# A controller may write the object's status at any time.
_TAKE_OVER_TRIES = 5
_CONFLICTS_GUIDE = (
    "https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/managing-resources-with-server-side-apply/"
    "#handle-field-conflicts-on-existing-resources"
)


def field_manager(inputs: Object, olds: Properties | None = None) -> str:
    """The field manager of a resource: that in its annotation, or the previous one, or a new one."""
    chosen = objects.annotation(inputs, objects.PATCH_FIELD_MANAGER)
    return chosen or (olds or {}).get(objects.FIELD_MANAGER) or _PREFIX + secrets.token_hex(4)


def was_created_plainly(live: Object) -> bool:
    """Whether the fields of `live` still belong to the manager that created it."""
    return any((entry["manager"], entry["operation"]) == (CREATED_BY, "Update") for entry in _entries(live))


def take_over(cluster: Cluster, live: Object, manager: str) -> None:
    """Gives the fields from a create or from kubectl to `manager`, so that its applies do not conflict."""
    for _ in range(_TAKE_OVER_TRIES):
        try:
            _take_over(cluster, live, manager)
        except ApiError as error:
            if not error.was_overtaken:
                raise
            live = cluster.get(live)
        else:
            return


def _take_over(cluster: Cluster, live: Object, manager: str) -> None:
    fields: dict[str, Any] = {}
    kept, taken = [], []
    for entry in _entries(live):
        is_ours = (entry["manager"], entry["operation"]) == (manager, "Apply")
        if is_ours or ((entry["manager"], entry["operation"]) in _TAKEN_OVER and not entry.get("subresource")):
            taken.append(entry)
            _add(fields, entry["fieldsV1"])
        else:
            kept.append(entry)
    if all(entry["manager"] == manager for entry in taken):
        return
    ours = {**taken[-1], "manager": manager, "operation": "Apply", "fieldsV1": fields}
    cluster.patch(
        live,
        [
            {"op": "replace", "path": "/metadata/managedFields", "value": [*kept, ours]},
            # The write fails if the object changed in between.
            {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        ],
    )


def conflict(error: ApiError, manager: str) -> Refused:
    """The error of an apply that would take a field from another manager."""
    return Refused(
        f"server-side apply field conflict detected, see {_CONFLICTS_GUIDE} for troubleshooting help\n"
        f"The resource managed by field manager {manager!r} had an apply conflict: {error}\n"
        f'To take the fields over, set the annotation "{objects.PATCH_FORCE}": "true" on the resource.'
    )


def _entries(live: Object) -> list[dict[str, Any]]:
    return live["metadata"].get("managedFields", [])


def _add(fields: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        _add(fields.setdefault(key, {}), value)
