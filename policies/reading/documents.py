"""IAM policy documents: who may do what to which resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.reading.resources import NotDecidedError, Resource, items, parsed, texts

Statement = Mapping[str, Any]

_INLINE = "inlinePolicies"
PERMISSIONS: Mapping[str, str] = {
    "aws:iam/role:Role": _INLINE,
    "aws:iam/policy:Policy": "policy",
    "aws:iam/rolePolicy:RolePolicy": "policy",
    "aws:iam/userPolicy:UserPolicy": "policy",
    "aws:iam/groupPolicy:GroupPolicy": "policy",
}
"""The property of each type that holds the document with what a principal may do."""

RESOURCE_POLICIES: Mapping[str, str] = {
    "aws:iam/role:Role": "assumeRolePolicy",
    "aws:kms/key:Key": "policy",
    "aws:kms/keyPolicy:KeyPolicy": "policy",
    "aws:s3/bucketPolicy:BucketPolicy": "policy",
    "aws:sqs/queue:Queue": "policy",
    "aws:sqs/queuePolicy:QueuePolicy": "policy",
    "aws:sns/topicPolicy:TopicPolicy": "policy",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "policy",
    "aws:ecr/repositoryPolicy:RepositoryPolicy": "policy",
    "aws:secretsmanager/secretPolicy:SecretPolicy": "policy",
    "aws:backup/vaultPolicy:VaultPolicy": "policy",
}
"""The property of each type that holds the document with who may use the resource."""

_READS = (
    "Get",
    "List",
    "Describe",
    "BatchGet",
    "BatchCheck",
    "Search",
    "Lookup",
    "Query",
    "Scan",
    "View",
    "Check",
    "Test",
)
"""Prefixes of actions that change nothing ("Actions, resources, and condition keys for AWS services")."""


def statements(resource: Resource, places: Mapping[str, str]) -> Iterator[Statement]:
    """The statements that allow something.

    Raises UnknownValueError if the document is not known yet, NotDecidedError if it is not an IAM document.
    """
    for given in _documents(resource, places[resource.resource_type]):
        document = parsed(given) if isinstance(given, str) else given
        if not isinstance(document, Mapping):
            raise NotDecidedError(f"{places[resource.resource_type]} of {resource.name}: it is not a JSON document")
        found = document.get("Statement")
        for statement in [found] if isinstance(found, Mapping) else items(found):
            if statement.get("Effect") == "Allow":
                yield statement


def _documents(resource: Resource, place: str) -> list[Any]:
    given = resource.props.get(place)
    if place == _INLINE:
        return [one["policy"] for one in items(given) if "policy" in set(one)]
    return [] if given is None else [given]


def actions(statement: Statement) -> list[str]:
    """The actions of a statement. NotAction counts as all actions."""
    return ["*"] if "NotAction" in statement else texts(statement.get("Action"))


def resources(statement: Statement) -> list[str]:
    """The resources of a statement. NotResource counts as all resources."""
    return ["*"] if "NotResource" in statement else texts(statement.get("Resource"))


def changes(action: str) -> bool:
    """Whether an action may change something: `ec2:*` may, `ec2:Describe*` does not."""
    name = action.partition(":")[2] or action
    return not name.startswith(_READS)


def principals(statement: Statement) -> list[str]:
    """The AWS principals of a statement. `*` is everybody."""
    given = statement.get("Principal")
    if isinstance(given, str):
        return [given]
    return texts(given.get("AWS")) if isinstance(given, Mapping) else []


def name_of(statement: Statement) -> str:
    """The statement's Sid, or a description by which people find it."""
    return str(statement.get("Sid") or "the statement that allows " + ", ".join(actions(statement)[:3]))
