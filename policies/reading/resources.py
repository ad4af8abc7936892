"""Resources as the engine hands them to policies, and the whole of a stack."""

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

# libyaml's, where PyYAML has it, is ten times as fast.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

T = TypeVar("T")


class Resource(Protocol):
    """What pulumi-policy tells of a resource, be it examined alone or as a part of its stack.

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
    """A text that is a Pulumi secret: it is encrypted in the state, and nobody wrote it down in the program."""

    __slots__ = ()


@dataclass(frozen=True)
class NotYetKnown:
    """A place whose value the preview does not know."""

    place: str

    def __str__(self) -> str:
        return self.place


@dataclass(frozen=True)
class NotDecided:
    """What no policy can read, now or later. `why` is a sentence: it names the resource and the part."""

    why: str

    def __str__(self) -> str:
        return self.why


Undecided: TypeAlias = NotYetKnown | NotDecided


class NotDecidedError(UnknownValueError):
    """Raised by reading what no policy can read. It ends a check as an unknown value does."""

    def __init__(self, why: str) -> None:
        super().__init__(UNKNOWN_STRING_VALUE, [])
        self.message = self.why = why


def undecided_by(error: UnknownValueError, resource: Resource | None = None) -> Undecided:
    """What a check of `resource` ran into."""
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
        """The stack that consists of `resources`; all policies that are asked about one list share it."""
        if cls._last is None or cls._last.resources is not resources:
            cls._last = cls(resources)
        return cls._last

    def fact(self, key: Hashable, find: Callable[[], T]) -> T:
        """What is asked several times, by one policy or by several: found once."""
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
    """The kind of a Kubernetes object; None for anything else. A patch of an object is of no kind: it is a part."""
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
    """The document that a text holds, as JSON or YAML; None for what is neither. Callers must not change it."""
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 - either loader is a safe one
    except yaml.YAMLError:
        return None


def secret_texts(secret: Resource) -> Iterator[tuple[str, Any]]:
    """The values of a Secret's keys, each with its place, in plain; NotYetKnown for what is not known.

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
    """Whether a property of a resource of a stack is made from another resource, which a preview knows too."""
    dependencies = resource.property_dependencies.get(key) or resource.dependencies
    return any(one.urn == source.urn for one in dependencies)


def at(value: Any, path: str, default: Any = None) -> Any:
    """The value at a dotted path through mappings, `default` where there is none. Raises UnknownValueError."""
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return default
        value = value[key]
    return default if value is None else value


def items(value: Any) -> list[Any]:
    """A list's items; none for what is no list."""
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else []


def entries(value: Any) -> list[tuple[str, Any]]:
    """The items of a list or a mapping, each with its index or key; none for what is neither."""
    keyed = value.items() if isinstance(value, Mapping) else enumerate(items(value))
    return [(str(key), item) for key, item in keyed]


def texts(value: Any) -> list[str]:
    """A list's texts, or the one text that stands in its place."""
    return [value] if isinstance(value, str) else [one for one in items(value) if isinstance(one, str)]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is neither mapping nor list, with its dotted path; NotYetKnown for those that are not known."""
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
    """Every mapping inside `value`, itself too, with its dotted path. What is not known is left out."""
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
    """A number that may be written as text; None for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def is_true(value: Any) -> bool:
    """Whether a flag is set, be it written as text (StorageClass parameters are)."""
    return value is True or (isinstance(value, str) and value.lower() == "true")
