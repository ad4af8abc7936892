"""Whether the EBS CSI driver may encrypt with a key: EC2 would make the volume, and then take it away again.

The driver acts as the role of its service account's Pod Identity association. IAM's decision is taken as far as is
needed here: an action is allowed by a statement of the role's policies whose actions and resources match; the key's own
policy is the default one, which leaves it to IAM.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import unquote

from botocore.exceptions import ClientError

from rehearsal.controllers.world import World

_NAMESPACE, _SERVICE_ACCOUNT = "kube-system", "ebs-csi-controller-sa"
NEEDED = ("kms:CreateGrant", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext")
"""What EC2 does with the caller's permissions ("Amazon EBS encryption", EBS user guide)."""


def key_problem(world: World, addon: dict[str, Any], key: str) -> str | None:
    """Why the driver's volumes can't be encrypted with a key; None when they can. `addon` is as EKS describes it."""
    try:
        found = world.aws.client("kms").describe_key(KeyId=key)["KeyMetadata"]
    except ClientError as error:
        return f"the key {key}: {error.response['Error'].get('Message', error)}"
    if found["KeyState"] != "Enabled":
        return f"the key {key} is {found['KeyState']}"
    roles = list(_roles(world, addon))
    if not roles:
        return "the driver has no role: its service account has no Pod Identity association"
    statements = [statement for role in roles for statement in _statements(world, role)]
    denied = [action for action in NEEDED if not allows(statements, action, found["Arn"])]
    return f"{roles[0]} may not {', '.join(denied)} with the key {key}" if denied else None


def allows(statements: Iterable[dict[str, Any]], action: str, resource: str) -> bool:
    """Whether statements of identity policies allow an action on a resource; their conditions are taken as met."""
    matching = [
        statement["Effect"]
        for statement in statements
        if _matches(statement.get("Action"), action) and _matches(statement.get("Resource"), resource)
    ]
    return "Allow" in matching and "Deny" not in matching


def _matches(patterns: Any, value: str) -> bool:
    listed = patterns if isinstance(patterns, list) else [patterns] if patterns else []
    return any(fnmatch.fnmatchcase(value.lower(), pattern.lower()) for pattern in listed)


def _roles(world: World, addon: dict[str, Any]) -> Iterator[str]:
    eks = world.aws.client("eks")
    cluster = addon["clusterName"]
    for one in eks.list_pod_identity_associations(
        clusterName=cluster, namespace=_NAMESPACE, serviceAccount=_SERVICE_ACCOUNT
    )["associations"]:
        found = eks.describe_pod_identity_association(clusterName=cluster, associationId=one["associationId"])
        yield found["association"]["roleArn"].rpartition("/")[2]


def _statements(world: World, role: str) -> Iterator[dict[str, Any]]:
    iam = world.aws.client("iam")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        yield from _of(iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
    for attached in iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]:
        arn = attached["PolicyArn"]
        version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        yield from _of(iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"])


def _of(document: Any) -> list[dict[str, Any]]:
    if isinstance(document, str):
        document = json.loads(unquote(document))
    statements = document["Statement"]
    return statements if isinstance(statements, list) else [statements]
