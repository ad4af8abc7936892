"""What the hub has to know of the stack file: teams, profiles and pools, as one JSON document. No secret is in it.

The modules in `components/hub` read it when the hub starts. `{username}` in it is KubeSpawner's, for the person's slug.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from components import volumes
from components.gpu_choice import match_expressions
from components.gpu_sharing import tolerations
from components.images import mirror_of, mirrored
from components.keycloak import internal_url
from components.node_pools import limits
from components.realm import REALM, Addresses
from components.team_names import HUB_NAMESPACE, PULL_SECRET
from settings.allocatable import memory_for_pods, vcpu_for_pods
from settings.gpu_shares import shares
from settings.profiles import gpu_request
from settings.team_names import ROLES, namespace_of
from settings.values import seconds

if TYPE_CHECKING:
    from settings import Hub, NodePool, Profile, Settings
    from settings.teams import Team

# By it the policy pack finds the catalogue, and knows that a hub starts what it says (`policies.reading.profiles`).
CATALOGUE_LABEL = {"gpulab.dev/catalogue": "true"}

# KubeSpawner's template for the person's part of names.
_PERSON = "{username}"

CONFIG_MAP_LIMIT = 1024 * 1024
"""Bytes that a ConfigMap may have (Kubernetes, "ConfigMaps")."""


def hub_of(settings: Settings) -> Hub:
    """The settings of the hub of a stack that has one. Raises ValueError for a stack without."""
    if settings.running_hub is None:
        raise ValueError(f"stack {settings.stack} has no hub: it needs teams, an identity section and hub.enabled")
    return settings.running_hub


def catalogue(settings: Settings) -> dict[str, Any]:
    """The document for a stack with a hub. Amounts of memory are Kubernetes quantities, times are seconds."""
    hub = hub_of(settings)
    return {
        "teams": {name: _team(name, team, settings) for name, team in settings.teams.items()},
        "profiles": {name: _profile(profile, settings, hub) for name, profile in settings.profiles.items()},
        "pools": {name: _pool(name, pool) for name, pool in settings.node_pools.items()},
        "homes": _homes(settings),
        "hub": _hub(settings, hub),
    }


def catalogue_text(document: dict[str, Any]) -> str:
    """The document as the ConfigMap has it, the same for the same settings. Raises ValueError for a longer one."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    if len(text.encode()) > CONFIG_MAP_LIMIT:
        raise ValueError(
            f"teams and profiles take {len(text.encode())} bytes, and a ConfigMap {CONFIG_MAP_LIMIT}: shorten the "
            "profiles' descriptions and startup scripts"
        )
    return text


def checksum(*texts: str) -> str:
    """Changes with the texts; as an annotation of pods it has them start anew."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _team(name: str, team: Team, settings: Settings) -> dict[str, Any]:
    return {
        "namespace": namespace_of(name),
        "description": team.description,
        "profiles": list(team.profiles),
        "nodePools": list(team.pools(settings.node_pools)),
        "roles": {role: {"mounts": volumes.pod_mounts(name, role, _PERSON, settings.storage)} for role in ROLES},
        "volumes": volumes.pod_volumes(name, _PERSON, settings.storage),
        "bucketAccess": team.buckets is not None,
    }


def _profile(profile: Profile, settings: Settings, hub: Hub) -> dict[str, Any]:
    gpu = None
    if profile.gpu is not None:
        pool = settings.node_pools[profile.gpu.pool]
        resource, count = gpu_request(profile.gpu, pool)
        gpu = {
            "pool": profile.gpu.pool,
            "resource": resource,
            "count": count,
            "affinity": match_expressions(profile.gpu, pool),
        }
    return {
        "displayName": profile.display_name,
        "description": profile.description,
        "roles": list(profile.roles),
        "default": profile.default,
        "image": mirrored(profile.image, mirror_of(settings)),
        "env": profile.env,
        "startup": profile.startup,
        "cpu": profile.cpu,
        "memory": f"{profile.memory}Gi",
        "scratch": profile.scratch,
        "idle": seconds(profile.idle),
        "lifetime": seconds(profile.lifetime),
        "gpu": gpu,
    }


def _pool(name: str, pool: NodePool) -> dict[str, Any]:
    """A pool's limits, and what a pod can have on the largest machine within them (of each, on whichever has most)."""
    types = pool.types_within_limits
    largest: dict[str, Any] = {
        "cpu": max(map(vcpu_for_pods, types)),
        "memory": f"{int(max(map(memory_for_pods, types)))}Gi",
    }
    if pool.is_gpu:
        gpus = max(one.gpu_count for one in types)
        largest |= {resource: count * gpus for resource, count in shares(pool).items()}
    return {
        "gpu": pool.is_gpu,
        "tolerations": tolerations({name: pool}, at_start=False),
        "limits": {
            resource: amount if amount.endswith("Gi") else int(amount) for resource, amount in limits(pool).items()
        },
        "largest": largest,
    }


def _homes(settings: Settings) -> dict[str, Any]:
    storage = settings.storage
    if storage.homes == "shared":
        return {"kind": "shared", "size": None, "storageClass": None, "note": None}
    claim = volumes.home_claim("", _PERSON, storage)
    return {
        "kind": "per-person",
        "size": storage.home_size,
        "storageClass": claim["spec"]["storageClassName"],
        "note": volumes.home_note(storage),
    }


def _hub(settings: Settings, hub: Hub) -> dict[str, Any]:
    addresses = Addresses.of(settings.ingress.domain)
    identity, registry = settings.identity, hub.registry
    providers = [name for name, one in identity.providers.items() if one.kind == "github"] if identity else []
    return {
        "namespace": HUB_NAMESPACE,
        "domain": settings.ingress.domain,
        "platformUrl": addresses.platform,
        "realmUrl": f"{addresses.sign_in}/realms/{REALM}",
        "realmUrlInside": internal_url(),
        "warnMinutes": hub.culling.warn,
        "cullEverySeconds": seconds(hub.culling.every),
        "startTimeoutSeconds": seconds(hub.start_timeout),
        "refreshGroupsSeconds": seconds(hub.refresh_groups),
        "namedServers": hub.named_servers,
        "administratorRole": ROLES[0],
        "registry": None
        if registry is None
        else {"mirror": registry.mirror, "pullSecret": PULL_SECRET if registry.pull_secret else None},
        "github": None
        if hub.github is None
        else {
            "providers": providers,
            "organizations": list(hub.github.organizations),
            "teams": list(hub.github.teams),
        },
    }
