"""What the hub needs to know from the stack file: teams, profiles and pools, as one JSON document without secrets.

`components/hub/inside/catalogue.py` defines the document; the hub reads it when it starts. KubeSpawner replaces
`{username}` in it by the person's slug.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

from components.hub.inside import catalogue as inside
from components.hub.inside.people import ADMINISTRATORS, group_of
from components.identity.keycloak import internal_url
from components.identity.realm.realm import REALM
from components.images import mirror_of, mirrored
from components.nodes.gpu_affinity import match_expressions
from components.nodes.gpu_sharing import tolerations
from components.platform_urls import PlatformUrls
from components.storage import volumes
from components.teams.buckets import prefixes
from components.teams.names import PULL_SECRET
from settings.images import image_line
from settings.language.values import seconds
from settings.notebooks.discovered import discovers, is_discovered
from settings.notebooks.findings import cpu_pools
from settings.notebooks.profiles import gpu_pool, gpu_request, shared_memory_mib
from settings.people.names import ROLES, namespace_of
from settings.people.sign_in import EVERYBODYS_ROLE, named_members
from settings.pools.labels import POOL_LABEL

if TYPE_CHECKING:
    from settings import Hub, Profile, Settings
    from settings.people.teams import Team
    from settings.pools.pool import Pool

# The policy pack finds the catalogue by it, and knows that a hub starts what it lists (`policies.reading.profiles`).
CATALOGUE_LABEL = {"gpulab.dev/catalogue": "true"}

# KubeSpawner's template for the person's part of names.
_PERSON = "{username}"

CONFIG_MAP_LIMIT = 1024 * 1024
"""Bytes that a ConfigMap may have (Kubernetes, "ConfigMaps")."""


def hub_of(settings: Settings) -> Hub:
    """The settings of a stack's hub. Raises ValueError for a stack without one."""
    if settings.running_hub is None:
        raise ValueError(
            f"stack {settings.stack} has no hub: it needs teams, an identity section or hub.signIn, and hub.enabled"
        )
    return settings.running_hub


def catalogue(settings: Settings) -> dict[str, Any]:
    """The document for a stack with a hub. Amounts of memory are Kubernetes quantities, times are seconds."""
    hub = hub_of(settings)
    found = inside.Catalogue(
        teams={name: _team(name, team, settings) for name, team in settings.teams.items()},
        profiles={name: _profile(name, profile, settings) for name, profile in settings.profiles.items()},
        pools={name: _pool(name, pool, settings) for name, pool in settings.node_pools.items()},
        homes=_homes(settings),
        hub=_hub(settings, hub),
    )
    return inside.document(found)


def catalogue_text(document: dict[str, Any]) -> str:
    """The document as the ConfigMap has it, the same for the same settings. Raises ValueError for a longer one."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    if len(text.encode()) > CONFIG_MAP_LIMIT:
        raise ValueError(
            f"teams and profiles take {len(text.encode())} bytes, and a ConfigMap has room for {CONFIG_MAP_LIMIT}: "
            "shorten the profiles' descriptions and startup scripts"
        )
    return text


def checksum(*texts: str) -> str:
    """Changes with the texts: as an annotation it restarts pods."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _team(name: str, team: Team, settings: Settings) -> inside.Team:
    return inside.Team(
        name=name,
        namespace=namespace_of(name),
        description=team.description,
        profiles=tuple(team.profiles),
        node_pools=tuple(team.pools(settings.node_pools)),
        mounts={role: tuple(volumes.pod_mounts(name, role, _PERSON, settings.storage)) for role in ROLES},
        volumes=tuple(volumes.pod_volumes(name, _PERSON, settings.storage)),
        buckets=tuple(prefixes(team.buckets)) if team.buckets else (),
        optional=tuple(volume.name for volume in volumes.team_volumes(name, settings.storage) if volume.optional),
    )


def _profile(name: str, profile: Profile, settings: Settings) -> inside.Profile:
    """A profile. Fields that are not set here come from the settings, by the same name."""
    gpu, pool = None, gpu_pool(profile, settings.node_pools)
    if profile.gpu is not None and profile.gpu.pool is not None and pool is not None:
        resource, count = gpu_request(profile.gpu, pool)
        affinity = tuple(match_expressions(profile.gpu, pool))
        gpu = inside.Gpu(pool=profile.gpu.pool, resource=resource, count=count, affinity=affinity)
    shared_memory = shared_memory_mib(profile, pool)
    made: dict[str, Any] = {
        "name": name,
        "image": mirrored(profile.image, mirror_of(settings)),
        # By the publisher's name, so that what people have installed outlasts a new mirror.
        "line": image_line(profile.image),
        "startup_timeout": seconds(profile.startup_timeout),
        "memory": f"{profile.memory}Gi",
        "shared_memory": None if shared_memory is None else f"{shared_memory}Mi",
        "idle": seconds(profile.idle),
        "lifetime": seconds(profile.lifetime),
        "gpu": gpu,
        "discovery": inside.Discovery(by_node=profile.gpu.by_node) if profile.gpu and is_discovered(profile) else None,
    }
    others = {field.name for field in dataclasses.fields(inside.Profile)} - made.keys()
    return inside.Profile(**made, **{field: getattr(profile, field) for field in others})


def _pool(name: str, pool: Pool, settings: Settings) -> inside.Pool:
    """A pool. Pods get to its nodes by the platform's label, unless these have only labels of others."""
    selector = pool.node_selector(name)
    return inside.Pool(
        name=name,
        gpu=pool.is_gpu,
        capacity_types=tuple(pool.capacity_types),
        tolerations=tuple(tolerations({name: pool}, at_start=False)),
        limits=pool.together,
        largest=pool.largest,
        node_selector={} if selector == {POOL_LABEL: name} else selector,
        runtime_class=settings.runtime_class if pool.is_gpu else None,
        gpus=_pool_gpus(pool) if pool.is_gpu and discovers(settings.profiles) else None,
        for_all=pool.is_gpu and name in cpu_pools(settings.node_pools),
    )


def _pool_gpus(pool: Pool) -> inside.PoolGpus:
    """What the stack file says of a GPU pool's GPUs, for profiles that discover them."""
    declared = pool.declared_gpu
    return inside.PoolGpus(
        product=declared.product,
        memory=declared.memory,
        sharing=pool.gpu.sharing,
        replicas=pool.gpu.replicas or 1,
    )


def _homes(settings: Settings) -> inside.Homes:
    storage = settings.storage
    if storage.homes == "shared":
        use = storage.home_use
        return inside.Homes(
            per_person=False,
            size=None,
            storage_class=None,
            note=None,
            warn=use.warns_at,
            limit=use.limit,
            path=storage.home_path,
        )
    return inside.Homes(
        per_person=True,
        size=storage.home_size,
        storage_class=storage.home_disk_class,
        note=volumes.home_note(storage),
        warn=None,
        limit=None,
        path=storage.home_path,
    )


def _hub(settings: Settings, hub: Hub) -> inside.HubSettings:
    urls = PlatformUrls.of(settings.ingress.domain)
    identity, github = settings.identity, hub.github
    return inside.HubSettings(
        platform_url=urls.platform,
        realm_url=f"{urls.sign_in}/realms/{REALM}" if identity else None,
        realm_url_inside=internal_url() if identity else None,
        warn_minutes=hub.culling.warn,
        cull_every_seconds=seconds(hub.culling.every),
        start_timeout_seconds=seconds(hub.start_timeout),
        refresh_groups_seconds=seconds(hub.refresh_groups),
        named_servers=hub.named_servers,
        administrator_access=settings.administrators_enter_notebooks,
        pull_secret=PULL_SECRET if hub.registry and hub.registry.pull_secret else None,
        providers={name: one.kind for name, one in sorted(identity.providers.items())} if identity else {},
        scratch=settings.storage.scratch_path,
        github=github and inside.GithubAccess(organizations=tuple(github.organizations), teams=tuple(github.teams)),
        sign_in=None if hub.sign_in == "keycloak" else sign_in(settings),
    )


def sign_in(settings: Settings) -> inside.SignIn:
    """Who is in which group of a hub without Keycloak. Letter case does not matter at GitHub."""
    hub = hub_of(settings)
    members = named_members(hub.members, settings.teams, hub.sign_in, hub.administrators)
    groups = {group_of(team, role): names for team, by_role in members.items() for role, names in by_role.items()}
    if hub.administrators:
        groups[ADMINISTRATORS] = hub.administrators
    return inside.SignIn(
        kind=hub.sign_in,
        client_id=hub.github.client_id if hub.github else None,
        members={group: tuple(name.lower() for name in names) for group, names in groups.items()},
        everybody=() if members else tuple(group_of(team, EVERYBODYS_ROLE) for team in settings.teams),
    )
