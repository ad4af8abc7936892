"""The classes for a provider: property values, resource types, requests and refusals."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, TypeAlias

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

Properties: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str | int, ...]

_AUTONAME_DIGITS = 7


class Unknown:
    """The type of `UNKNOWN`: a value that a preview does not know yet."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, _memo: object) -> Unknown:
        return self

    def __bool__(self) -> bool:
        raise TypeError("an unknown value is used as a condition: test `is UNKNOWN` first")


UNKNOWN = Unknown()


def contains_unknown(value: Any) -> bool:
    """Whether `value` is `UNKNOWN` or contains it."""
    if isinstance(value, dict):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return value is UNKNOWN


class Refused(Exception):
    """The provider refuses an input or an operation, for `reason`.

    In `check` or `invoke` it becomes a check failure of `property` (a property path such as `egress[0].cidrBlocks`, or
    empty for the whole resource). In an operation it becomes the error of the operation. `others` has more failures of
    the same check.
    """

    def __init__(self, reason: str, property: str = "", others: list[Refused] | None = None) -> None:
        super().__init__(f"{property}: {reason}" if property else reason)
        self.reason = reason
        self.property = property
        self.failures = [self, *(others or [])]

    @staticmethod
    def all(failures: list[Refused]) -> None:
        """Raises one `Refused` with all `failures`, if there are any."""
        if failures:
            first, *others = failures
            raise Refused(first.reason, first.property, others)


class InitFailed(Exception):
    """The object exists but did not become ready. The state keeps its id, and the next `up` updates it.

    `inputs` are the live inputs if a read finds this.
    """

    def __init__(self, id: str, outputs: Properties, reasons: list[str], inputs: Properties | None = None) -> None:
        super().__init__("; ".join(reasons))
        self.id = id
        self.outputs = outputs
        self.reasons = reasons
        self.inputs = inputs


@dataclass(frozen=True)
class Difference:
    """How new inputs differ from old ones: `changes` as of `changed_paths`.

    A change at or below one of the paths `replacing` replaces the resource. With `delete_before_replace` the old one is
    deleted first.
    """

    changes: list[tuple[Path, str]]
    replacing: frozenset[Path] = frozenset()
    delete_before_replace: bool = False


@dataclass(frozen=True)
class Request:
    """The context of an operation. `timeout` is in seconds, 0 if the program sets none."""

    urn: str
    provider: Provider
    timeout: float = 0
    random_seed: bytes = b""
    ignore_changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The logical name of the resource."""
        return self.urn.rpartition("::")[2]

    def log(self, message: str) -> None:
        """Shows `message` as the temporary status of the resource in the display."""
        self.provider.log(self.urn, message)

    def wait(
        self,
        ready: Callable[[], bool],
        *,
        seconds: float,
        what: str,
        longest: float = math.inf,
        pause: float = 0.1,
        longest_pause: float = 1.0,
    ) -> None:
        """Waits until `ready` is true: at most `timeout` seconds, or `seconds` if the program sets none.

        It never waits longer than `longest`. Raises TimeoutError with `what` was awaited, or InterruptedError if the
        engine cancels.
        """
        bound = min(self.timeout or seconds, longest)
        deadline = time.monotonic() + bound
        while not ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {bound:.0f} s")
            if self.provider.cancelled.wait(pause):
                raise InterruptedError(f"cancelled while waiting: {what}")
            pause = min(pause * 1.5, longest_pause)


class ResourceType:
    """One resource type of a provider. One instance serves all resources of the type, from many threads.

    Class attributes (property names are the engine's, camelCase):
    `token`: the type, such as `aws:ec2/vpc:Vpc`.
    `force_new`: top-level inputs whose change replaces the resource.
    `computed`: outputs that are not inputs, and inputs that the cloud fills in. They are unknown in the preview of a
    create.
    `secret_outputs`: outputs that are always secret.
    `copies`: input -> the input from which `check` copies it. It is secret if that one is.
    `delete_before_replace`: whether a replacement must delete first, because both cannot exist together.
    """

    token: ClassVar[str]
    force_new: ClassVar[frozenset[str]] = frozenset()
    computed: ClassVar[frozenset[str]] = frozenset()
    secret_outputs: ClassVar[frozenset[str]] = frozenset()
    copies: ClassVar[Mapping[str, str]] = {}
    delete_before_replace: ClassVar[bool] = False

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """The inputs with defaults. `olds` are the previous inputs, empty for a create. Raises Refused."""
        return inputs

    def replaces(self, olds: Properties, news: Properties, changed: set[str]) -> set[str]:
        """The `changed` top-level inputs that replace the resource."""
        return changed & self.force_new

    def difference(self, old_inputs: Properties, inputs: Properties, olds: Properties) -> Difference:
        """The changes of an update from `old_inputs` to `inputs`. `olds` are the outputs."""
        changes = list(changed_paths(old_inputs, inputs))
        replacing = self.replaces(old_inputs, inputs, {str(path[0]) for path, _ in changes}) if changes else set()
        return Difference(changes, frozenset((name,) for name in replacing), self.delete_before_replace)

    def preview(self, inputs: Properties, olds: Properties | None, request: Request) -> Properties:
        """The outputs as far as a preview knows them: for a create, or for an update of the outputs `olds`."""
        if olds is None:
            return {**dict.fromkeys(self.computed, UNKNOWN), **inputs}
        return {**olds, **inputs}

    def create(self, inputs: Properties, request: Request) -> tuple[str, Properties]:
        """Makes the resource. Returns its id and outputs, which include the inputs."""
        raise NotImplementedError

    def read(
        self, id: str, inputs: Properties, olds: Properties, request: Request
    ) -> tuple[Properties, Properties] | None:
        """The live (inputs, outputs), or None if the resource is gone. `inputs` and `olds` are those in the state.

        Both are empty for an import.
        """
        raise NotImplementedError

    def update(
        self, id: str, inputs: Properties, olds: Properties, old_inputs: Properties, request: Request
    ) -> Properties:
        """Changes the resource in place and returns its outputs. `olds` are the previous outputs."""
        raise NotImplementedError

    def delete(self, id: str, olds: Properties, request: Request) -> None:
        """Deletes the resource, which can be gone already. `olds` are its outputs."""
        raise NotImplementedError


class Provider:
    """A provider: its name and configuration, and its resource types and functions."""

    name: ClassVar[str]
    version: ClassVar[str]

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._engine: engine_pb2_grpc.EngineStub | None = None

    def configure(self, config: Properties) -> None:
        """Takes the provider's configuration, decoded. Raises Refused."""

    def check_config(self, config: Properties) -> None:
        """Refuses a wrong configuration, in a preview too. Values can be UNKNOWN. Raises Refused."""

    def config_replaces(self, olds: Properties, news: Properties) -> set[str]:
        """The configuration keys whose change replaces the provider and all its resources."""
        return set()

    def resource_type(self, token: str) -> ResourceType:
        """The resource type of `token`. Raises Refused if the stand-in does not have it."""
        raise NotImplementedError

    def invoke(self, token: str, args: Properties) -> Properties:
        """The result of a function. Raises Refused."""
        raise Refused(f"the rehearsal's {self.name} provider does not support the function {token}")

    def connect(self, engine_address: str) -> None:
        """Connects to the engine, for `log`."""
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine_address))

    def log(self, urn: str, message: str) -> None:
        """Shows `message` as the temporary status of the resource `urn`."""
        if self._engine:
            severity = engine_pb2.LogSeverity.INFO
            self._engine.Log(engine_pb2.LogRequest(severity=severity, urn=urn, message=message, ephemeral=True))

    def warn(self, urn: str, message: str) -> None:
        """Adds a warning about the resource `urn` to the diagnostics of the run."""
        if self._engine:
            severity = engine_pb2.LogSeverity.WARNING
            self._engine.Log(engine_pb2.LogRequest(severity=severity, urn=urn, message=message))


def unique_name(request: Request, digits: int = _AUTONAME_DIGITS) -> str:
    """The logical name, a dash and random hex digits, which are the same for the same request of the engine."""
    number = Random(request.random_seed or None).getrandbits(4 * digits)  # noqa: S311 - a name, not a secret
    return f"{request.name}-{number:0{digits}x}"


def autoname(request: Request, olds: Properties, key: str = "name", longest: int = 255) -> str:
    """The old name, or a new one like those of Pulumi: the logical name, a dash, 7 random hex digits.

    Raises Refused if it is longer than `longest` characters, as the real provider does.
    """
    if isinstance(olds.get(key), str):
        return olds[key]
    name = unique_name(request)
    if len(name) > longest:
        raise Refused(f"the name {name!r} has {len(name)} characters; it can have at most {longest}", key)
    return name


def changed_paths(old: Any, new: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """The differences of two property values: (path, `add` | `delete` | `update`). An unknown new value is a change."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if key not in new:
                yield (*path, key), "delete"
            elif key not in old:
                yield (*path, key), "add"
            else:
                yield from changed_paths(old[key], new[key], (*path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            if index >= len(new):
                yield (*path, index), "delete"
            elif index >= len(old):
                yield (*path, index), "add"
            else:
                yield from changed_paths(old[index], new[index], (*path, index))
    elif old is UNKNOWN or new is UNKNOWN or old != new or isinstance(old, bool) != isinstance(new, bool):
        yield path, "update"
