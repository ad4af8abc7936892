"""How the engine is answered: as pulumi-policy does it, with these differences.

pulumi-policy decodes a resource anew for each policy, and a whole stack for each policy that looks at stacks: with this
many policies that takes longer than the preview. Here each is decoded once, and not before a policy reads it. The
service does not offer what no policy needs. And the enforcement level of a policy depends on what kind of stack it is:
see `policies.lifecycle`.
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

from policies.lifecycle import Lifecycle, told_by
from policies.reading.resources import SecretText
from policies.rules import EVERY_STACK, LABS_SETTING, ResourcePolicy, UndecidedError

# What `pulumi policy analyze --file` puts in the place of every secret.
_REDACTED = "[secret]"
_STRICTNESS = [EnforcementLevel.DISABLED, EnforcementLevel.ADVISORY, EnforcementLevel.MANDATORY]


def install() -> None:
    """Has every PolicyPack of this process answer the engine by `Analyzer`."""
    sdk._PolicyAnalyzerServicer = Analyzer
    analyzer_pb2_grpc.add_AnalyzerServicer_to_server = _offer


def _offer(servicer: Analyzer, server: grpc.Server) -> None:
    """Offers what the service has, but for Remediate: no policy here changes a resource.

    The engine asks for that before each Analyze, and goes on where a pack does not know it. To say so takes gRPC's
    Python half as long as an empty answer.
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
    """How strict a policy is: in production as configured, in a lab at most as strict as its setting `labs`."""
    if configured is EnforcementLevel.REMEDIATE:  # no policy here remedies anything
        configured = EnforcementLevel.MANDATORY
    if lifecycle == "production" or EVERY_STACK in (policy.tags or ()):
        return configured
    return min(configured, EnforcementLevel(labs), key=_STRICTNESS.index)


class Analyzer(sdk._PolicyAnalyzerServicer):
    """The policies as a service of the engine's. A process serves one stack, so the stack's kind is learned once."""

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

    def ConfigureStack(self, request: Any, context: Any) -> Any:  # noqa: D102, N802 - gRPC's name
        self._tags = dict(request.tags)
        return super().ConfigureStack(request, context)

    def Configure(self, request: Any, context: Any) -> Any:  # noqa: D102, N802
        self._settings = {}
        return super().Configure(request, context)

    def Analyze(self, request: Any, context: Any) -> Any:  # noqa: D102, N802
        response = proto.AnalyzeResponse()
        resource = _Received(request, self)
        self._learn([resource])
        for policy in self._about(resource.resource_type):
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
            self._ask(policy, args, response, context)
        return response

    def AnalyzeStack(self, request: Any, context: Any) -> Any:  # noqa: D102, N802
        response = proto.AnalyzeResponse()
        resources = self._resources(request.resources)
        self._learn(resources)
        for policy in self._stack_policies:
            args = StackValidationArgs(cast("Any", resources), self._setting(policy)[1], self._tags)
            self._ask(policy, args, response, context)
        return response

    def _ask(self, policy: Any, args: Any, response: Any, context: Any) -> None:
        enforced, _ = self._setting(policy)
        if enforced is EnforcementLevel.DISABLED:
            return
        report = self._create_report_violation(response, policy.name, policy.description, enforced, policy.severity)
        try:
            policy.validate(args, report)
        except UnknownValueError as error:
            advise = self._create_report_violation(
                response, policy.name, policy.description, EnforcementLevel.ADVISORY, policy.severity
            )
            parts = error.advices if isinstance(error, UndecidedError) else [(error.message, None)]
            for message, urn in parts:
                advise(message, urn or getattr(args, "urn", None))
        except Exception:
            context.abort(
                grpc.StatusCode.UNKNOWN,
                f"Policy {policy.name} failed, which is a fault of the policy pack, not of the stack:\n"
                f"{traceback.format_exc()}",
            )

    def _setting(self, policy: Policy) -> tuple[EnforcementLevel, Any]:
        """A policy's level and configuration, which do not change once the stack's kind is known."""
        if policy.name not in self._settings:
            self._settings[policy.name] = self._level(policy), self._get_policy_config(policy.name)
        return self._settings[policy.name]

    def _level(self, policy: Policy) -> EnforcementLevel:
        schema = policy.config_schema.properties if policy.config_schema else {}
        by_default = schema.get(LABS_SETTING, {}).get("default", "advisory")
        labs = (self._get_policy_config(policy.name) or {}).get(LABS_SETTING, by_default)
        return level(policy, self._get_enforcement_level(policy), labs, self._lifecycle or "production")

    def _learn(self, resources: Iterable[Any]) -> None:
        if self._lifecycle is None:
            self._lifecycle = next(filter(None, (told_by(one, self._tags) for one in resources)), None)
            self._settings = {}

    def _about(self, type_: str) -> list[ResourcePolicy]:
        """The policies that look at resources of a type."""
        if type_ not in self._by_type:
            self._by_type[type_] = [policy for policy in self._resource_policies if policy.concerns(type_)]
        return self._by_type[type_]

    def _resources(self, messages: Any) -> list[_Received]:
        """The resources of a stack, which know each other."""
        stack: dict[str, _Received] = {}
        found = [_Received(message, self, stack) for message in messages]
        stack.update((one.urn, one) for one in found)
        return found

    def options_of(self, message: Any) -> Any:
        """The resource's options, as pulumi-policy gives them."""
        return self._get_resource_options(message)

    def provider_of(self, message: Any) -> Any:
        """The resource's provider; many resources have the same."""
        if not message.HasField("provider"):
            return None
        key = message.provider.SerializeToString(deterministic=True)
        with self._lock:
            if key not in self._providers:
                self._providers[key] = self._get_provider_resource(message)
            return self._providers[key]


class _Received:
    """A resource as the engine sent it, alone or with its stack, told as pulumi-policy's PolicyResource tells it.

    It is decoded when a policy reads it: of most resources of a large stack none does.
    """

    def __init__(self, message: Any, analyzer: Analyzer, stack: Mapping[str, _Received] | None = None) -> None:
        self._message, self._analyzer = message, analyzer
        self._stack = {} if stack is None else stack  # it is filled once all are there
        self.resource_type: str = message.type
        self.urn: str = message.urn
        self.name: str = message.name

    @cached_property
    def props(self) -> Mapping[str, Any]:
        return unknown_checking_proxy(decoded(self._message.properties))

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
    """The properties of a resource as plain values; texts that are secrets as SecretText."""
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
