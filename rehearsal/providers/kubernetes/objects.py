"""Kubernetes objects as plain dictionaries: their identity, annotations, and the shapes in which Pulumi keeps them."""

from __future__ import annotations

import copy
from typing import Any, TypeAlias

from rehearsal.providers.serving import UNKNOWN, Refused, Request, contains_unknown, unique_name

Object: TypeAlias = dict[str, Any]

AUTONAMED = "pulumi.com/autonamed"
SKIP_AWAIT = "pulumi.com/skipAwait"
WAIT_FOR = "pulumi.com/waitFor"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"
PATCH_FORCE = "pulumi.com/patchForce"
PATCH_FIELD_MANAGER = "pulumi.com/patchFieldManager"
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
    """`metadata.name`; empty without one, UNKNOWN in a preview that can't know it."""
    metadata = obj.get("metadata")
    return UNKNOWN if metadata is UNKNOWN else (metadata or {}).get("name") or ""


def namespace_of(obj: Object) -> Any:
    """`metadata.namespace`; empty without one, UNKNOWN in a preview that can't know it."""
    metadata = obj.get("metadata")
    return UNKNOWN if metadata is UNKNOWN else (metadata or {}).get("namespace") or ""


def annotation(obj: Object, key: str) -> str:
    """An annotation's value; empty without one, or where a preview can't know it."""
    metadata = obj.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    value = annotations.get(key) if isinstance(annotations, dict) else None
    return value if isinstance(value, str) else ""


def object_id(obj: Object) -> str:
    """The resource's id in Pulumi: `namespace/name`, or `name` for what belongs to no namespace."""
    return f"{namespace_of(obj)}/{name_of(obj)}" if namespace_of(obj) else name_of(obj)


def parse_id(id: str) -> tuple[str, str]:
    """The (namespace, name) in an id; the namespace is empty for what belongs to none."""
    namespace, _, name = id.rpartition("/")
    return namespace, name


def describe(obj: Object) -> str:
    """An object in words, for messages: `NodePool gpu`, `Deployment team/hub`."""
    return f"{obj.get('kind', 'object')} {object_id(obj)}"


def assign_name(obj: Object, old_inputs: Object, request: Request) -> None:
    """Names `obj` as the real plugin does, when the program has not: like its previous self, else anew."""
    if name_of(obj) is UNKNOWN or name_of(obj):
        return
    old_name = name_of(old_inputs) if annotation(old_inputs, AUTONAMED) == "true" else ""
    metadata = obj.setdefault("metadata", {})
    metadata["name"] = old_name or unique_name(request, _AUTONAME_DIGITS)
    annotations = metadata.setdefault("annotations", {})
    if annotations is not UNKNOWN:
        annotations[AUTONAMED] = "true"


def normalized(inputs: Object, api_version: str, kind: str) -> Object:
    """A copy of a program's inputs with apiVersion and kind filled in and without what only the API server writes."""
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
    """Inputs as the API server takes them: Kubernetes' own names."""
    return _renamed({key: value for key, value in inputs.items() if key not in _BOOKKEEPING}, _DASHED)


def to_outputs(live: Object, field_manager: str) -> Object:
    """A live object as the resource's outputs: Pulumi's names, and the field manager to go on with."""
    return {**_renamed(live, _UNDERSCORED), FIELD_MANAGER: field_manager}


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {names.get(key, key): _renamed(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return value


def live_inputs(inputs: Any, recorded: Any, live: Any) -> Any:
    """`inputs` with the drift of the live object: what differs between `live` and the outputs `recorded` last time.

    Comparing two answers of the API server, not an answer with the program's inputs, leaves alone what the server
    spells otherwise (`1000m` as `1`) and what it does not keep (a Secret's stringData).
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
    """The inputs that describe a live object which no program has described yet."""
    inputs = normalized(live, live["apiVersion"], live["kind"])
    inputs.pop("status", None)
    return inputs


def is_known(obj: Object) -> bool:
    """Whether a preview knows all of `obj`, so that the API server can be asked about it."""
    return not contains_unknown(obj)
