"""The hub's view of teams and profiles in the stack file: one JSON document, read when the hub starts.

These classes are its only definition. The Pulumi program fills them (`components/hub/catalogue_from_settings.py`) and
writes them with `document`; the hub reads them with `read`. A field's key is its name in camelCase; a `name` is the key
of its entry. It contains no secret.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

_NAME = "name"


class CatalogueError(ValueError):
    """The document is not as this hub expects it; the message names the key."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """The GPUs of a profile: how many of which resource, in which pool, and the labels that a node must have."""

    pool: str
    resource: str
    count: int
    affinity: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One kind of notebook. `cpu` in vCPU, `memory` as Kubernetes writes it, `scratch` in GiB, the rest in seconds.

    `line` is a path that all builds of an image share; a new mirror does not change it.
    `shared_memory` is what /dev/shm has, as Kubernetes writes it; None where it is the node's (MPS).
    """

    name: str
    display_name: str
    description: str
    roles: tuple[str, ...]
    default: bool
    image: str
    line: str
    env: Mapping[str, str]
    startup: str | None
    startup_timeout: int
    capacity_type: str | None
    cpu: float
    memory: str
    shared_memory: str | None
    scratch: int
    idle: int
    lifetime: int
    gpu: Gpu | None


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A node pool: how it buys machines, its limits, and what a pod can have on its largest machine.

    Amounts are as Kubernetes writes them.
    """

    name: str
    gpu: bool
    capacity_types: tuple[str, ...]
    tolerations: tuple[Mapping[str, Any], ...]
    limits: Mapping[str, str]
    largest: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Team:
    """A team: where its notebooks run, which profiles it may start, its mounts by role, and its S3 prefixes."""

    name: str
    namespace: str
    description: str
    profiles: tuple[str, ...]
    node_pools: tuple[str, ...]
    mounts: Mapping[str, tuple[Mapping[str, Any], ...]]
    volumes: tuple[Mapping[str, Any], ...]
    buckets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Homes:
    """Where people's files are: on the shared file system, or each on a disk of `size` GiB. The form shows `note`.

    `warn` and `limit` are sizes of a home on the file system, in GiB.
    """

    per_person: bool
    size: int | None
    storage_class: str | None
    note: str | None
    warn: float | None
    limit: int | None


@dataclass(frozen=True, kw_only=True)
class GithubAccess:
    """Who may sign in of the realm's GitHub people: active members of any of these. `teams` as `ORG/TEAM`."""

    organizations: tuple[str, ...]
    teams: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HubSettings:
    """The hub's own settings. Browsers use `platform_url` and `realm_url`; only the hub uses `realm_url_inside`.

    `providers` are those of the realm, each with its kind. With `administrator_access`, administrators may
    enter people's notebooks.
    """

    platform_url: str
    realm_url: str
    realm_url_inside: str
    warn_minutes: int
    start_timeout_seconds: int
    refresh_groups_seconds: int
    cull_every_seconds: int
    named_servers: int
    administrator_access: bool
    pull_secret: str | None
    providers: Mapping[str, str]
    github: GithubAccess | None


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The whole document, by name."""

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
        raise CatalogueError(f"{path} is not JSON: {error}") from None


def parse(document: Mapping[str, Any]) -> Catalogue:
    """Checks that everything that the hub needs is there, and that all names exist. Raises CatalogueError."""
    found: Catalogue = _read(Catalogue, document, "")
    for team in found.teams.values():
        _known(f"teams.{team.name}.profiles", team.profiles, found.profiles)
        _known(f"teams.{team.name}.nodePools", team.node_pools, found.pools)
    for profile in found.profiles.values():
        if profile.gpu is not None:
            _known(f"profiles.{profile.name}.gpu.pool", (profile.gpu.pool,), found.pools)
    return found


def document(value: Any) -> Any:
    """The catalogue, or a part of it, as JSON values."""
    if dataclasses.is_dataclass(value):
        keys = {field.name: _key(field.name) for field in dataclasses.fields(value)}
        return {key: document(getattr(value, name)) for name, key in keys.items() if name != _NAME}
    if isinstance(value, Mapping):
        return {key: document(content) for key, content in value.items()}
    return [document(content) for content in value] if isinstance(value, tuple | list) else value


def _read(kind: Any, value: Any, place: str) -> Any:
    """The value of a type from its JSON. `place` is its key in the document."""
    if dataclasses.is_dataclass(kind):
        return _read_fields(kind, value, place)
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _read(parts[0], value, place)
    if origin is tuple:
        return tuple(_read(parts[0], content, place) for content in value)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise _missing(place)
        return {key: _read(parts[1], content, f"{place}.{key}") for key, content in value.items()}
    return value


def _read_fields(kind: Any, value: Any, place: str) -> Any:
    if not isinstance(value, Mapping):
        raise _missing(place)
    found: dict[str, Any] = {}
    for name, type_ in _types(kind).items():
        key = _key(name)
        if name == _NAME:
            found[name] = place.rpartition(".")[2]
        elif key in value:
            found[name] = _read(type_, value[key], f"{place}.{key}".lstrip("."))
        else:
            raise _missing(f"{place}.{key}".lstrip("."))
    return kind(**found)


@cache
def _types(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _key(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _missing(place: str) -> CatalogueError:
    return CatalogueError(f"the catalogue has no {place}: the hub's modules and the program have different versions")


def _known(key: str, names: tuple[str, ...], known: Mapping[str, object]) -> None:
    if unknown := [name for name in names if name not in known]:
        raise CatalogueError(f"the catalogue's {key} names {', '.join(unknown)}, which it does not describe")
