"""Whether a stack is a lab or production, by what its resources say of themselves.

A stack says it by the stack tag `gpulab:lifecycle`, by the AWS tag `Lifecycle` (a default tag of the provider will do),
or by the label `gpulab.dev/lifecycle` of a Kubernetes namespace; each is `lab` or `production`. One that says nothing
is production: nobody gets leniency by forgetting.
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


def told_by(resource: Resource, stack_tags: Mapping[str, str]) -> Lifecycle | None:
    """What one resource, or its stack's tags, say; None where they say nothing."""
    try:
        said = stack_tags.get(STACK_TAG) or _said(resource)
    except UnknownValueError:
        return None
    return said if said in ("lab", "production") else None


def _said(resource: Resource) -> Any:
    if resource.resource_type == _AWS_PROVIDER:
        return default_tags(resource.props).get(AWS_TAG)
    if resource.resource_type.startswith("aws:"):
        tags = at(resource.props, "tags", {})
        return tags.get(AWS_TAG) if isinstance(tags, Mapping) else None
    if kind_of(resource) == "Namespace":
        return at(resource.props, "metadata.labels", {}).get(LABEL)
    return None


def default_tags(provider: Mapping[str, Any]) -> Mapping[str, Any]:
    """The default tags of an AWS provider, by its properties; a provider's are JSON text."""
    given: Any = provider.get("defaultTags") or {}
    if isinstance(given, str):
        given = json.loads(given)
    return at(given, "tags", {})
