"""The type of Kubernetes manifests."""

from __future__ import annotations

from typing import Any, TypeAlias

Spec: TypeAlias = Any
"""A part of a manifest, with keys in Kubernetes' camelCase; the SDK's typed dictionaries use snake_case."""
