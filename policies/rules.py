"""How to write a policy: a function that yields what is wrong becomes a policy of pulumi-policy.

A check yields one text for each problem. A value that a preview can't know is reported as "not yet known": reading it
raises pulumi-policy's UnknownValueError and ends the check, or the check yields a `NotYetKnown` and goes on. A later
`pulumi up` checks again. Something that no policy can read, such as a NodePool requirement that we have no data about,
is reported as "not decided": the check raises NotDecidedError or yields a `NotDecided`. Both are warnings, and the
problems that were found are reported too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Required, TypeAlias, TypedDict, Unpack

from pulumi_policy import (
    EnforcementLevel,
    PolicyComplianceFramework,
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    Severity,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, UnknownValueError

from policies.reading.helm import is_release, unread_files
from policies.reading.resources import (
    NotDecided,
    NotYetKnown,
    Resource,
    Stack,
    TypeTest,
    Undecided,
    undecided_by,
)

LOW, MEDIUM, HIGH, CRITICAL = Severity.LOW, Severity.MEDIUM, Severity.HIGH, Severity.CRITICAL

EVERY_STACK = "every-stack"
"""The tag of policies that are as strict in a lab as in production."""

LABS_SETTING = "labs"
"""The key of a policy's configuration that sets its level in a lab."""

Limits: TypeAlias = Mapping[str, Any]
"""A policy's configuration, with the defaults of its schema."""

Found: TypeAlias = str | Undecided


class Terms(TypedDict, total=False):
    """What every policy states about itself, besides its name and description."""

    fix: Required[str]
    """A sentence that names the field to change."""
    severity: Required[Severity]
    framework: PolicyComplianceFramework
    limits: Mapping[str, dict[str, Any]]
    """JSON Schemas of its configuration. Each has a `default`."""
    every_stack: bool
    """Whether the policy is as strict in a lab as in production."""
    labs: str
    """Its level in a lab otherwise. The default is `advisory`."""
    warning: bool
    """Whether a violation is only a warning in production too."""


@dataclass(frozen=True)
class Finding:
    """A problem of one resource of a stack, or of the whole stack if `resource` is None."""

    resource: Resource | None
    found: Found


class UndecidedError(UnknownValueError):
    """Reports to pulumi-policy that a policy could not be decided. That is a warning, whatever the policy's level.

    Each of `warnings` is a message and the URN of its resource, or None for the URN.
    """

    def __init__(self, unknown: Sequence[Finding]) -> None:
        places = sorted({str(finding.found) for finding in unknown if isinstance(finding.found, NotYetKnown)})
        super().__init__(UNKNOWN_STRING_VALUE, places)
        self.warnings: list[tuple[str, str | None]] = []
        if places:
            self.warnings.append((f"not yet known: {', '.join(places)}; checked again in `pulumi up`", None))
        findings = [(finding.found, finding.resource.urn if finding.resource else None) for finding in unknown]
        for found, urn in dict.fromkeys(findings):
            if isinstance(found, NotDecided):
                self.warnings.append((f"not decided: {found}", urn))
        self.message = ". ".join(message for message, _ in self.warnings)


class ResourcePolicy(ResourceValidationPolicy):
    """A policy that looks at single resources, of the types that it `concerns`."""

    def __init__(self, *arguments: Any, concerns: TypeTest, **terms: Any) -> None:
        super().__init__(*arguments, **terms)
        self.concerns = concerns


def about(resource: Resource, check: Iterable[Found]) -> Iterator[Finding]:
    """The findings of a check of one resource. An unknown value ends only this check, not those of other resources."""
    try:
        for found in check:
            yield Finding(resource, found)
    except UnknownValueError as error:
        yield Finding(resource, undecided_by(error, resource))
    if is_release(resource):
        yield from (Finding(resource, found) for found in unread_files(resource))


def passing(resources: Iterable[Resource], test: Callable[[Resource], bool]) -> tuple[list[Resource], list[Finding]]:
    """The resources that pass a test, and a finding for each resource where the test cannot be decided."""
    passed: list[Resource] = []
    undecided: list[Finding] = []
    for resource in resources:
        try:
            if test(resource):
                passed.append(resource)
        except UnknownValueError as error:
            undecided.append(Finding(resource, undecided_by(error, resource)))
    return passed, undecided


def cis(section: str) -> PolicyComplianceFramework:
    """A recommendation of the CIS benchmark for EKS, by its number."""
    return PolicyComplianceFramework("CIS Amazon Elastic Kubernetes Service (EKS) Benchmark", "1.5.0", section)


def best_practices(section: str) -> PolicyComplianceFramework:
    """A section of AWS's guide to EKS, as `Part: section`."""
    return PolicyComplianceFramework("Amazon EKS Best Practices Guide", None, section)


def karpenter_docs(section: str) -> PolicyComplianceFramework:
    """A section of Karpenter's documentation."""
    return PolicyComplianceFramework("Karpenter documentation", "1.14", section)


def resource_policy(
    name: str,
    description: str,
    *,
    concerns: TypeTest,
    where: Callable[[Resource], bool] = lambda resource: True,
    **terms: Unpack[Terms],
) -> Callable[[Callable[[Resource, Limits], Iterable[Found]]], ResourcePolicy]:
    """Turns a check of one resource into a policy. `concerns` picks the types, `where` the resources of these types.

    The policy refuses a resource before it is created.
    """
    properties = _schema(terms)

    def make(check: Callable[[Resource, Limits], Iterable[Found]]) -> ResourcePolicy:
        def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
            if not concerns(args.resource_type) or not where(args):
                return
            findings = about(args, check(args, _with_defaults(properties, args.get_config())))
            _report(findings, terms["fix"], lambda message, _urn: report(message, None))

        return ResourcePolicy(
            name,
            description,
            validate,
            concerns=concerns,
            config_schema=PolicyConfigSchema(properties),
            **_metadata(terms),
        )

    return make


def stack_policy(
    name: str,
    description: str,
    **terms: Unpack[Terms],
) -> Callable[[Callable[[Stack, Limits], Iterable[Finding]]], StackValidationPolicy]:
    """Turns a check that must see several resources at once into a policy.

    A preview refuses the stack before anything is created. An `up` is refused only after its resources exist.
    """
    properties = _schema(terms)

    def make(check: Callable[[Stack, Limits], Iterable[Finding]]) -> StackValidationPolicy:
        def validate(args: StackValidationArgs, report: ReportViolation) -> None:
            stack = Stack.of(args.resources)
            # `pulumi policy analyze` (3.250.0) fails on a violation that names no resource.
            whole = next(stack.of_type("pulumi:pulumi:Stack"), None)
            _report(check(stack, _with_defaults(properties, args.get_config())), terms["fix"], report, whole)

        return StackValidationPolicy(
            name,
            description,
            validate,
            config_schema=PolicyConfigSchema(properties),
            **_metadata(terms),
        )

    return make


def _metadata(terms: Terms) -> dict[str, Any]:
    """The terms of a policy that pulumi-policy takes unchanged."""
    return {
        "severity": terms["severity"],
        "enforcement_level": EnforcementLevel.ADVISORY if terms.get("warning") else None,
        "framework": terms.get("framework"),
        "tags": [EVERY_STACK] if terms.get("every_stack") else None,
        "remediation_steps": terms["fix"],
    }


def _schema(terms: Terms) -> dict[str, dict[str, Any]]:
    return {
        **terms.get("limits", {}),
        LABS_SETTING: {
            "type": "string",
            "enum": ["advisory", "mandatory", "disabled"],
            "default": terms.get("labs", "advisory"),
            "description": "The level in a lab; enforcementLevel is the level in production.",
        },
    }


def _with_defaults(properties: Mapping[str, dict[str, Any]], given: Mapping[str, Any]) -> Limits:
    return {**{key: schema["default"] for key, schema in properties.items()}, **given}


def _report(findings: Iterable[Finding], fix: str, report: ReportViolation, whole: Resource | None = None) -> None:
    """Reports the problems, then raises for what could not be decided. `whole` is the resource of the whole stack."""
    unknown: list[Finding] = []
    try:
        for finding in findings:
            if not isinstance(finding.found, str):
                unknown.append(finding)
            else:
                resource = finding.resource or whole
                report(f"{finding.found}. {fix}", resource.urn if resource else None)
    except UnknownValueError as error:
        unknown.append(Finding(whole, undecided_by(error)))
    if unknown:
        raise UndecidedError(unknown)
