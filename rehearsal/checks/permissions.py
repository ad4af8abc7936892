"""Whether the roles that bootstrap/ creates for workflows allow the AWS calls that the engine made.

The check compares actions and the resources that calls name, but not conditions. The simulated AWS received the calls
of the stand-ins, which use boto3. The real providers make the same changes; they read more, which the roles' wildcards
for reading cover.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, cast

from botocore.loaders import Loader
from botocore.model import ServiceModel

from bootstrap import permissions
from bootstrap.configuration import StackFacts
from rehearsal.machine.engine import APPLICATION
from settings import EksSettings

from .checking import NotTried, Subject, require
from .permission_resources import Place, is_admitted, resources_of

# Botocore's name of a service, if it differs from the prefix of its permissions.
_MODELS = {"elasticfilesystem": "efs"}
# A bucket's settings: S3's name in a query, and IAM's name in an action.
_BUCKET_SETTINGS = {
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "policy": "BucketPolicy",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
}
_BUCKET = {"HEAD": "ListBucket", "PUT": "CreateBucket", "DELETE": "DeleteBucket"}
_BUCKET_LISTINGS = {"list-type": "ListBucket", "versions": "ListBucketVersions"}
_OBJECT = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "DELETE": "DeleteObject"}
# A preview's role looks for drift too.
_LOOKS = ("preview", "refresh")
_DEPLOYS = (*_LOOKS, "up", "destroy")
# The first call of these in an account creates the service's role, with the caller's permissions ("Using service-linked
# roles" in each service's guide).
_SERVICE_LINKED = {
    "ecr:CreatePullThroughCacheRule": "pullthroughcache.ecr.amazonaws.com",
    "eks:CreateCluster": "eks.amazonaws.com",
    "eks:CreateNodegroup": "eks-nodegroup.amazonaws.com",
    "elasticfilesystem:CreateFileSystem": "elasticfilesystem.amazonaws.com",
    "elasticloadbalancing:CreateLoadBalancer": "elasticloadbalancing.amazonaws.com",
    "rds:CreateDBInstance": "rds.amazonaws.com",
}
_POLICY_TYPES = ("aws:iam/policy:Policy", "aws:iam/rolePolicy:RolePolicy")


def admitted(
    calls: Mapping[str, Any], stack: EksSettings, resources: Iterable[Mapping[str, Any]], account_id: str
) -> str:
    """Returns how many actions the roles allow. Raises DoesNotHold with those that they don't.

    `calls` is the answer of `GET /gpulab/calls`, `resources` are those of the state while the stack was up.
    """
    facts = StackFacts.of(stack)
    account = permissions.Account(
        partition="aws", id=account_id, bucket_arn="arn:aws:s3:::states", key_arn="arn:aws:kms:us-east-1:1:key/1"
    )
    read = permissions.read_policy()
    roles = {
        "preview": [read, permissions.preview_policy(account, [facts])],
        "deploy": [
            read,
            permissions.state_policy(account, facts),
            *(write(account, facts) for write in permissions.DEPLOY_POLICIES.values()),
        ],
    }
    seen = {"preview": _actions(calls, _LOOKS), "deploy": _actions(calls, _DEPLOYS)}
    for role, documents in roles.items():
        missing = sorted(action for action in seen[role] if not admits(documents, action))
        require(not missing, f"the {role} role of bootstrap/iam_actions.py lacks {', '.join(missing)}")
    roleless = [
        service
        for action, service in _SERVICE_LINKED.items()
        if action in seen["deploy"] and not _lets_make_its_role(roles["deploy"], service)
    ]
    require(
        not roleless,
        f"the deploy role of bootstrap/permissions.py lacks iam:CreateServiceLinkedRole for {', '.join(roleless)}",
    )
    boundary = permissions.boundary_policy(account, [facts])
    beyond = sorted({action for action in _allowed(resources) if not admits([boundary], action)})
    require(
        not beyond, f"the boundary of bootstrap/permissions.py does not allow the stack's roles {', '.join(beyond)}"
    )
    named, undecided = _resources(calls, roles["deploy"], Place("aws", stack.region, account_id))
    counts = {role: len(actions) for role, actions in seen.items()}
    return (
        f"deploy {counts['deploy']} actions on {named} named resources, preview {counts['preview']} actions; the "
        "boundary allows the actions of the stack's roles"
        + (f"; not decided, because calls do not name the resource: {', '.join(undecided)}" if undecided else "")
    )


def pods_are_admitted(calls: Mapping[str, Any]) -> str:
    """Returns how many calls the controllers made with their own roles. Raises DoesNotHold with those refused."""
    refused = [f"{why} ({count} times)" for why, count in calls["refused"].items()]
    require(not refused, "; ".join(refused))
    roles = {role.rpartition("/")[2] for role in calls["pods"].values()}
    count = sum(calls["keys"].get(key, 0) for key in calls["pods"])
    require(count > 0, "no controller made a call with the role of its Pod Identity")
    return f"{count} calls by {', '.join(sorted(roles))}"


def roles_are_bounded(subject: Subject) -> str:
    """Each role of the stack has the boundary that the stack file names."""
    boundary = subject.settings.permissions_boundary
    if boundary is None:
        raise NotTried("the stack file has no permissionsBoundary")
    roles = [resource["outputs"]["name"] for resource in subject.resources if resource["type"] == "aws:iam/role:Role"]
    iam = subject.account.client("iam")
    unbounded = [
        name
        for name in roles
        if iam.get_role(RoleName=name)["Role"].get("PermissionsBoundary", {}).get("PermissionsBoundaryArn") != boundary
    ]
    require(bool(roles), "the stack has no roles")
    require(not unbounded, f"these roles do not have the boundary {boundary}: {', '.join(unbounded)}")
    return f"{len(roles)} roles have the boundary {boundary.partition('/')[2]}"


PERMISSION_CHECKS = {"roles are within the boundary": roles_are_bounded}


def _resources(calls: Mapping[str, Any], documents: list[str], place: Place) -> tuple[int, list[str]]:
    """How many resources of calls the policies allow, and the actions that are not decided. Raises DoesNotHold."""
    decided: dict[tuple[str, str], bool | None] = {}
    statements = [statement for document in documents for statement in json.loads(document)["Statement"]]
    for command in _DEPLOYS:
        for call, parameters in calls.get("requests", {}).get(APPLICATION.format(command=command), []):
            action, path = _resolved(call)
            for arn in resources_of(action, {**parameters, **path}, place):
                if (action, arn) not in decided:
                    decided[action, arn] = is_admitted(_patterns(statements, action), arn)
    beyond = sorted(f"{action} on {arn}" for (action, arn), admitted in decided.items() if admitted is False)
    require(not beyond, f"the deploy role of bootstrap/iam_actions.py may not {', '.join(beyond)}")
    undecided = sorted({action for (action, _), admitted in decided.items() if admitted is None})
    return sum(admitted is True for admitted in decided.values()), undecided


def _patterns(statements: Iterable[Mapping[str, Any]], action: str) -> list[str]:
    """The resources of all statements that allow an action."""
    allowing = [
        statement for statement in statements if statement["Effect"] == "Allow" and _concerns(statement, action)
    ]
    return [pattern for statement in allowing for pattern in _listed(statement["Resource"])]


def admits(documents: Iterable[str], action: str) -> bool:
    """Whether policies allow an action on some resource: one allows it, and none denies it on every resource."""
    statements = [statement for document in documents for statement in json.loads(document)["Statement"]]
    denied = any(
        statement["Effect"] == "Deny"
        and statement.get("Resource") == "*"
        and "Condition" not in statement
        and _concerns(statement, action)
        for statement in statements
    )
    return not denied and any(
        statement["Effect"] == "Allow" and _concerns(statement, action) for statement in statements
    )


def _lets_make_its_role(documents: Iterable[str], service: str) -> bool:
    """Whether policies allow a service to create its role in the account."""
    statements = [statement for document in documents for statement in json.loads(document)["Statement"]]
    return any(
        service in statement.get("Condition", {}).get("StringEquals", {}).get("iam:AWSServiceName", ())
        for statement in statements
        if statement["Effect"] == "Allow" and _concerns(statement, "iam:CreateServiceLinkedRole")
    )


def _concerns(statement: Mapping[str, Any], action: str) -> bool:
    """Whether a statement is about an action. Upper and lower case do not matter."""
    patterns = _listed(statement.get("Action") or statement["NotAction"])
    matched = any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)
    return matched == ("Action" in statement)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _allowed(resources: Iterable[Mapping[str, Any]]) -> Iterable[str]:
    """The actions that the policies of the stack's own roles allow."""
    for resource in resources:
        if resource["type"] not in _POLICY_TYPES:
            continue
        for statement in _listed(json.loads(resource["outputs"]["policy"])["Statement"]):
            if statement["Effect"] == "Allow":
                yield from _listed(statement.get("Action", []))


def _actions(calls: Mapping[str, Any], commands: Iterable[str]) -> set[str]:
    counted = calls["applications"]
    return {iam_action(call) for command in commands for call in counted.get(APPLICATION.format(command=command), {})}


def iam_action(call: str) -> str:
    """The IAM action of a call as `rehearsal.cloud.calls` notes it: `eks:POST /clusters` takes eks:CreateCluster."""
    return _resolved(call)[0]


def _resolved(call: str) -> tuple[str, dict[str, str]]:
    """The IAM action of a call, and the parameters in its path."""
    service, _, operation = call.partition(":")
    method, blank, path = operation.partition(" ")
    if not blank:
        return call, {}
    if service == "s3":
        bucket, _, key = path.strip("/").partition("?")[0].partition("/")
        return f"s3:{_s3_action(method, path)}", {"Bucket": bucket, "Key": key}
    path = path.rstrip("/")
    fitting = [
        (literal, name, found.groupdict())
        for name, wanted, pattern, literal in _operations(_MODELS.get(service, service))
        if wanted == method and (found := pattern.fullmatch(path))
    ]
    if not fitting:
        raise ValueError(f"botocore knows no operation of {service} for {call}")
    # An ARN in a path contains slashes, so shorter paths match too.
    _, name, parameters = max(fitting, key=lambda operation: operation[:2])
    return f"{service}:{name}", parameters


def _s3_action(method: str, path: str) -> str:
    bucket, _, setting = path.strip("/").partition("?")
    if "/" in bucket:
        return _OBJECT[method]
    if setting in _BUCKET_LISTINGS:
        return _BUCKET_LISTINGS[setting]
    if not setting:
        return _BUCKET[method]
    if method == "DELETE" and setting == "policy":
        return "DeleteBucketPolicy"
    # Removing a setting needs the permission to set it ("Actions, resources, and condition keys for Amazon S3").
    return f"{'Get' if method == 'GET' else 'Put'}{_BUCKET_SETTINGS[setting]}"


@functools.cache
def _operations(service: str) -> list[tuple[str, str, re.Pattern[str], int]]:
    """Each operation of a service: its name, its method, a pattern of its path, and the length of the fixed parts."""
    # A session would read the profile that the user's environment names.
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    found = []
    for name in cast("list[str]", model.operation_names):
        http = model.operation_model(name).http
        path = http["requestUri"].partition("?")[0].rstrip("/")
        # Every second piece is the name of a parameter.
        pieces = re.split(r"\{([^}+]+)\+?\}", path)
        parts = [
            f"(?P<{piece.replace('-', '_')}>.+)" if index % 2 else re.escape(piece)
            for index, piece in enumerate(pieces)
        ]
        found.append((name, http["method"], re.compile("".join(parts)), sum(map(len, pieces[::2]))))
    return found
