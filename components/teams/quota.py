"""What a team's pods may use together (ResourceQuota), and the defaults of a container (LimitRange).

The quota counts every GPU resource of every pool: a resource that it does not name would be unlimited. For extended
resources, a quota can have only entries for requests (Kubernetes, "Resource Quotas").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from components.manifests import Spec
from components.quantities import canonical
from components.storage import volumes
from settings.pools.gpu_shares import GPU_RESOURCE, SHARED_GPU_RESOURCE, resources

if TYPE_CHECKING:
    from settings.files import Files as FilesSettings
    from settings.people.teams import Quota
    from settings.pools.pool import Pool

NAME = "team"

# Of a container that sets nothing: enough for a shell, too little to work with.
_DEFAULT_REQUESTS = {"cpu": "100m", "memory": "256Mi", "ephemeral-storage": "1Gi"}
_DEFAULT_LIMITS = {"memory": "1Gi", "ephemeral-storage": "10Gi"}


def resource_quota(team: str, quota: Quota, storage: FilesSettings, pools: Mapping[str, Pool]) -> Spec:
    """The `spec` of a team's ResourceQuota. GPU resources that are not granted are 0."""
    return {
        "hard": {
            "requests.cpu": canonical(quota.cpu),
            "requests.memory": canonical(f"{quota.memory}Gi"),
            # If limits could exceed requests, pods would share unreserved memory until a node runs out and kills one of
            # them.
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


def _storage(team: str, quota: Quota, storage: FilesSettings) -> dict[str, str]:
    """Claims and their sizes: those of the team's EFS volumes, with their nominal size, and block volumes."""
    own = len(volumes.team_volumes(team, storage))
    disks = quota.storage // (storage.home_size or 1)
    return {
        "persistentvolumeclaims": canonical(own + disks),
        "requests.storage": canonical(f"{quota.storage + own * volumes.NOMINAL_GIB}Gi"),
    }


def limit_range(quota: Quota) -> Spec:
    """The `spec` of a team's LimitRange. A container may use CPU that its node has to spare, up to the team's quota."""
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
