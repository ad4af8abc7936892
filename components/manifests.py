"""Kubernetes' own words, as the API server takes them."""

from __future__ import annotations

from typing import Any, TypeAlias

Spec: TypeAlias = Any
"""A part of a manifest, with keys in Kubernetes' camelCase; the SDK's typed dictionaries have others."""
