"""Serves a provider written in Python to the Pulumi engine.

A stand-in names its resource types as subclasses of `ResourceType`; `serve` does the rest: the provider protocol over
gRPC, unknown and secret values, previews, detailed diffs and partial failures. Property values reach a resource type as
plain Python: `dict`, `list`, `str`, `bool`, `int`, `float`, `None`, and `UNKNOWN` for what a preview can't know.
Secrets are unwrapped on the way in and wrapped again, at the same paths, on the way out, so that nothing that came as a
secret reaches the state in plain text.

Protocol: pulumi/proto/provider.proto, https://www.pulumi.com/docs/iac/concepts/how-pulumi-works.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar, NoReturn, TypeAlias

import grpc
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

Properties: TypeAlias = dict[str, Any]
Path: TypeAlias = tuple[str | int, ...]

# The engine's marks for special values in a protobuf Struct (pulumi/sdk/go/common/resource/sig).
_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
_OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
_UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

_MAX_MESSAGE_BYTES = 400 * 1024 * 1024
_THREADS = 64
_AUTONAME_DIGITS = 7
_PARENT_POLL_SECONDS = 0.5


class Unknown:
    """The type of `UNKNOWN`: a value that a preview can't know yet."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __deepcopy__(self, _memo: object) -> Unknown:
        return self

    def __bool__(self) -> bool:
        raise TypeError("an unknown value was used as a condition: test `is UNKNOWN` first")


UNKNOWN = Unknown()


def contains_unknown(value: Any) -> bool:
    """Whether `value` is `UNKNOWN` or has it somewhere inside."""
    if isinstance(value, dict):
        return any(contains_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(contains_unknown(item) for item in value)
    return value is UNKNOWN


class Refused(Exception):
    """The provider refuses an input or an operation, for `reason`.

    Raised by `check` or `invoke` it becomes a check failure of `property` (a property path such as
    `egress[0].cidrBlocks`, or empty for the whole resource); raised by an operation it becomes that operation's error.
    Several failures of one check go in `others`.
    """

    def __init__(self, reason: str, property: str = "", others: list[Refused] | None = None) -> None:
        super().__init__(f"{property}: {reason}" if property else reason)
        self.reason = reason
        self.property = property
        self.failures = [self, *(others or [])]

    @staticmethod
    def all(failures: list[Refused]) -> None:
        """Raises one `Refused` that carries every one of `failures`, when there are any."""
        if failures:
            first, *others = failures
            raise Refused(first.reason, first.property, others)


class InitFailed(Exception):
    """The object exists but did not become ready: the state keeps its id, and the next `up` updates it.

    `inputs` are the live ones, when a read finds it so.
    """

    def __init__(self, id: str, outputs: Properties, reasons: list[str], inputs: Properties | None = None) -> None:
        super().__init__("; ".join(reasons))
        self.id = id
        self.outputs = outputs
        self.reasons = reasons
        self.inputs = inputs


@dataclass(frozen=True)
class Difference:
    """What tells new inputs from old ones: `changes` as of `changed_paths`.

    A change at or below one of the paths `replacing` makes a replacement, which deletes first if
    `delete_before_replace`.
    """

    changes: list[tuple[Path, str]]
    replacing: frozenset[Path] = frozenset()
    delete_before_replace: bool = False


@dataclass(frozen=True)
class Request:
    """What an operation may know beside its properties. `timeout` is in seconds, 0 where the program set none."""

    urn: str
    provider: Provider
    timeout: float = 0
    random_seed: bytes = b""
    ignore_changes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The resource's logical name."""
        return self.urn.rpartition("::")[2]

    def log(self, message: str) -> None:
        """Shows `message` as the resource's passing status in the engine's display."""
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
        """Polls `ready` until it holds; at most `timeout` seconds, or `seconds` where the program set none.

        Whoever set it, no longer than `longest`. Raises TimeoutError that says `what` was awaited, or InterruptedError
        when the engine cancels.
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
    """One resource type of a provider; one instance serves every resource of that type, from many threads.

    Class attributes (property names are the engine's, camelCase):
    `token`: the type, such as `aws:ec2/vpc:Vpc`.
    `force_new`: top-level inputs whose change replaces the resource.
    `computed`: outputs that are no inputs, or inputs that the cloud fills in; unknown in the preview of a create.
    `secret_outputs`: outputs that are secret whatever the inputs were.
    `copies`: inputs that `check` fills from another one, by that one's name: secret where that one is.
    `delete_before_replace`: whether a replacement must delete first, since both can't exist together.
    """

    token: ClassVar[str]
    force_new: ClassVar[frozenset[str]] = frozenset()
    computed: ClassVar[frozenset[str]] = frozenset()
    secret_outputs: ClassVar[frozenset[str]] = frozenset()
    copies: ClassVar[Mapping[str, str]] = {}
    delete_before_replace: ClassVar[bool] = False

    def check(self, inputs: Properties, olds: Properties, request: Request) -> Properties:
        """The inputs with defaults filled in. `olds` are the previous inputs, empty on a create. Raises Refused."""
        return inputs

    def replaces(self, olds: Properties, news: Properties, changed: set[str]) -> set[str]:
        """Those of the `changed` top-level inputs that make a replacement."""
        return changed & self.force_new

    def difference(self, old_inputs: Properties, inputs: Properties, olds: Properties) -> Difference:
        """What an update from `old_inputs` to `inputs` would change. `olds` are the resource's outputs."""
        changes = list(changed_paths(old_inputs, inputs))
        replacing = self.replaces(old_inputs, inputs, {str(path[0]) for path, _ in changes}) if changes else set()
        return Difference(changes, frozenset((name,) for name in replacing), self.delete_before_replace)

    def preview(self, inputs: Properties, olds: Properties | None, request: Request) -> Properties:
        """The outputs as far as a preview knows them: of a create, or of an update of the outputs `olds`."""
        if olds is None:
            return {**dict.fromkeys(self.computed, UNKNOWN), **inputs}
        return {**olds, **inputs}

    def create(self, inputs: Properties, request: Request) -> tuple[str, Properties]:
        """Makes the resource; returns its id and outputs (its inputs among them)."""
        raise NotImplementedError

    def read(
        self, id: str, inputs: Properties, olds: Properties, request: Request
    ) -> tuple[Properties, Properties] | None:
        """The live (inputs, outputs), or None when the resource is gone. `inputs` and `olds` are the state's.

        On an import both are empty.
        """
        raise NotImplementedError

    def update(
        self, id: str, inputs: Properties, olds: Properties, old_inputs: Properties, request: Request
    ) -> Properties:
        """Changes the resource in place; returns its outputs. `olds` are its outputs before."""
        raise NotImplementedError

    def delete(self, id: str, olds: Properties, request: Request) -> None:
        """Deletes the resource; one that is gone already is no error. `olds` are its outputs."""
        raise NotImplementedError


class Provider:
    """A provider: its name, its configuration, and where its resource types and functions are found."""

    name: ClassVar[str]
    version: ClassVar[str]

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._engine: engine_pb2_grpc.EngineStub | None = None

    def configure(self, config: Properties) -> None:
        """Takes the provider's configuration, decoded. Raises Refused."""

    def check_config(self, config: Properties) -> None:
        """Refuses, in preview too, a configuration that can't work. Values may be UNKNOWN. Raises Refused."""

    def config_replaces(self, olds: Properties, news: Properties) -> set[str]:
        """The configuration keys whose change replaces the provider and, with it, every resource it made."""
        return set()

    def resource_type(self, token: str) -> ResourceType:
        """The resource type of `token`. Raises Refused when the stand-in does not model it."""
        raise NotImplementedError

    def invoke(self, token: str, args: Properties) -> Properties:
        """The result of a function. Raises Refused."""
        raise Refused(f"the rehearsal's {self.name} provider does not model the function {token}")

    def connect(self, engine_address: str) -> None:
        """Remembers the engine, for `log`."""
        self._engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(engine_address))

    def log(self, urn: str, message: str) -> None:
        """Shows `message` as a passing status of the resource `urn`."""
        if self._engine:
            severity = engine_pb2.LogSeverity.INFO
            self._engine.Log(engine_pb2.LogRequest(severity=severity, urn=urn, message=message, ephemeral=True))

    def warn(self, urn: str, message: str) -> None:
        """Adds a warning about the resource `urn` to the run's diagnostics."""
        if self._engine:
            severity = engine_pb2.LogSeverity.WARNING
            self._engine.Log(engine_pb2.LogRequest(severity=severity, urn=urn, message=message))


def unique_name(request: Request, digits: int = _AUTONAME_DIGITS) -> str:
    """The logical name, a dash and random hex digits: the same ones for the same request of the engine."""
    number = Random(request.random_seed or None).getrandbits(4 * digits)  # noqa: S311 - a name, no secret
    return f"{request.name}-{number:0{digits}x}"


def autoname(request: Request, olds: Properties, key: str = "name", longest: int = 255) -> str:
    """A physical name as Pulumi makes it: the logical name, a dash, 7 random hex digits; the old one once it is chosen.

    Raises Refused when it would be longer than `longest` characters, as the real provider does.
    """
    if isinstance(olds.get(key), str):
        return olds[key]
    name = unique_name(request)
    if len(name) > longest:
        raise Refused(f"the name {name!r} has {len(name)} characters, at most {longest} are possible", key)
    return name


def changed_paths(old: Any, new: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Where two property values differ: (path, `add` | `delete` | `update`). An unknown new value counts as changed."""
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


def decode(struct: struct_pb2.Struct | None) -> tuple[Properties, set[Path]]:
    """The plain properties in `struct`, and the paths of those that are secret."""
    secrets: set[Path] = set()
    fields = struct.fields if struct is not None else {}
    return {key: _plain(value, (key,), secrets) for key, value in fields.items()}, secrets


def _plain(value: struct_pb2.Value, path: Path, secrets: set[Path]) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = value.struct_value.fields
        if _SIGNATURE in fields:
            return _special(fields, path, secrets)
        return {key: _plain(item, (*path, key), secrets) for key, item in fields.items()}
    if kind == "list_value":
        return [_plain(item, (*path, index), secrets) for index, item in enumerate(value.list_value.values)]
    if kind == "string_value":
        return UNKNOWN if value.string_value == _UNKNOWN_TEXT else value.string_value
    if kind == "number_value":
        return int(value.number_value) if value.number_value.is_integer() else value.number_value
    return value.bool_value if kind == "bool_value" else None


def _special(fields: Mapping[str, struct_pb2.Value], path: Path, secrets: set[Path]) -> Any:
    """The plain value of what the engine marked with a signature; a secret's path is added to `secrets`."""
    mark = fields[_SIGNATURE].string_value
    if mark == _SECRET or (mark == _OUTPUT and "secret" in fields and fields["secret"].bool_value):
        secrets.add(path)
    if mark in {_SECRET, _OUTPUT}:
        return _plain(fields["value"], path, secrets) if "value" in fields else UNKNOWN
    if mark == _RESOURCE:
        return _plain(fields["id"] if "id" in fields else fields["urn"], path, secrets)
    raise Refused(f"the rehearsal's providers take no assets or archives (signature {mark})")


def encode(properties: Mapping[str, Any], secrets: set[Path]) -> struct_pb2.Struct:
    """`properties` as a Struct, with a secret's wrapper around what lies at the paths `secrets`.

    Where such a path leads into a value that is no object or list any more (a policy given as an object, sent as JSON),
    the whole value is secret.
    """
    above = {path[:end] for path in secrets for end in range(1, len(path))}

    def wire(value: Any, path: Path) -> Any:
        if value is UNKNOWN:
            made: Any = _UNKNOWN_TEXT
        elif isinstance(value, dict):
            made = {key: wire(item, (*path, key)) for key, item in value.items()}
        elif isinstance(value, list | tuple):
            made = [wire(item, (*path, index)) for index, item in enumerate(value)]
        else:
            made = value
        flattened = path in above and not isinstance(value, dict | list | tuple) and value is not None
        return {_SIGNATURE: _SECRET, "value": made} if path in secrets or flattened else made

    struct = struct_pb2.Struct()
    struct.update({key: wire(value, (key,)) for key, value in properties.items()})
    return struct


def _path_text(path: Path) -> str:
    """`path` as the engine writes it: `spec.rules[0].host`, with keys that are no identifiers quoted in brackets."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "a").isalnum():
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


class _Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """The protocol's half of a provider."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    # gRPC's names, the protocol's spelling.
    def Handshake(self, request, context):
        self.provider.connect(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=False, accept_outputs=False)

    def Attach(self, request, context):
        self.provider.connect(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version=self.provider.version)

    def GetSchema(self, request, context):
        return provider_pb2.GetSchemaResponse(schema="{}")

    def CheckConfig(self, request, context):
        try:
            self.provider.check_config(self._config(request.news))
        except Refused as refused:
            return provider_pb2.CheckResponse(failures=_failures(refused))
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request, context):
        # The inputs where the engine sends them: `olds` are then the provider's outputs.
        before = request.old_inputs if request.HasField("old_inputs") else request.olds
        olds, news = self._config(before), self._config(request.news)
        changes = list(changed_paths(olds, news))
        replacing = self.provider.config_replaces(olds, news) if changes else set()
        return _diff_response(Difference(changes, frozenset((key,) for key in replacing)))

    def Configure(self, request, context):
        with _AsGrpcError(context):
            self.provider.configure(self._config(request.args))
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=False, acceptOutputs=False
        )

    @staticmethod
    def _config(struct: struct_pb2.Struct) -> Properties:
        config, _ = decode(struct)
        return {key: value for key, value in config.items() if key != "version"}

    def Check(self, request, context):
        with _AsGrpcError(context):
            olds, _ = decode(request.olds)
            news, secrets = decode(request.news)
            asked = Request(urn=request.urn, provider=self.provider, random_seed=request.randomSeed)
            try:
                kind = self.provider.resource_type(_token(request.urn))
                checked = kind.check(news, olds, asked)
            except Refused as refused:
                return provider_pb2.CheckResponse(failures=_failures(refused))
            for copy, original in kind.copies.items():
                secrets |= {(copy, *path[1:]) for path in secrets if path[0] == original}
            return provider_pb2.CheckResponse(inputs=encode(checked, secrets))

    def Diff(self, request, context):
        with _AsGrpcError(context):
            olds, _ = decode(request.olds)
            old_inputs, _ = decode(request.old_inputs) if request.HasField("old_inputs") else (olds, None)
            news, _ = decode(request.news)
            return _diff_response(self.provider.resource_type(_token(request.urn)).difference(old_inputs, news, olds))

    def Create(self, request, context):
        with _AsGrpcError(context):
            inputs, secrets = decode(request.properties)
            kind = self.provider.resource_type(_token(request.urn))
            secrets |= {(name,) for name in kind.secret_outputs}
            asked = Request(urn=request.urn, provider=self.provider, timeout=request.timeout)
            if request.preview:
                return provider_pb2.CreateResponse(properties=encode(kind.preview(inputs, None, asked), secrets))
            try:
                id, outputs = kind.create(inputs, asked)
            except InitFailed as failed:
                _abort_init_failed(context, failed, inputs, secrets)
            return provider_pb2.CreateResponse(id=id, properties=encode(outputs, secrets))

    def Read(self, request, context):
        with _AsGrpcError(context):
            olds, secrets = decode(request.properties)
            inputs, input_secrets = decode(request.inputs)
            kind = self.provider.resource_type(_token(request.urn))
            asked = Request(urn=request.urn, provider=self.provider, timeout=request.timeout)
            output_secrets = secrets | input_secrets | {(name,) for name in kind.secret_outputs}
            try:
                found = kind.read(request.id, inputs, olds, asked)
            except InitFailed as failed:
                _abort_init_failed(context, failed, failed.inputs or inputs, output_secrets)
            if found is None:
                return provider_pb2.ReadResponse(id="")
            live_inputs, outputs = found
            return provider_pb2.ReadResponse(
                # What a resource is imported by need not be its id.
                id=outputs.get("id", request.id) if not olds else request.id,
                inputs=encode(live_inputs, input_secrets),
                properties=encode(outputs, output_secrets),
            )

    def Update(self, request, context):
        with _AsGrpcError(context):
            olds, _ = decode(request.olds)
            old_inputs, _ = decode(request.old_inputs)
            inputs, secrets = decode(request.news)
            kind = self.provider.resource_type(_token(request.urn))
            secrets |= {(name,) for name in kind.secret_outputs}
            asked = Request(
                urn=request.urn,
                provider=self.provider,
                timeout=request.timeout,
                ignore_changes=tuple(request.ignoreChanges),
            )
            if request.preview:
                return provider_pb2.UpdateResponse(properties=encode(kind.preview(inputs, olds, asked), secrets))
            try:
                outputs = kind.update(request.id, inputs, olds, old_inputs, asked)
            except InitFailed as failed:
                _abort_init_failed(context, failed, inputs, secrets)
            return provider_pb2.UpdateResponse(properties=encode(outputs, secrets))

    def Delete(self, request, context):
        with _AsGrpcError(context):
            olds, _ = decode(request.properties)
            kind = self.provider.resource_type(_token(request.urn))
            asked = Request(urn=request.urn, provider=self.provider, timeout=request.timeout)
            kind.delete(request.id, olds, asked)
        return empty_pb2.Empty()

    def Invoke(self, request, context):
        with _AsGrpcError(context):
            args, secrets = decode(request.args)
            try:
                result = self.provider.invoke(request.tok, args)
            except Refused as refused:
                return provider_pb2.InvokeResponse(failures=_failures(refused))
            response = provider_pb2.InvokeResponse()
            getattr(response, "return").CopyFrom(encode(result, secrets))  # `return` is a word of Python's
            return response

    def Cancel(self, request, context):
        self.provider.cancelled.set()
        return empty_pb2.Empty()


def _token(urn: str) -> str:
    """The resource type in a URN; of `parent$child` chains the last."""
    return urn.split("::")[2].rpartition("$")[2]


def _failures(refused: Refused) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=one.property, reason=one.reason) for one in refused.failures]


def _diff_response(difference: Difference) -> provider_pb2.DiffResponse:
    kinds = provider_pb2.PropertyDiff.Kind
    detailed, replaces = {}, set()
    for path, how in difference.changes:
        cause = next((path[:end] for end in range(1, len(path) + 1) if path[:end] in difference.replacing), None)
        if cause:
            replaces.add(_path_text(cause))
        kind = kinds.Value(f"{how.upper()}_REPLACE" if cause else how.upper())
        detailed[_path_text(path)] = provider_pb2.PropertyDiff(kind=kind, inputDiff=True)
    some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
    return provider_pb2.DiffResponse(
        changes=some if difference.changes else none,
        diffs=sorted({str(path[0]) for path, _ in difference.changes}),
        replaces=sorted(replaces),
        detailedDiff=detailed,
        hasDetailedDiff=True,
        deleteBeforeReplace=difference.delete_before_replace,
    )


def _abort_init_failed(
    context: grpc.ServicerContext, failed: InitFailed, inputs: Properties, secrets: set[Path]
) -> NoReturn:
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=failed.id,
            properties=encode(failed.outputs, secrets),
            reasons=failed.reasons,
            inputs=encode(inputs, secrets),
        )
    )
    code = grpc.StatusCode.UNKNOWN
    status = status_pb2.Status(code=code.value[0], message=str(failed), details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, str(failed))


class _AsGrpcError:
    """Turns an exception into the error of the call, in a sentence for the user of the program."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self.context = context

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        if error is None or (type(error) is Exception and not error.args):
            return  # the second is how gRPC ends a call that was aborted already
        if isinstance(error, Refused | TimeoutError | InterruptedError | InitFailed):
            self.context.abort(grpc.StatusCode.UNKNOWN, str(error))
        if isinstance(error, Exception):
            # botocore's and the Kubernetes client's errors say themselves what was refused.
            self.context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")


def end_with_the_engine() -> None:
    """Ends this process once the engine is done with it, or is gone: a killed engine can tell no provider to stop."""
    # The engine ends its plugins with an interrupt, also after a run that went well. Nothing is under way then, and
    # tearing down an interpreter would take a quarter of a second of every preview.
    signal.signal(signal.SIGINT, lambda _signal, _frame: os._exit(0))
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os._exit(1)


def serve(provider: Provider) -> None:
    """Serves `provider` on a free port, prints the port as the engine expects, and stays until the engine ends it."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=_THREADS),
        options=[
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(_Servicer(provider), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    end_with_the_engine()
    if len(sys.argv) > 1:
        provider.connect(sys.argv[1])
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()
