"""The pod of a choice: what the hub has KubeSpawner make, in the words of KubeSpawner's traits."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from . import files
from .catalogue import Catalogue, Pool
from .choices import Choice
from .quantities import amount

SERVICE_ACCOUNT = "notebook"
PRIORITY_CLASS = "gpulab-notebook"
POOL_LABEL = "gpulab.dev/pool"
TEAM_LABEL, PROFILE_LABEL, PERSON_LABEL = "gpulab.dev/team", "gpulab.dev/profile", "gpulab.dev/person"

UID, GID = 1000, 100
"""jovyan and users, as in the Jupyter images, and as access points of the file system have it."""

HOME_CLAIM = "home-{username}"
SCRATCH = "/home/jovyan/scratch"
_SCRATCH_VOLUME = "scratch"

# Pod Security Standards, "Restricted"; what is not here, KubeSpawner's own traits say.
POD_SECURITY_CONTEXT = {
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
    # A home with many files would keep its notebook waiting at each start.
    "fsGroupChangePolicy": "OnRootMismatch",
}
CONTAINER_SECURITY_CONTEXT = {"capabilities": {"drop": ["ALL"]}}
ANNOTATIONS = {"karpenter.sh/do-not-disrupt": "true"}


def pools_for(catalogue: Catalogue, choice: Choice) -> list[Pool]:
    """The pools that the choice may run in: that of its GPUs, or the team's CPU pools."""
    gpu = choice.profile.gpu
    allowed = [catalogue.pools[name] for name in choice.team.node_pools]
    return [pool for pool in allowed if (pool.name == gpu.pool if gpu else not pool.gpu)]


def requests(choice: Choice) -> dict[str, Decimal]:
    """What the pod requests, by resource; memory and scratch in bytes."""
    profile = choice.profile
    found = {"cpu": Decimal(str(profile.cpu)), "memory": amount(profile.memory)}
    if profile.scratch:
        found["ephemeral-storage"] = amount(f"{profile.scratch}Gi")
    if profile.gpu:
        found[profile.gpu.resource] = Decimal(profile.gpu.count)
    return found


def overrides(catalogue: Catalogue, choice: Choice, started: datetime) -> dict[str, Any]:
    """KubeSpawner's traits for the choice, started now. `{username}` in them becomes the person's slug."""
    profile, team = choice.profile, choice.team
    pools = pools_for(catalogue, choice)
    extra = {
        resource: str(int(number)) for resource, number in requests(choice).items() if resource not in ("cpu", "memory")
    }
    memory = int(amount(profile.memory))
    brought = files.files(profile, warn_minutes=catalogue.hub.warn_minutes, started=started)
    scratch = [{"name": _SCRATCH_VOLUME, "emptyDir": {"sizeLimit": f"{profile.scratch}Gi"}}] if profile.scratch else []
    scratch_mount = [{"name": _SCRATCH_VOLUME, "mountPath": SCRATCH}] if profile.scratch else []
    in_pool = {"key": POOL_LABEL, "operator": "In", "values": [pool.name for pool in pools]}
    return {
        "namespace": team.namespace,
        "service_account": SERVICE_ACCOUNT,
        "image": profile.image,
        "image_pull_secrets": [catalogue.hub.pull_secret] if catalogue.hub.pull_secret else [],
        "cpu_guarantee": profile.cpu,
        "mem_guarantee": memory,
        "mem_limit": memory,
        "extra_resource_guarantees": extra,
        "extra_resource_limits": extra,
        "environment": {name: _literal(value) for name, value in profile.env.items()},
        "extra_labels": {TEAM_LABEL: team.name, PROFILE_LABEL: profile.name, PERSON_LABEL: "{username}"},
        "extra_annotations": {name: _literal(text) for name, text in files.pod_annotations(brought).items()},
        "volumes": [*team.volumes, *scratch, files.volume(brought)],
        "volume_mounts": [*_mounts(choice), *scratch_mount, files.mount()],
        "node_selector": {POOL_LABEL: pools[0].name} if len(pools) == 1 else {},
        "node_affinity_required": [
            {"matchExpressions": [in_pool, *(profile.gpu.affinity if profile.gpu else ())]},
        ],
        "tolerations": _distinct([dict(one) for pool in pools for one in pool.tolerations]),
    }


def _mounts(choice: Choice) -> list[dict[str, Any]]:
    """The team's mounts; with several roles, writable where one of them writes."""
    by_place: dict[str, dict[str, Any]] = {}
    for role in sorted(choice.roles & choice.team.mounts.keys()):
        for mount in choice.team.mounts[role]:
            known = by_place.setdefault(mount["mountPath"], dict(mount))
            if not mount.get("readOnly"):
                known.pop("readOnly", None)
    return list(by_place.values())


def _literal(text: str) -> str:
    """A text that comes out of KubeSpawner's templates as it is: it formats whatever it is given."""
    return text.replace("{", "{{").replace("}", "}}")


def _distinct(tolerations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for number, one in enumerate(tolerations) if one not in tolerations[:number]]
