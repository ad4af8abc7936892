"""Resources as policies get them from the engine, and the whole stack."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Protocol, TypeAlias, TypeVar

import yaml
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError

# libyaml's loader is ten times as fast; PyYAML may be built without it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

T = TypeVar("T")


class Resource(Protocol):
    """The interface of pulumi-policy's resources, in a resource policy and in a stack policy.

    `props` has camelCase keys; reading a value that a preview can't know raises UnknownValueError.
    """

    @property
    def resource_type(self) -> str: ...  # noqa: D102
    @property
    def props(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def urn(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def opts(self) -> Any: ...  # noqa: D102
    @property
    def provider(self) -> Any: ...  # noqa: D102


class SecretText(str):
    """A text that is a Pulumi secret: it is encrypted in the state and not in plain text in the program."""

    __slots__ = ()


@dataclass(frozen=True)
class NotYetKnown:
    """A property whose value the preview does not know."""

    place: str

    def __str__(self) -> str:
        return self.place


@dataclass(frozen=True)
class NotDecided:
    """Something that no policy can read, now or later. `why` names the resource and the part."""

    why: str

    def __str__(self) -> str:
        return self.why


Undecided: TypeAlias = NotYetKnown | NotDecided


class NotDecidedError(UnknownValueError):
    """Raised when a check reads something that no policy can read. It ends the check like an unknown value."""

    def __init__(self, why: str) -> None:
        super().__init__(UNKNOWN_STRING_VALUE, [])
        self.message = self.why = why


def undecided_by(error: UnknownValueError, resource: Resource | None = None) -> Undecided:
    """Why a check of `resource` ended early."""
    if isinstance(error, NotDecidedError):
        return NotDecided(error.why)
    place = ".".join(error.props)
    return NotYetKnown(f"{place} of {resource.name}" if resource else place)


class Stack:
    """All resources of a stack, by type."""

    def __init__(self, resources: Sequence[Any]) -> None:
        self.resources = resources
        self._facts: dict[Hashable, Any] = {}
        self._by_type: dict[str, list[Any]] = defaultdict(list)
        self._by_kind: dict[str, list[Any]] = defaultdict(list)
        for resource in resources:
            self._by_type[resource.resource_type].append(resource)
            if kind := kind_of(resource):
                self._by_kind[kind].append(resource)

    _last: Stack | None = None

    @classmethod
    def of(cls, resources: Sequence[Any]) -> Stack:
        """The stack of these resources. Policies that get the same list share one Stack."""
        if cls._last is None or cls._last.resources is not resources:
            cls._last = cls(resources)
        return cls._last

    def fact(self, key: Hashable, find: Callable[[], T]) -> T:
        """The value for a key. It is computed once, though one or more policies may need it several times."""
        if key not in self._facts:
            self._facts[key] = find()
        return self._facts[key]

    def of_type(self, *types: str) -> Iterator[Any]:
        """The resources of some types: `aws:ec2/vpc:Vpc`."""
        for type_ in types:
            yield from self._by_type[type_]

    def of_kind(self, *kinds: str) -> Iterator[Any]:
        """The Kubernetes objects of some kinds: `NodePool`."""
        for kind in kinds:
            yield from self._by_kind[kind]


def kind_of(resource: Resource) -> str | None:
    """The kind of a Kubernetes object; None for anything else. A patch has no kind: it is part of an object."""
    return _kind(resource.resource_type)


@cache
def _kind(type_: str) -> str | None:
    if not type_.startswith("kubernetes:"):
        return None
    kind = type_.rpartition(":")[2]
    return None if kind.endswith("Patch") else kind.removesuffix("List")


TypeTest: TypeAlias = Callable[[str], bool]
"""Whether a policy looks at resources of a type."""


def is_kind(*kinds: str) -> TypeTest:
    """Kubernetes objects of these kinds, as `concerns` of a policy."""
    return lambda type_: _kind(type_) in kinds


def is_type(*types: str) -> TypeTest:
    """Resources of these types, as `concerns` of a policy."""
    return lambda type_: type_ in types


def either(*tests: TypeTest) -> TypeTest:
    """Resources that one of the tests picks, as `concerns` of a policy."""
    return lambda type_: any(test(type_) for test in tests)


@lru_cache(maxsize=4096)
def parsed(text: str) -> Any:
    """The document in a text of JSON or YAML; None if it is neither. Callers must not change it."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 - either loader is a safe one
    except yaml.YAMLError:
        return None


def secret_texts(secret: Resource) -> Iterator[tuple[str, Any]]:
    """The decoded values of a Secret's keys, each with its place; NotYetKnown for unknown ones.

    The kubernetes provider keeps `stringData` as `data`, which is base64.
    """
    for field in ("stringData", "data"):
        for place, value in leaves(at(secret.props, field, {}), field):
            yield place, _from_base64(value) if field == "data" and isinstance(value, str) else value


def _from_base64(text: str) -> str:
    try:
        plain = base64.b64decode(text, validate=True).decode()
    except ValueError:
        return text
    return SecretText(plain) if isinstance(text, SecretText) else plain


def made_from(resource: Any, key: str, source: Resource) -> bool:
    """Whether a property of a resource is made from another resource. A preview knows this too."""
    dependencies = resource.property_dependencies.get(key) or resource.dependencies
    return any(one.urn == source.urn for one in dependencies)


def at(value: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path through mappings, or `default`. Raises UnknownValueError."""
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return default if value is None else value


def items(value: Any) -> list[Any]:
    """The items of a list; an empty list if the value is not a list."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else []


def entries(value: Any) -> list[tuple[str, Any]]:
    """The items of a list or a mapping, each with its index or key; an empty list for other values."""
    keyed = value.items() if isinstance(value, Mapping) else enumerate(items(value))
    return [(str(key), item) for key, item in keyed]


def texts(value: Any) -> list[str]:
    """The texts in a list, or a list of one text if the value is a text."""
    return [value] if isinstance(value, str) else [one for one in items(value) if isinstance(one, str)]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is neither a mapping nor a list, with its dotted path; NotYetKnown for unknown values."""
    keyed: Iterable[Any]
    if isinstance(value, Mapping):
        keyed = value
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        keyed = range(len(value))
    else:
        yield path, value
        return
    for key in keyed:
        here = f"{path}.{key}" if path else str(key)
        try:
            inner = value[key]
        except UnknownValueError:
            yield here, NotYetKnown(here)
        else:
            yield from leaves(inner, here)


def mappings(value: Any, path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every mapping in `value`, including itself, with its dotted path. Unknown values are left out."""
    if isinstance(value, Mapping):
        yield path, value
        keyed: Iterable[Any] = value
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        keyed = range(len(value))
    else:
        return
    for key in keyed:
        try:
            inner = value[key]
        except UnknownValueError:
            continue
        yield from mappings(inner, f"{path}.{key}" if path else str(key))


def number(value: Any) -> float | None:
    """A number that may be written as text; None if it is not a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def is_true(value: Any) -> bool:
    """Whether a flag is true. It may be a text, as in StorageClass parameters."""
    return value is True or (isinstance(value, str) and value.lower() == "true")
