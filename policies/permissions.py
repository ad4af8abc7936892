"""IAM: no policy allows everything, on everything, or to everybody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import contracts
from policies.reading.documents import (
    PERMISSIONS,
    RESOURCE_POLICIES,
    actions,
    changes,
    name_of,
    principals,
    resources,
    statements,
)
from policies.reading.resources import Resource, at, is_kind, is_type, texts
from policies.rules import CRITICAL, HIGH, Found, Limits, best_practices, cis, resource_policy

_LEAST = best_practices("Security: Identity and access management, employ least privileged access")
# "Permissions boundaries for IAM entities", AWS IAM User Guide: a boundary limits, and grants nothing.
_BOUNDARIES = {
    "type": "array",
    "items": {"type": "string"},
    "default": [],
    "description": "Names of IAM policies that serve only as permissions boundaries, which grant nothing.",
}


@resource_policy(
    "iam-action-wildcard",
    "No IAM policy allows every action, or every action of a service",
    fix="Name the actions in Statement[].Action",
    severity=CRITICAL,
    concerns=is_type(*PERMISSIONS),
    framework=_LEAST,
    limits={"boundaries": _BOUNDARIES},
)
def iam_action_wildcard(policy: Resource, limits: Limits) -> Iterator[Found]:
    """An attacker in the pod gets all of these permissions."""
    if _is_boundary(policy, limits):
        return
    for statement in statements(policy, PERMISSIONS):
        wide = [one for one in actions(statement) if one == "*" or one.endswith(":*")]
        if wide:
            yield f"{name_of(statement)} allows {', '.join(wide)}"


@resource_policy(
    "iam-resource-wildcard",
    "No IAM policy allows changes to every resource",
    fix="Name the resources in Statement[].Resource, or narrow them by a Condition on their tags",
    severity=HIGH,
    concerns=is_type(*PERMISSIONS),
    framework=_LEAST,
    limits={
        "boundaries": _BOUNDARIES,
        "actions": {
            "type": "array",
            "items": {"type": "string"},
            "default": [],
            "description": "Actions that change something but that IAM cannot limit to a resource.",
        },
        "published": {
            "type": "boolean",
            "default": True,
            "description": "Whether to accept statements of the published policies in contracts/iam.",
        },
    },
)
def iam_resource_wildcard(policy: Resource, limits: Limits) -> Iterator[Found]:
    """Reading may need `*`, because listings have no resource. A condition, on tags or a region, is accepted.

    A statement that is published upstream is accepted: users of the AWS Load Balancer Controller cannot narrow it.
    """
    if _is_boundary(policy, limits):
        return
    published = contracts.published_statements() if limits["published"] else ()
    for statement in statements(policy, PERMISSIONS):
        if statement in published:
            continue
        if "*" in resources(statement) and not at(statement, "Condition", {}):
            wide = [one for one in actions(statement) if changes(one) and one not in limits["actions"]]
            if wide:
                yield f"{name_of(statement)} allows {', '.join(wide[:3])} on every resource"


def _is_boundary(policy: Resource, limits: Limits) -> bool:
    return policy.resource_type == "aws:iam/policy:Policy" and policy.props.get("name") in limits["boundaries"]


@resource_policy(
    "iam-wildcard-principal",
    "No resource policy admits everybody",
    fix="Name the roles or services in Statement[].Principal, or narrow them by a Condition",
    severity=CRITICAL,
    concerns=is_type(*RESOURCE_POLICIES),
    framework=_LEAST,
)
def iam_wildcard_principal(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """The principal `*` is every AWS account. A condition that names an account or a network is accepted."""
    if RESOURCE_POLICIES[resource.resource_type] not in set(resource.props):
        return
    for statement in statements(resource, RESOURCE_POLICIES):
        if "*" in principals(statement) and not at(statement, "Condition", {}):
            yield f"{name_of(statement)} admits every AWS account"


@resource_policy(
    "iam-administrator-policy",
    "No role of a workload or node has AdministratorAccess",
    fix="Set policyArn to a policy that allows only what is needed",
    severity=CRITICAL,
    concerns=is_type(
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment",
        "aws:iam/userPolicyAttachment:UserPolicyAttachment",
        "aws:iam/role:Role",
    ),
    framework=_LEAST,
)
def iam_administrator_policy(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """A pod with such a role controls the account."""
    given: list[Any] = texts(resource.props.get("managedPolicyArns"))
    if "policyArn" in set(resource.props):
        given = texts(resource.props.get("policyArn"))
    for arn in given:
        if str(arn).rpartition("/")[2] in ("AdministratorAccess", "PowerUserAccess", "IAMFullAccess"):
            yield f"it attaches {arn.rpartition('/')[2]}"


@resource_policy(
    "cluster-role-wildcard",
    "No Kubernetes role allows everything or can read every Secret",
    fix="Name apiGroups, resources and verbs in rules[]",
    severity=HIGH,
    concerns=is_kind("ClusterRole", "Role"),
    framework=cis("4.1.3"),
)
def cluster_role_wildcard(role: Resource, _limits: Limits) -> Iterator[Found]:
    """An attacker in such a pod controls the cluster."""
    for index, rule in enumerate(at(role.props, "rules", [])):
        kinds, verbs = texts(rule.get("resources")), texts(rule.get("verbs"))
        if "*" in kinds and "*" in verbs:
            yield f"rules[{index}] allows every verb on every resource"
        everywhere = role.resource_type.endswith(":ClusterRole") and not rule.get("resourceNames")
        if everywhere and "secrets" in kinds and {"get", "list", "watch", "*"} & set(verbs):
            yield f"rules[{index}] can read the Secrets of every namespace"
