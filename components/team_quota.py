"""What a team's pods may have together (ResourceQuota), and what one of them has that says nothing (LimitRange).

The quota counts every resource by which GPUs of any pool are asked for: one that it did not name would be free of
limits. Extended resources have entries of requests alone (Kubernetes, "Resource Quotas").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components import volumes
from components.manifests import Spec
from components.quantities import canonical
from settings.gpu_shares import GPU_RESOURCE, SHARED_GPU_RESOURCE, resources

if TYPE_CHECKING:
    from settings import NodePool, Storage
    from settings.teams import Quota

NAME = "team"

# A container that says nothing: enough for a shell, too little to work with.
_DEFAULT_REQUESTS = {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "1Gi"}
_DEFAULT_LIMITS = {"memory": "1Gi", "ephemeral-storage": "10Gi"}


def resource_quota(team: str, quota: Quota, storage: Storage, pools: Mapping[str, NodePool]) -> Spec:
    """The `spec` of a team's ResourceQuota; what is not granted is 0."""
    return {
        "hard": {
            "requests.cpu": canonical(quota.cpu),
            "requests.memory": canonical(f"{quota.memory}Gi"),
            # Memory that is promised to nobody would be had by whoever comes first, until the node ends somebody.
            "limits.memory": canonical(f"{quota.memory}Gi"),
            "pods": canonical(quota.notebooks),
            **{
                f"requests.{resource}": canonical(quota.accelerators[resource])
                for resource in sorted({GPU_RESOURCE, SHARED_GPU_RESOURCE, *resources(pools)})
            },
            **_storage(team, quota, storage),
            "services.loadbalancers": "0",
            "services.nodeports": "0",
        }
    }


def _storage(team: str, quota: Quota, storage: Storage) -> dict[str, str]:
    """Claims and their sizes: the team's own, of the nominal size that EFS has, and block volumes."""
    own = len(volumes.team_volumes(team, storage))
    disks = quota.storage // (storage.home_size or 1)
    return {
        "persistentvolumeclaims": canonical(own + disks),
        "requests.storage": canonical(f"{quota.storage + own * volumes.NOMINAL_GIB}Gi"),
    }


def limit_range(quota: Quota) -> Spec:
    """The `spec` of a team's LimitRange. Without a limit of CPU, a container may use what its node has to spare."""
    return {
        "limits": [
            {
                "type": "Container",
                "defaultRequest": _DEFAULT_REQUESTS,
                "default": {"cpu": canonical(quota.cpu), **_DEFAULT_LIMITS},
                "max": {"cpu": canonical(quota.cpu), "memory": canonical(f"{quota.memory}Gi")},
            }
        ]
    }
