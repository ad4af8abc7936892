"""The hub's view of teams and profiles in the stack file: one JSON document, read when the hub starts.

These classes are its only definition. The Pulumi program fills them (`components/hub/catalogue_from_settings.py`) and
writes them with `document`; the hub reads them with `read`. A field's key is its name in camelCase; a `name` is the key
of its entry. A field that has its default is left out. It contains no secret.
"""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

HOME = "/home/jovyan"
"""The home of the notebook's user in the Jupyter images."""

_NAME = "name"

POOL_LABEL = "gpulab.dev/pool"


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
class Discovery:
    """A profile's GPUs are those that nodes have when somebody starts it; `by_node`: the form lists nodes too."""

    by_node: bool


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One kind of notebook. `cpu` in vCPU, `memory` as Kubernetes writes it, `scratch` in GiB, the rest in seconds.

    `line` is a path that all builds of an image share; a new mirror does not change it.
    `shared_memory` is what /dev/shm has, as Kubernetes writes it; None where it is the node's (MPS).
    With `discovery`, `gpu` is None until a GPU is found for somebody's notebook.
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
    discovery: Discovery | None = None

    @property
    def has_gpus(self) -> bool:
        """Whether its notebooks have GPUs."""
        return self.gpu is not None or self.discovery is not None


@dataclass(frozen=True, kw_only=True)
class PoolGpus:
    """What the stack file says of a pool's GPUs, for nodes whose labels do not say it. `memory` in GiB, of one GPU.

    `sharing` is none, time-slicing, mps or mig; `replicas` is how many pods share one GPU.
    """

    product: str | None
    memory: int | None
    sharing: str
    replicas: int


@dataclass(frozen=True, kw_only=True)
class Pool:
    """A node pool: how it buys machines, its limits, and what a pod can have on its largest machine.

    Nobody buys machines for a pool without `capacity_types`. Amounts are as Kubernetes writes them. `node_selector` are
    the labels of its nodes where these are not the platform's. A pod that uses its GPUs needs `runtime_class` where
    there is one. `gpus` is there for profiles that discover GPUs. `for_all`: notebooks without GPUs run beside its GPUs
    too.
    """

    name: str
    gpu: bool
    capacity_types: tuple[str, ...]
    tolerations: tuple[Mapping[str, Any], ...]
    limits: Mapping[str, str]
    largest: Mapping[str, str]
    node_selector: Mapping[str, str] = field(default_factory=dict)
    runtime_class: str | None = None
    for_all: bool = False
    gpus: PoolGpus | None = None

    @property
    def takes_cpu_notebooks(self) -> bool:
        """Whether notebooks without GPUs run there."""
        return not self.gpu or self.for_all

    @property
    def selector_labels(self) -> Mapping[str, str]:
        """The labels that each of its nodes has, and by which pods get there."""
        return self.node_selector or {POOL_LABEL: self.name}


@dataclass(frozen=True, kw_only=True)
class Team:
    """A team: where its notebooks run, which profiles it may start, its mounts by role, and its S3 prefixes.

    `optional` are the names of volumes that a notebook does without while their claim is not there.
    """

    name: str
    namespace: str
    description: str
    profiles: tuple[str, ...]
    node_pools: tuple[str, ...]
    mounts: Mapping[str, tuple[Mapping[str, Any], ...]]
    volumes: tuple[Mapping[str, Any], ...]
    buckets: tuple[str, ...]
    optional: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Homes:
    """Where people's files are: on the shared file system, or each on a disk of `size` GiB. The form shows `note`.

    `warn` and `limit` are sizes of a home on the file system, in GiB. `path` is where notebooks mount the home: what is
    elsewhere goes with the notebook.
    """

    per_person: bool
    size: int | None
    storage_class: str | None
    note: str | None
    warn: float | None
    limit: int | None
    path: str = HOME


@dataclass(frozen=True, kw_only=True)
class GithubAccess:
    """Who may sign in of the realm's GitHub people: active members of any of these. `teams` as `ORG/TEAM`."""

    organizations: tuple[str, ...]
    teams: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class SignIn:
    """How people sign in without Keycloak: `kind` is github, with a `client_id`, or token.

    `members` are the hub's groups, each with who is in it: names, and teams of GitHub as `ORG/TEAM`, in lower case.
    Whoever may sign in is in the groups `everybody`.
    """

    kind: str
    client_id: str | None
    members: Mapping[str, tuple[str, ...]]
    everybody: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class HubSettings:
    """The hub's own settings. Browsers use `platform_url` and `realm_url`; only the hub uses `realm_url_inside`.

    `providers` are those of the realm, each with its kind. With `administrator_access`, administrators may
    enter people's notebooks. Either there is a realm, or `sign_in`. `scratch` is where notebooks have their scratch.
    """

    platform_url: str
    realm_url: str | None
    realm_url_inside: str | None
    warn_minutes: int
    start_timeout_seconds: int
    refresh_groups_seconds: int
    cull_every_seconds: int
    named_servers: int
    administrator_access: bool
    pull_secret: str | None
    providers: Mapping[str, str]
    github: GithubAccess | None
    sign_in: SignIn | None = None
    scratch: str = f"{HOME}/scratch"


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The whole document, by name."""

    teams: Mapping[str, Team]
    profiles: Mapping[str, Profile]
    pools: Mapping[str, Pool]
    homes: Homes
    hub: HubSettings

    @property
    def buys_machines(self) -> bool:
        """Whether Karpenter buys machines for its pools; if not, their machines are there, and nobody adds one."""
        return any(pool.capacity_types for pool in self.pools.values())


def node_terms(selectors: Iterable[Mapping[str, str]]) -> list[list[dict[str, Any]]]:
    """The alternatives of a node affinity that lead to the nodes of any of the pools with these labels.

    Pools whose nodes have the platform's label are one alternative. Without pools there is no such node.
    """
    found = list(selectors)
    names = [labels[POOL_LABEL] for labels in found if labels.keys() == {POOL_LABEL}]
    platforms = [{"key": POOL_LABEL, "operator": "In", "values": names}]
    others = [
        [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]
        for labels in found
        if labels.keys() != {POOL_LABEL}
    ]
    return [platforms, *others] if names or not others else others


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
        written = (one for one in dataclasses.fields(value) if one.name != _NAME and not _has_default(value, one))
        return {_key(one.name): document(getattr(value, one.name)) for one in written}
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
    optional = {one.name for one in dataclasses.fields(kind) if _is_optional(one)}
    for name, type_ in _types(kind).items():
        key = _key(name)
        if name == _NAME:
            found[name] = place.rpartition(".")[2]
        elif key in value:
            found[name] = _read(type_, value[key], f"{place}.{key}".lstrip("."))
        elif name not in optional:
            raise _missing(f"{place}.{key}".lstrip("."))
    return kind(**found)


def _is_optional(field_: dataclasses.Field[Any]) -> bool:
    return field_.default is not MISSING or field_.default_factory is not MISSING


def _has_default(value: Any, field_: dataclasses.Field[Any]) -> bool:
    """Whether a field that may be left out has the value that it has then."""
    default = field_.default if field_.default_factory is MISSING else field_.default_factory()
    return _is_optional(field_) and getattr(value, field_.name) == default


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
