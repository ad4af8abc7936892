"""Kubernetes objects as plain dictionaries: their identity, their annotations, and their form in Pulumi."""

from __future__ import annotations

import copy
from typing import Any, TypeAlias

from rehearsal.providers.protocol.model import UNKNOWN, Refused, Request, contains_unknown, unique_name

Object: TypeAlias = dict[str, Any]

AUTONAMED = "pulumi.com/autonamed"
SKIP_AWAIT = "pulumi.com/skipAwait"
WAIT_FOR = "pulumi.com/waitFor"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"
PATCH_FORCE = "pulumi.com/patchForce"
PATCH_FIELD_MANAGER = "pulumi.com/patchFieldManager"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
DELETION_PROPAGATION_POLICY = "pulumi.com/deletionPropagationPolicy"

# Of the digits that the real plugin adds to a logical name (sdk/go/common/resource/resource_id.go).
_AUTONAME_DIGITS = 8
_READ_ONLY_METADATA = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)
# What the plugin adds to the outputs, beside the live object.
FIELD_MANAGER = "__fieldManager"
_BOOKKEEPING = frozenset({FIELD_MANAGER})

# Kubernetes' names that hold a dash are property names with underscores in Pulumi (provider.go, underscoreToDashMap).
_DASHED = {
    name.replace("-", "_"): name
    for name in (
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    )
}
_UNDERSCORED = {dashed: name for name, dashed in _DASHED.items()}


def group_version_kind(token: str) -> tuple[str, str]:
    """The (apiVersion, kind) of a resource type such as `kubernetes:apps/v1:Deployment`. Raises Refused."""
    _, module, kind = token.split(":")
    group, slash, version = module.partition("/")
    if not slash:
        raise Refused(f"{token}: the resource type has no group and version")
    return (version if group == "core" else module), kind


def name_of(obj: Object) -> Any:
    """`metadata.name`, or empty. UNKNOWN if a preview does not know it."""
    return _in_metadata(obj, "name")


def namespace_of(obj: Object) -> Any:
    """`metadata.namespace`, or empty. UNKNOWN if a preview does not know it."""
    return _in_metadata(obj, "namespace")


def _in_metadata(obj: Object, key: str) -> Any:
    metadata = obj.get("metadata")
    value = UNKNOWN if metadata is UNKNOWN else (metadata or {}).get(key)
    return UNKNOWN if value is UNKNOWN else value or ""


def annotation(obj: Object, key: str) -> str:
    """The value of an annotation. Empty without one, or if a preview does not know it."""
    metadata = obj.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    value = annotations.get(key) if isinstance(annotations, dict) else None
    return value if isinstance(value, str) else ""


def object_id(obj: Object) -> str:
    """The id of the resource in Pulumi: `namespace/name`, or `name` without a namespace."""
    return f"{namespace_of(obj)}/{name_of(obj)}" if namespace_of(obj) else name_of(obj)


def parse_id(id: str) -> tuple[str, str]:
    """The (namespace, name) in an id. The namespace can be empty."""
    namespace, _, name = id.rpartition("/")
    return namespace, name


def describe(obj: Object) -> str:
    """An object in a message: `NodePool gpu`, `Deployment team/hub`."""
    return f"{obj.get('kind', 'object')} {object_id(obj)}"


def assign_name(obj: Object, old_inputs: Object, request: Request) -> None:
    """Gives `obj` a name like the real plugin, if the program does not: the previous one, or a new one."""
    if name_of(obj) is UNKNOWN or name_of(obj):
        return
    old_name = name_of(old_inputs) if annotation(old_inputs, AUTONAMED) == "true" else ""
    metadata = obj.setdefault("metadata", {})
    metadata["name"] = old_name or unique_name(request, _AUTONAME_DIGITS)
    annotations = metadata.setdefault("annotations", {})
    if annotations is not UNKNOWN:
        annotations[AUTONAMED] = "true"


def normalized(inputs: Object, api_version: str, kind: str) -> Object:
    """A copy of the inputs with apiVersion and kind, but without the fields that only the API server writes."""
    obj = copy.deepcopy(inputs)
    obj.setdefault("apiVersion", api_version)
    obj.setdefault("kind", kind)
    if isinstance(obj.get("metadata"), dict):
        for field in _READ_ONLY_METADATA:
            obj["metadata"].pop(field, None)
    if kind == "CustomResourceDefinition":
        obj.pop("status", None)
    return obj


def to_manifest(inputs: Object) -> Object:
    """The inputs with the names of Kubernetes, for the API server."""
    return _renamed({key: value for key, value in inputs.items() if key not in _BOOKKEEPING}, _DASHED)


def to_outputs(live: Object, field_manager: str) -> Object:
    """A live object as outputs: with the names of Pulumi and the field manager."""
    return {**_renamed(live, _UNDERSCORED), FIELD_MANAGER: field_manager}


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return value


def live_inputs(inputs: Any, recorded: Any, live: Any) -> Any:
    """`inputs` with the drift of the live object: the differences between `live` and the last outputs `recorded`.

    Both are answers of the API server. So there is no drift if the server writes an input in another form (`1000m` as
    `1`) or does not keep it (`stringData` of a Secret).
    """
    if isinstance(inputs, dict) and isinstance(live, dict):
        before = recorded if isinstance(recorded, dict) else {}
        return {
            key: live_inputs(value, before.get(key), live[key]) if key in live else value
            for key, value in inputs.items()
            if key in live or key not in before
        }
    both_lists = isinstance(inputs, list) and isinstance(recorded, list) and isinstance(live, list)
    if both_lists and len(inputs) == len(recorded) == len(live):
        return [live_inputs(*triple) for triple in zip(inputs, recorded, live, strict=True)]
    return inputs if live == recorded else live


def imported_inputs(live: Object) -> Object:
    """The inputs for a live object that is imported."""
    inputs = normalized(live, live["apiVersion"], live["kind"])
    inputs.pop("status", None)
    return inputs


def is_known(obj: Object) -> bool:
    """Whether a preview knows all of `obj`, so that it can be sent to the API server."""
    return not contains_unknown(obj)
