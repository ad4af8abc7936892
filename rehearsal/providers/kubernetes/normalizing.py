"""The form in which the real plugin keeps inputs of built-in kinds (provider/pkg/clients/unstructured.go, `Normalize`).

It converts them to types of Go and back, which removes empty lists and maps and gives quantities their canonical form.
It also removes `false` and 0 of some fields; this is not done here. Custom resources do not change, nor do objects that
a preview does not know completely.
"""

from __future__ import annotations

import base64
from typing import Any

from components.quantities import canonical

from .objects import Object

_GROUPS = frozenset(
    {
        "admissionregistration.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
    }
)
# Where quantities are, as the values of maps and as values.
_LIMIT_RANGE = ("min", "max", "default", "defaultRequest")
_QUANTITY_MAPS = frozenset({"requests", "limits", "capacity", "hard", "podFixed", *_LIMIT_RANGE})
_QUANTITIES = frozenset({"sizeLimit", "divisor", "averageValue"})
# What is a map in Go, and not a struct that may be empty and still mean something (`emptyDir: {}`).
_OTHER_MAPS = frozenset({"labels", "annotations", "matchLabels", "nodeSelector", "parameters"})
_MAPS = _QUANTITY_MAPS | _OTHER_MAPS | {"data", "binaryData", "stringData"}


def normalized(obj: Object) -> Object:
    """The object in the form of the plugin."""
    api_version, kind = obj.get("apiVersion", ""), obj.get("kind")
    if api_version != "v1" and api_version.partition("/")[0] not in _GROUPS:
        return obj
    if (api_version, kind) == ("v1", "Secret"):
        return _secret(obj)
    return {key: _normalized(value, key) for key, value in obj.items() if not _is_dropped(value, key)}


def _secret(obj: Object) -> Object:
    """`stringData` of a Secret becomes `data`, as in the API server."""
    texts = obj.get("stringData")
    if not isinstance(texts, dict) or not texts:
        return obj
    encoded = {key: base64.b64encode(str(text).encode()).decode() for key, text in texts.items()}
    rest = {key: value for key, value in obj.items() if key != "stringData"}
    return {**rest, "data": {**(obj.get("data") or {}), **encoded}}


def _normalized(value: Any, key: str) -> Any:
    if isinstance(value, list):
        return [_normalized(item, "") for item in value]
    if isinstance(value, dict):
        if key in _QUANTITY_MAPS and all(isinstance(item, str | int | float) for item in value.values()):
            return {name: _quantity(item) for name, item in value.items()}
        if key in ("data", "binaryData"):
            return value
        return {name: _normalized(item, name) for name, item in value.items() if not _is_dropped(item, name)}
    return _quantity(value) if key in _QUANTITIES else value


def _is_dropped(value: Any, key: str) -> bool:
    return value is None or value == [] or (value == {} and key in _MAPS)


def _quantity(value: Any) -> Any:
    try:
        return canonical(value)
    except ValueError:
        return value  # the API server refuses it
