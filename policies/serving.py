"""How the engine is answered: as pulumi-policy does it, with two differences.

pulumi-policy decodes a resource anew for each policy, and a whole stack for each policy that looks at stacks: with this
many policies that takes longer than the preview. Here each is decoded once. And the enforcement level of a policy
depends on what kind of stack it is: see `policies.lifecycle`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf import json_format
from pulumi.runtime import proto
from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyResource,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy import policy as sdk
from pulumi_policy.deserialize import SPECIAL_SECRET_SIG, SPECIAL_SIG_KEY, deserialize_properties
from pulumi_policy.proxy import UnknownValueError, unknown_checking_proxy

from policies.lifecycle import Lifecycle, told_by
from policies.reading.resources import SecretText
from policies.rules import EVERY_STACK, LABS_SETTING

# What `pulumi policy analyze --file` puts in the place of every secret.
_REDACTED = "[secret]"
_STRICTNESS = [EnforcementLevel.DISABLED, EnforcementLevel.ADVISORY, EnforcementLevel.MANDATORY]


def install() -> None:
    """Has every PolicyPack of this process answer the engine by `Analyzer`."""
    sdk._PolicyAnalyzerServicer = Analyzer


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
        self._resource_policies = [policy for policy in policies if isinstance(policy, ResourceValidationPolicy)]
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
        resource = self._resource(request)
        self._learn([resource])
        for policy in self._resource_policies:
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

    def Remediate(self, request: Any, context: Any) -> Any:  # noqa: D102, N802
        return proto.RemediateResponse()  # no policy here changes a resource

    def AnalyzeStack(self, request: Any, context: Any) -> Any:  # noqa: D102, N802
        response = proto.AnalyzeResponse()
        resources = self._resources(request.resources)
        self._learn(resources)
        for policy in self._stack_policies:
            args = StackValidationArgs(resources, self._setting(policy)[1], self._tags)
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
            self._create_report_violation(
                response, policy.name, policy.description, EnforcementLevel.ADVISORY, policy.severity
            )(error.message, getattr(args, "urn", None))
        except Exception:
            self._abort_with_traceback(context, "checking", policy.name)

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

    def _resources(self, messages: Any) -> list[PolicyResource]:
        """The resources of a stack, with their dependencies as pulumi-policy gives them."""
        found = [self._resource(message) for message in messages]
        by_urn = {resource.urn: resource for resource in found}

        def known(urns: Iterable[str]) -> list[PolicyResource]:
            return [by_urn[urn] for urn in urns if urn in by_urn]

        for resource, message in zip(found, messages, strict=True):
            resource.parent = by_urn.get(message.parent)
            resource.dependencies = known(message.dependencies)
            resource.property_dependencies = {
                key: known(dependency.urns) for key, dependency in message.propertyDependencies.items()
            }
        return found

    def _resource(self, message: Any) -> PolicyResource:
        return PolicyResource(
            message.type,
            unknown_checking_proxy(decoded(message.properties)),
            message.urn,
            message.name,
            self._get_resource_options(message),
            self._provider(message),
            None,
            [],
            {},
        )

    def _provider(self, message: Any) -> Any:
        """The resource's provider; many resources have the same."""
        if not message.HasField("provider"):
            return None
        key = message.provider.SerializeToString(deterministic=True)
        with self._lock:
            if key not in self._providers:
                self._providers[key] = self._get_provider_resource(message)
            return self._providers[key]


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
