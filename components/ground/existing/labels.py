"""The labels by which objects of a stack are told from those of others, and labs from production."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi

from components.ground.existing.ownership import STACK_LABEL

if TYPE_CHECKING:
    from settings import ExistingSettings

LIFECYCLE_LABEL, EXPIRES_LABEL = "gpulab.dev/lifecycle", "gpulab.dev/expires"
"""By these the policy pack knows a lab (`policies.lifecycle`): there is no AWS resource whose tags say so."""

_NAMESPACE = "kubernetes:core/v1:Namespace"


def stack_labels_transform(settings: ExistingSettings) -> pulumi.ResourceTransform:
    """Labels every object of the stack with the stack's name, and its namespaces with its lifecycle."""
    of_all = {STACK_LABEL: settings.stack}
    lifecycle = settings.lifecycle
    expires = {EXPIRES_LABEL: str(lifecycle.expires)} if lifecycle.expires else {}
    of_namespaces = {**of_all, LIFECYCLE_LABEL: lifecycle.kind, **expires}

    def transform(resource: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        metadata: Any = resource.props.get("metadata")
        if not resource.type_.startswith("kubernetes:") or metadata is None:
            return None
        added = of_namespaces if resource.type_ == _NAMESPACE else of_all
        labels = {**(metadata.get("labels") or {}), **added}
        return pulumi.ResourceTransformResult(
            {**resource.props, "metadata": {**metadata, "labels": labels}}, resource.opts
        )

    return transform
