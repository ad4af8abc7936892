"""What the stack file says of teams and profiles, as the hub has it: one JSON document, read when the hub starts.

The Pulumi program writes it (`components/notebook_catalogue.py`). No secret is in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

Made = TypeVar("Made")


class CatalogueError(ValueError):
    """The document is not as this hub expects it; the message names the key."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The GPUs of a profile: so many of a resource, on a node of a pool, and what the node's labels have to say."""

    pool: str
    resource: str
    count: int
    affinity: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One kind of notebook. `cpu` in vCPU, `memory` as Kubernetes writes it, `scratch` in GiB, the rest in seconds."""

    name: str
    display_name: str
    description: str
    roles: frozenset[str]
    default: bool
    image: str
    env: Mapping[str, str]
    startup: str | None
    cpu: float
    memory: str
    scratch: int
    idle: int
    lifetime: int
    gpu: Gpu | None


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A node pool: its limits, and what pods can have of its largest machine. Amounts as Kubernetes writes them."""

    name: str
    gpu: bool
    tolerations: tuple[Mapping[str, Any], ...]
    limits: Mapping[str, str]
    largest: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Team:
    """A team: where its notebooks run, which it may start, and what they mount by role."""

    name: str
    namespace: str
    description: str
    profiles: tuple[str, ...]
    node_pools: tuple[str, ...]
    mounts: Mapping[str, tuple[Mapping[str, Any], ...]]
    volumes: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Homes:
    """Where people's files are: on the shared file system, or each on a disk of `size` GiB. `note` is for the form."""

    per_person: bool
    size: int | None
    storage_class: str | None
    note: str | None


@dataclass(frozen=True, kw_only=True)
class GithubAccess:
    """Which people of the realm's GitHub providers get in: active members of any of these. `teams` as `ORG/TEAM`."""

    providers: tuple[str, ...]
    organizations: tuple[str, ...]
    teams: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HubSettings:
    """The hub's own. `platform_url` and `realm_url` are what browsers have, `realm_url_inside` is for the hub alone."""

    platform_url: str
    realm_url: str
    realm_url_inside: str
    warn_minutes: int
    start_timeout: int
    refresh_groups: int
    cull_every: int
    named_servers: int
    pull_secret: str | None
    github: GithubAccess | None


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All of it, by name."""

    teams: Mapping[str, Team]
    profiles: Mapping[str, Profile]
    pools: Mapping[str, Pool]
    homes: Homes
    hub: HubSettings


def read(path: str | Path) -> Catalogue:
    """Reads the document. Raises OSError and CatalogueError."""
    try:
        return parse(json.loads(Path(path).read_text(encoding="utf-8")))
    except json.JSONDecodeError as error:
        raise CatalogueError(f"{path} is no JSON: {error}") from None


def parse(document: Mapping[str, Any]) -> Catalogue:
    """Checks that everything is there that the hub needs, and that names lead somewhere. Raises CatalogueError."""
    found = Catalogue(
        teams=_each(document, "teams", _team),
        profiles=_each(document, "profiles", _profile),
        pools=_each(document, "pools", _pool),
        homes=_made(document, "homes", _homes),
        hub=_made(document, "hub", _hub),
    )
    for team in found.teams.values():
        _known(f"teams.{team.name}.profiles", team.profiles, found.profiles)
        _known(f"teams.{team.name}.nodePools", team.node_pools, found.pools)
    for profile in found.profiles.values():
        if profile.gpu is not None:
            _known(f"profiles.{profile.name}.gpu.pool", (profile.gpu.pool,), found.pools)
    return found


def _team(name: str, content: Mapping[str, Any]) -> Team:
    return Team(
        name=name,
        namespace=content["namespace"],
        description=content["description"],
        profiles=tuple(content["profiles"]),
        node_pools=tuple(content["nodePools"]),
        mounts={role: tuple(one["mounts"]) for role, one in content["roles"].items()},
        volumes=tuple(content["volumes"]),
    )


def _profile(name: str, content: Mapping[str, Any]) -> Profile:
    gpu = content["gpu"]
    return Profile(
        name=name,
        display_name=content["displayName"],
        description=content["description"],
        roles=frozenset(content["roles"]),
        default=content["default"],
        image=content["image"],
        env=content["env"],
        startup=content["startup"],
        cpu=content["cpu"],
        memory=content["memory"],
        scratch=content["scratch"],
        idle=content["idle"],
        lifetime=content["lifetime"],
        gpu=None
        if gpu is None
        else Gpu(pool=gpu["pool"], resource=gpu["resource"], count=gpu["count"], affinity=tuple(gpu["affinity"])),
    )


def _pool(name: str, content: Mapping[str, Any]) -> Pool:
    return Pool(
        name=name,
        gpu=content["gpu"],
        tolerations=tuple(content["tolerations"]),
        limits={key: str(amount) for key, amount in content["limits"].items()},
        largest={key: str(amount) for key, amount in content["largest"].items()},
    )


def _homes(_: str, content: Mapping[str, Any]) -> Homes:
    return Homes(
        per_person=content["kind"] == "per-person",
        size=content["size"],
        storage_class=content["storageClass"],
        note=content["note"],
    )


def _hub(_: str, content: Mapping[str, Any]) -> HubSettings:
    github = content["github"]
    return HubSettings(
        platform_url=content["platformUrl"],
        realm_url=content["realmUrl"],
        realm_url_inside=content["realmUrlInside"],
        warn_minutes=content["warnMinutes"],
        start_timeout=content["startTimeoutSeconds"],
        refresh_groups=content["refreshGroupsSeconds"],
        cull_every=content["cullEverySeconds"],
        named_servers=content["namedServers"],
        pull_secret=content["registry"]["pullSecret"] if content["registry"] else None,
        github=None
        if github is None
        else GithubAccess(
            providers=tuple(github["providers"]),
            organizations=tuple(github["organizations"]),
            teams=tuple(github["teams"]),
        ),
    )


def _made(document: Mapping[str, Any], key: str, make: Callable[[str, Mapping[str, Any]], Made]) -> Made:
    """What is made of a section. Raises CatalogueError that names the missing key."""
    content = document.get(key.rpartition(".")[2])
    if not isinstance(content, Mapping):
        raise CatalogueError(f"the catalogue has no {key}: the hub's modules and the program are of different versions")
    try:
        return make(key.rpartition(".")[2], content)
    except KeyError as error:
        raise CatalogueError(
            f"the catalogue's {key} has no {error.args[0]}: the hub's modules and the program are of different versions"
        ) from None


def _each(document: Mapping[str, Any], key: str, make: Callable[[str, Mapping[str, Any]], Made]) -> Mapping[str, Made]:
    section = _made(document, key, lambda _, content: content)
    return {name: _made(section, f"{key}.{name}", make) for name in section}


def _known(key: str, names: tuple[str, ...], known: Mapping[str, object]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise CatalogueError(f"the catalogue's {key} names {', '.join(unknown)}, which it does not describe")
