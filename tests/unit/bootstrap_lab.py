"""The roles of workflows in an account with two stacks, and what IAM would let them do."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import settings
from bootstrap import permissions
from bootstrap.configuration import StackFacts
from bootstrap.permissions import Account

PROJECT = Path(__file__).resolve().parents[2]
ACCOUNT = Account(
    partition="aws",
    id="123456789012",
    bucket_arn="arn:aws:s3:::gpulab-state-0123456",
    key_arn="arn:aws:kms:us-east-1:123456789012:key/2f1b0c9e-1111-2222-3333-444455556666",
)
IAM = "arn:aws:iam::123456789012"
STACKS = {
    name: StackFacts.of(
        settings.on_eks(settings.check_stack_file(PROJECT / f"Pulumi.{name}.yaml", name, datetime.date.min))
    )
    for name in ("dev", "prod")
}
KEYS = (
    "aws:RequestTag/Project",
    "aws:RequestTag/Stack",
    "aws:RequestedRegion",
    "aws:ResourceTag/Project",
    "aws:ResourceTag/Stack",
    "aws:ResourceTag/aws:eks:cluster-name",
    "ec2:CreateAction",
    "elasticfilesystem:CreateAction",
    "elasticloadbalancing:CreateAction",
    "iam:AWSServiceName",
    "iam:PassedToService",
    "iam:PermissionsBoundary",
    "kms:ResourceAliases",
    "route53:ChangeResourceRecordSetsNormalizedRecordNames",
)


def deploy(stack: str) -> list[str]:
    facts = STACKS[stack]
    own = [write(ACCOUNT, facts) for write in permissions.DEPLOY_POLICIES.values()]
    return [permissions.read_policy(), permissions.state_policy(ACCOUNT, facts), *own]


def preview() -> list[str]:
    return [permissions.read_policy(), permissions.preview_policy(ACCOUNT, list(STACKS.values()))]


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def matches(patterns: Any, text: str) -> bool:
    return any(fnmatchcase(text.lower(), one.lower()) for one in listed(patterns))


def holds(condition: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    """IAM's operators that these documents use. A missing key matches only the operators that allow it."""
    for operator, keys in condition.items():
        for key, wanted in keys.items():
            value = context.get(key)
            if operator == "Null":
                met = (value is None) == (wanted == "true")
            elif operator == "StringNotEquals":
                met = value is None or value not in listed(wanted)
            elif operator == "StringEquals":
                met = value is not None and value in listed(wanted)
            else:
                assert operator == "ForAllValues:StringLike"
                met = value is None or matches(wanted, value)
            if not met:
                return False
    return True


def may(documents: Iterable[str], action: str, resource: str, **context: str) -> bool:
    """Whether policies admit an action on a resource; `context` has condition keys, `:`, `/`, `-` written as `_`."""
    keys = {re.sub("[:/-]", "_", known): known for known in KEYS}
    given = {keys[name]: value for name, value in context.items()}
    effects = set()
    for document in documents:
        for one in json.loads(document)["Statement"]:
            concerns = matches(one["Action"], action) if "Action" in one else not matches(one["NotAction"], action)
            if concerns and matches(one["Resource"], resource) and holds(one.get("Condition", {}), given):
                effects.add(one["Effect"])
    return effects == {"Allow"}
