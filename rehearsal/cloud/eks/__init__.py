"""What moto's EKS lacks: it checks and completes moto's clusters and node groups as the service does."""

from __future__ import annotations

from moto.eks import urls

from rehearsal.cloud.eks.access_entries import AccessEntryOperations
from rehearsal.cloud.eks.addons import AddonOperations
from rehearsal.cloud.eks.clusters import ClusterOperations
from rehearsal.cloud.eks.identity_providers import IdentityProviderOperations
from rehearsal.cloud.eks.node_groups import NodeGroupOperations
from rehearsal.cloud.eks.pod_identity import PodIdentityOperations
from rehearsal.cloud.eks.tags import TagOperations
from rehearsal.cloud.eks.updates import UpdateOperations


class EKSResponse(
    ClusterOperations,
    UpdateOperations,
    NodeGroupOperations,
    AddonOperations,
    AccessEntryOperations,
    PodIdentityOperations,
    IdentityProviderOperations,
    TagOperations,
):
    """Every EKS operation of the simulated AWS; moto answers those that the mixins do not have."""


def install() -> None:
    """Replaces moto's operations with these, for every EKS path."""
    urls.url_paths = {"{0}/(?P<path>.+)$": EKSResponse.dispatch}
