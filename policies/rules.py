"""How a policy is written: a function that yields what is wrong becomes a policy of pulumi-policy.

A check yields a text for each thing that is wrong. A value that a preview can't know is reported as "not yet known": a
check that comes across one raises pulumi-policy's UnknownValueError by reading it, or yields a `NotYetKnown` and goes
on. `pulumi up` checks again. What no policy can read, such as a requirement of a NodePool that it has no data about, is
reported as "not decided": the check raises NotDecidedError or yields a `NotDecided`. Both are an advice, beside what
was found to be wrong.
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

from policies.reading.releases import is_release, unread_files
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
"""The key of a policy's configuration that says how strict it is in a lab."""

Limits: TypeAlias = Mapping[str, Any]
"""A policy's configuration, with the defaults of its schema."""

Found: TypeAlias = str | Undecided


class Terms(TypedDict, total=False):
    """What every policy says of itself beside its name and its description."""

    fix: Required[str]
    """A sentence that names the field to change."""
    severity: Required[Severity]
    framework: PolicyComplianceFramework
    limits: Mapping[str, dict[str, Any]]
    """JSON Schemas of its configuration, each with a `default`."""
    every_stack: bool
    """Whether it is as strict in a lab as in production."""
    labs: str
    """Else its level in a lab: `advisory`, unless given."""
    advice: bool
    """Whether it is an advice in production, too."""


@dataclass(frozen=True)
class Finding:
    """What is wrong with a resource of a stack; without a resource, with the stack as a whole."""

    resource: Resource | None
    found: Found


class UndecidedError(UnknownValueError):
    """Tells pulumi-policy that a policy could not be decided, which is an advice whatever the policy's level is.

    `advices` are its parts: a message, and the URN of the resource that it is about, if it is about one.
    """

    def __init__(self, unknown: Sequence[Finding]) -> None:
        places = sorted({str(one.found) for one in unknown if isinstance(one.found, NotYetKnown)})
        super().__init__(UNKNOWN_STRING_VALUE, places)
        self.advices: list[tuple[str, str | None]] = []
        if places:
            self.advices.append((f"not yet known: {', '.join(places)}; checked again in `pulumi up`", None))
        for found, urn in dict.fromkeys((one.found, one.resource.urn if one.resource else None) for one in unknown):
            if isinstance(found, NotDecided):
                self.advices.append((f"not decided: {found}", urn))
        self.message = ". ".join(message for message, _ in self.advices)


class ResourcePolicy(ResourceValidationPolicy):
    """A policy that looks at single resources, of the types that it `concerns`."""

    def __init__(self, *arguments: Any, concerns: TypeTest, **terms: Any) -> None:
        super().__init__(*arguments, **terms)
        self.concerns = concerns


def about(resource: Resource, check: Iterable[Found]) -> Iterator[Finding]:
    """The findings of a check about one resource of a stack; what it can't know keeps no other from being checked."""
    try:
        for found in check:
            yield Finding(resource, found)
    except UnknownValueError as error:
        yield Finding(resource, undecided_by(error, resource))
    if is_release(resource):
        yield from (Finding(resource, found) for found in unread_files(resource))


def passing(resources: Iterable[Resource], test: Callable[[Resource], bool]) -> tuple[list[Resource], list[Finding]]:
    """The resources that pass a test, and a finding for each of which that can't be said."""
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
    """Makes a policy of a check of one resource. `concerns` picks the types, and `where` resources of these types.

    It refuses a resource before it is made.
    """
    properties = _schema(terms)

    def made_of(check: Callable[[Resource, Limits], Iterable[Found]]) -> ResourcePolicy:
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

    return made_of


def stack_policy(
    name: str,
    description: str,
    **terms: Unpack[Terms],
) -> Callable[[Callable[[Stack, Limits], Iterable[Finding]]], StackValidationPolicy]:
    """Makes a policy of a check that has to see several resources at once.

    A preview refuses the stack; an `up` is refused when its resources are there already.
    """
    properties = _schema(terms)

    def made_of(check: Callable[[Stack, Limits], Iterable[Finding]]) -> StackValidationPolicy:
        def validate(args: StackValidationArgs, report: ReportViolation) -> None:
            stack = Stack.of(args.resources)
            # `pulumi policy analyze` (3.250.0) breaks at what is said of no resource.
            whole = next(stack.of_type("pulumi:pulumi:Stack"), None)
            _report(check(stack, _with_defaults(properties, args.get_config())), terms["fix"], report, whole)

        return StackValidationPolicy(
            name,
            description,
            validate,
            config_schema=PolicyConfigSchema(properties),
            **_metadata(terms),
        )

    return made_of


def _metadata(terms: Terms) -> dict[str, Any]:
    """What pulumi-policy takes of a policy's terms as they are."""
    return {
        "severity": terms["severity"],
        "enforcement_level": EnforcementLevel.ADVISORY if terms.get("advice") else None,
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
            "description": "How strict it is in a lab; enforcementLevel is how strict it is in production.",
        },
    }


def _with_defaults(properties: Mapping[str, dict[str, Any]], given: Mapping[str, Any]) -> Limits:
    return {**{key: schema["default"] for key, schema in properties.items()}, **given}


def _report(findings: Iterable[Finding], fix: str, report: ReportViolation, whole: Resource | None = None) -> None:
    """Reports what is wrong, and then raises for what could not be known. `whole` stands for the stack."""
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
