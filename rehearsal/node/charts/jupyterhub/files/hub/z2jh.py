"""Reads what the chart gives the hub: values, secrets and names, from the folders that are mounted beside this file.

`hub.extraConfig` may import this module, as it may from the real chart.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parent
_REQUIRED = object()


@lru_cache
def _values() -> dict[str, Any]:
    """The release's values, with those of `hub.existingSecret` over them."""
    merged: dict[str, Any] = {}
    for folder in ("secret", "existing-secret"):
        file = _FOLDER / folder / "values.yaml"
        if file.is_file():
            merged = _merged(merged, yaml.safe_load(file.read_text(encoding="utf-8")))
    return merged


def get_config(key: str, default: Any = None) -> Any:
    """The value at a path such as `hub.db.type`."""
    found: Any = _values()
    for part in key.split("."):
        if not isinstance(found, dict) or part not in found:
            return default
        found = found[part]
    return found


def set_config_if_not_none(section: Any, trait: str, key: str) -> None:
    """Sets a trait of JupyterHub to the value at a path, unless there is none."""
    value = get_config(key)
    if value is not None:
        setattr(section, trait, value)


@lru_cache
def get_secret_value(key: str, default: Any = _REQUIRED) -> Any:
    """A key of `hub.existingSecret`, or else of the chart's own Secret. Raises KeyError if neither has it."""
    for folder in ("existing-secret", "secret"):
        file = _FOLDER / folder / key
        if file.is_file():
            return file.read_text(encoding="utf-8")
    if default is _REQUIRED:
        raise KeyError(f"{key} is in neither Secret")
    return default


@lru_cache
def get_name(name: str) -> str:
    """The name that an object of the chart has in this release."""
    return (_FOLDER / "config" / name).read_text(encoding="utf-8")


def get_name_env(name: str, suffix: str = "") -> str:
    """A variable that Kubernetes sets for a Service, such as `PROXY_API_SERVICE_PORT`."""
    return os.environ[f"{get_name(name)}{suffix}".upper().replace("-", "_")]


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[key] = _merged(below, value)
        else:
            merged[key] = value
    return merged
