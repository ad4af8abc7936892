"""Whether a stack is a lab or production, read from its tags and labels.

The stack tag `gpulab:lifecycle` decides, or the AWS tag `Lifecycle` (a default tag of the provider is enough), or the
label `gpulab.dev/lifecycle` of a Kubernetes namespace. Each is `lab` or `production`. A stack without any of them is
production, so a forgotten tag never makes a stack less strict.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from pulumi_policy.proxy import UnknownValueError

from policies.reading.resources import Resource, at, kind_of

Lifecycle: TypeAlias = Literal["lab", "production"]

STACK_TAG = "gpulab:lifecycle"
AWS_TAG = "Lifecycle"
LABEL = "gpulab.dev/lifecycle"
_AWS_PROVIDER = "pulumi:providers:aws"


def lifecycle_of(resource: Resource, stack_tags: Mapping[str, str]) -> Lifecycle | None:
    """The lifecycle in the stack's tags, else in one resource's tags or labels; None where there is none."""
    try:
        value = stack_tags.get(STACK_TAG) or _tag_or_label(resource)
    except UnknownValueError:
        return None
    return value if value in ("lab", "production") else None


def _tag_or_label(resource: Resource) -> Any:
    if resource.resource_type == _AWS_PROVIDER:
        return default_tags(resource.props).get(AWS_TAG)
    if resource.resource_type.startswith("aws:"):
        tags = at(resource.props, "tags", {})
        return tags.get(AWS_TAG) if isinstance(tags, Mapping) else None
    if kind_of(resource) == "Namespace":
        return at(resource.props, "metadata.labels", {}).get(LABEL)
    return None


def default_tags(provider: Mapping[str, Any]) -> Mapping[str, Any]:
    """The default tags in an AWS provider's properties, which may be JSON text."""
    given: Any = provider.get("defaultTags") or {}
    if isinstance(given, str):
        given = json.loads(given)
    return at(given, "tags", {})
