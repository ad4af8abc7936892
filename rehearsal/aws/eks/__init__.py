"""What moto's EKS lacks: moto's own clusters and node groups, answered, checked and completed as the service does."""

from __future__ import annotations

from moto.eks import urls

from rehearsal.aws.eks.access_entries import AccessEntryOperations
from rehearsal.aws.eks.addons import AddonOperations
from rehearsal.aws.eks.clusters import ClusterOperations
from rehearsal.aws.eks.identity_providers import IdentityProviderOperations
from rehearsal.aws.eks.node_groups import NodeGroupOperations
from rehearsal.aws.eks.pod_identity import PodIdentityOperations
from rehearsal.aws.eks.tags import TagOperations
from rehearsal.aws.eks.updates import UpdateOperations


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
    """Every EKS operation of the simulated AWS; moto answers those that no mixin names."""


def install() -> None:
    """Puts these operations in the place of moto's, for every EKS path."""
    urls.url_paths = {"{0}/(?P<path>.+)$": EKSResponse.dispatch}
