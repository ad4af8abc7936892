"""The service that the engine asks about resources: that of pulumi-policy, with these differences.

- pulumi-policy decodes a resource again for each policy, and the whole stack for each stack policy. With this many
  policies that takes longer than the preview. Here each resource is decoded once, and only when a policy reads it.
- The service leaves out Remediate, which no policy needs.
- Stack policies see the inputs of a resource that has no outputs yet.
- The enforcement level of a policy depends on the kind of stack: see `policies.lifecycle`.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, cast

import grpc
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from pulumi.runtime import proto
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy import (
    EnforcementLevel,
    Policy,
    ResourceValidationArgs,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy import policy as sdk
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY, deserialize_properties
from pulumi_policy.proxy import UnknownValueError, unknown_checking_proxy

from policies.lifecycle import Lifecycle, lifecycle_of
from policies.reading.resources import SecretText
from policies.rules import EVERY_STACK, LABS_SETTING, ResourcePolicy, UndecidedError

# `pulumi policy analyze --file` replaces every secret with this text.
_REDACTED = "[secret]"
_STRICTNESS = [EnforcementLevel.DISABLED, EnforcementLevel.ADVISORY, EnforcementLevel.MANDATORY]


def install() -> None:
    """Makes every PolicyPack of this process use `Analyzer`."""
    sdk._PolicyAnalyzerServicer = Analyzer
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server = _offer


def _offer(servicer: Analyzer, server: grpc.Server) -> None:
    """Adds the service to a gRPC server, without Remediate: no policy here changes a resource.

    The engine calls Remediate before each Analyze, and goes on if the pack does not have it. That answer takes half the
    time of an empty result.
    """
    service = analyzer_pb2.DESCRIPTOR.services_by_name["Analyzer"]
    handlers = {
        method.name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, method.name),
            GetMessageClass(method.input_type).FromString,
            GetMessageClass(method.output_type).SerializeToString,
        )
        for method in service.methods
        if method.name != "Remediate"
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))


def level(policy: Policy, configured: EnforcementLevel, labs: str, lifecycle: Lifecycle) -> EnforcementLevel:
    """The level of a policy: in production the configured one, in a lab no stricter than its setting `labs`."""
    if configured is EnforcementLevel.REMEDIATE:  # no policy here changes a resource
        configured = EnforcementLevel.MANDATORY
    if lifecycle == "production" or EVERY_STACK in (policy.tags or ()):
        return configured
    return min(configured, EnforcementLevel(labs), key=_STRICTNESS.index)


class Analyzer(sdk._PolicyAnalyzerServicer):
    """The policies as a service for the engine. A process serves one stack, so it finds out the kind of stack once."""

    def __init__(self, name: str, version: str, policies: list[Policy], *rest: Any) -> None:
        super().__init__(name, version, policies, *rest)
        self._resource_policies = [policy for policy in policies if isinstance(policy, ResourcePolicy)]
        self._by_type: dict[str, list[ResourcePolicy]] = {}
        self._stack_policies = [policy for policy in policies if isinstance(policy, StackValidationPolicy)]
        self._tags: Mapping[str, str] = {}
        self._lifecycle: Lifecycle | None = None
        self._providers: dict[bytes, Any] = {}
        self._lock = threading.Lock()
        self._settings: dict[str, tuple[EnforcementLevel, Any]] = {}
        self._inputs: dict[str, Any] = {}

    def ConfigureStack(self, request: Any, context: Any) -> Any:  # noqa: D102, N802 - gRPC's name
        self._tags = dict(request.tags)
        return super().ConfigureStack(request, context)

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: D102, N802
        self._settings = {}
        return super().Configure(request, context)

    def Analyze(self, request: Any, context: Any) -> Any:  # noqa: D102, N802
        response = proto.AnalyzeResponse()
        resource = _Received(request, self)
        self._inputs[request.urn] = request.properties
        self._find_lifecycle([resource])
        for policy in self._policies_for(resource.resource_type):
            args = ResourceValidationArgs(
                resource.resource_type,
                resource.props,
                resource.urn,
                resource.name,
                resource.opts,
                resource.provider,
                self._setting(policy)[1],
                self._tags,
            )
            self._validate(policy, args, response, context)
        return response

    def AnalyzeStack(self, request: Any, context: Any) -> Any:  # noqa: D102, N802
        response = proto.AnalyzeResponse()
        resources = self._resources(request.resources)
        self._find_lifecycle(resources)
        for policy in self._stack_policies:
            args = StackValidationArgs(cast("Any", resources), self._setting(policy)[1], self._tags)
            self._validate(policy, args, response, context)
        return response

    def _validate(self, policy: Any, args: Any, response: Any, context: Any) -> None:
        enforced, _ = self._setting(policy)
        if enforced is EnforcementLevel.DISABLED:
            return
        report = self._create_report_violation(response, policy.name, policy.description, enforced, policy.severity)
        try:
            policy.validate(args, report)
        except UnknownValueError as error:
            warn = self._create_report_violation(
                response, policy.name, policy.description, EnforcementLevel.ADVISORY, policy.severity
            )
            parts = error.warnings if isinstance(error, UndecidedError) else [(error.message, None)]
            for message, urn in parts:
                warn(message, urn or getattr(args, "urn", None))
        except Exception:
            context.abort(
                grpc.StatusCode.UNKNOWN,
                f"Policy {policy.name} failed. This is an error in the policy pack, not in the stack:\n"
                f"{traceback.format_exc()}",
            )

    def _setting(self, policy: Policy) -> tuple[EnforcementLevel, Any]:
        """A policy's level and configuration. They do not change once the kind of stack is known."""
        if policy.name not in self._settings:
            self._settings[policy.name] = self._level(policy), self._get_policy_config(policy.name)
        return self._settings[policy.name]

    def _level(self, policy: Policy) -> EnforcementLevel:
        schema = policy.config_schema.properties if policy.config_schema else {}
        by_default = schema.get(LABS_SETTING, {}).get("default", "advisory")
        labs = (self._get_policy_config(policy.name) or {}).get(LABS_SETTING, by_default)
        return level(policy, self._get_enforcement_level(policy), labs, self._lifecycle or "production")

    def _find_lifecycle(self, resources: Iterable[Any]) -> None:
        if self._lifecycle is None:
            self._lifecycle = next(filter(None, (lifecycle_of(one, self._tags) for one in resources)), None)
            self._settings = {}

    def _policies_for(self, type_: str) -> list[ResourcePolicy]:
        """The policies that look at resources of a type."""
        if type_ not in self._by_type:
            self._by_type[type_] = [policy for policy in self._resource_policies if policy.concerns(type_)]
        return self._by_type[type_]

    def _resources(self, messages: Any) -> list[_Received]:
        """The resources of a stack; each can find the others.

        The engine sends their outputs. In the preview of a new stack Kubernetes resources have none, because their
        provider is not configured before the cluster exists. Policies then see the inputs.
        """
        stack: dict[str, _Received] = {}
        found = [
            _Received(message, self, stack, None if message.properties.fields else self._inputs.get(message.urn))
            for message in messages
        ]
        stack.update((one.urn, one) for one in found)
        return found

    def options_of(self, message: Any) -> Any:
        """The resource's options, in pulumi-policy's form."""
        return self._get_resource_options(message)

    def provider_of(self, message: Any) -> Any:
        """The resource's provider. It is cached, because many resources have the same one."""
        if not message.HasField("provider"):
            return None
        key = message.provider.SerializeToString(deterministic=True)
        with self._lock:
            if key not in self._providers:
                self._providers[key] = self._get_provider_resource(message)
            return self._providers[key]


class _Received:
    """A resource as the engine sent it, with the interface of pulumi-policy's PolicyResource.

    It is decoded when a policy reads it: no policy reads most resources of a large stack.
    """

    def __init__(
        self, message: Any, analyzer: Analyzer, stack: Mapping[str, _Received] | None = None, properties: Any = None
    ) -> None:
        self._message, self._analyzer = message, analyzer
        self._properties = message.properties if properties is None else properties
        self._stack = {} if stack is None else stack  # filled once all resources are there
        self.resource_type: str = message.type
        self.urn: str = message.urn
        self.name: str = message.name

    @cached_property
    def props(self) -> Mapping[str, Any]:
        return unknown_checking_proxy(decoded(self._properties))

    @cached_property
    def opts(self) -> Any:
        return self._analyzer.options_of(self._message)

    @cached_property
    def provider(self) -> Any:
        return self._analyzer.provider_of(self._message)

    @property
    def parent(self) -> _Received | None:
        return self._stack.get(self._message.parent)

    @property
    def dependencies(self) -> list[_Received]:
        return self._known(self._message.dependencies)

    @property
    def property_dependencies(self) -> dict[str, list[_Received]]:
        given = self._message.propertyDependencies
        return {key: self._known(dependency.urns) for key, dependency in given.items()}

    def _known(self, urns: Iterable[str]) -> list[_Received]:
        return [self._stack[urn] for urn in urns if urn in self._stack]


def decoded(properties: Any) -> dict[str, Any]:
    """The properties of a resource as plain values. A secret text becomes a SecretText."""
    return _decoded(json_format.MessageToDict(properties))


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if value == _REDACTED:
        return SecretText(value)
    if not isinstance(value, dict):
        return value
    signature = value.get(SPECIAL_SIG_KEY)
    if signature == SPECIAL_SECRET_SIG:
        return _secret(_decoded(value.get("value")))
    if signature is not None:
        return deserialize_properties({"asset": value})["asset"]
    return {key: _decoded(item) for key, item in value.items()}


def _secret(value: Any) -> Any:
    if isinstance(value, str):
        return SecretText(value)
    if isinstance(value, list):
        return [_secret(item) for item in value]
    if isinstance(value, dict):
        return {key: _secret(item) for key, item in value.items()}
    return value
