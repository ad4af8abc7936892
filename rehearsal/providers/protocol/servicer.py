"""Answers the calls of the provider protocol with a `Provider` and its resource types."""

from __future__ import annotations

from typing import NoReturn

import grpc
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from rehearsal.providers.protocol.model import (
    Difference,
    InitFailed,
    Path,
    Properties,
    Provider,
    Refused,
    Request,
    changed_paths,
)
from rehearsal.providers.protocol.wire import decode, encode, path_text


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """The server of the protocol for one provider."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider

    # The names are those of gRPC and the protocol.
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
        # The engine sends the old inputs too; `olds` are the outputs of the provider.
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
            operation = Request(urn=request.urn, provider=self.provider, random_seed=request.randomSeed)
            try:
                kind = self.provider.resource_type(_token(request.urn))
                checked = kind.check(news, olds, operation)
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
            operation = Request(urn=request.urn, provider=self.provider, timeout=request.timeout)
            if request.preview:
                return provider_pb2.CreateResponse(properties=encode(kind.preview(inputs, None, operation), secrets))
            try:
                id, outputs = kind.create(inputs, operation)
            except InitFailed as failed:
                _abort_init_failed(context, failed, inputs, secrets)
            return provider_pb2.CreateResponse(id=id, properties=encode(outputs, secrets))

    def Read(self, request, context):
        with _AsGrpcError(context):
            olds, secrets = decode(request.properties)
            inputs, input_secrets = decode(request.inputs)
            kind = self.provider.resource_type(_token(request.urn))
            operation = Request(urn=request.urn, provider=self.provider, timeout=request.timeout)
            output_secrets = secrets | input_secrets | {(name,) for name in kind.secret_outputs}
            try:
                found = kind.read(request.id, inputs, olds, operation)
            except InitFailed as failed:
                _abort_init_failed(context, failed, failed.inputs or inputs, output_secrets)
            if found is None:
                return provider_pb2.ReadResponse(id="")
            live_inputs, outputs = found
            return provider_pb2.ReadResponse(
                # An import can use another id than the resource has.
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
            operation = Request(
                urn=request.urn,
                provider=self.provider,
                timeout=request.timeout,
                ignore_changes=tuple(request.ignoreChanges),
            )
            if request.preview:
                return provider_pb2.UpdateResponse(properties=encode(kind.preview(inputs, olds, operation), secrets))
            try:
                outputs = kind.update(request.id, inputs, olds, old_inputs, operation)
            except InitFailed as failed:
                _abort_init_failed(context, failed, inputs, secrets)
            return provider_pb2.UpdateResponse(properties=encode(outputs, secrets))

    def Delete(self, request, context):
        with _AsGrpcError(context):
            olds, _ = decode(request.properties)
            kind = self.provider.resource_type(_token(request.urn))
            operation = Request(urn=request.urn, provider=self.provider, timeout=request.timeout)
            kind.delete(request.id, olds, operation)
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
    """The resource type in a URN: the last one of a `parent$child` chain."""
    return urn.split("::")[2].rpartition("$")[2]


def _failures(refused: Refused) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=failure.property, reason=failure.reason) for failure in refused.failures]


def _diff_response(difference: Difference) -> provider_pb2.DiffResponse:
    kinds = provider_pb2.PropertyDiff.Kind
    detailed, replaces = {}, set()
    for path, how in difference.changes:
        cause = next((path[:end] for end in range(1, len(path) + 1) if path[:end] in difference.replacing), None)
        if cause:
            replaces.add(path_text(cause))
        kind = kinds.Value(f"{how.upper()}_REPLACE" if cause else how.upper())
        detailed[path_text(path)] = provider_pb2.PropertyDiff(kind=kind, inputDiff=True)
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
    """Turns an exception into the error of the call: a sentence for the user."""

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
            # The errors of botocore and of the Kubernetes client explain themselves.
            self.context.abort(grpc.StatusCode.UNKNOWN, f"{type(error).__name__}: {error}")
