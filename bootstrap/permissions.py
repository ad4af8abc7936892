"""What the workflows' roles may do, as IAM documents. `bootstrap/iam_actions.py` lists the actions.

A rehearsal checks every call of the program against these documents (rehearsal/checks/permissions.py), so it reports a
component that needs more.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap import iam_actions
from bootstrap.configuration import PROJECT as BOOTSTRAP
from bootstrap.configuration import StackFacts
from components.iam import Statement, policy_document
from settings.images import cache_namespace
from settings.stack import PROJECT

PATH = f"/{BOOTSTRAP}/"
"""The path of the bootstrap's roles and policies, which no stack may change."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account, and what the bootstrap keeps in it."""

    partition: str
    id: str
    bucket_arn: str
    key_arn: str

    @property
    def boundary_arn(self) -> str:
        """The ARN of the permissions boundary of every role that a stack makes."""
        return self.iam(f"policy{PATH}{PROJECT}-boundary")

    def iam(self, resource: str) -> str:
        """The ARN of an IAM resource."""
        return f"arn:{self.partition}:iam::{self.id}:{resource}"

    def arn(self, service: str, region: str, resource: str) -> str:
        """The ARN of a service's resource in a region."""
        return f"arn:{self.partition}:{service}:{region}:{self.id}:{resource}"


def statement(sid: str, allowed: Sequence[str], resources: Sequence[str] = ("*",), **condition: Any) -> Statement:
    """A statement that allows actions; `condition` maps operators to their keys and values."""
    made: Statement = {"Sid": sid, "Effect": "Allow", "Action": list(allowed), "Resource": list(resources)}
    return {**made, "Condition": condition} if condition else made


def read_policy() -> str:
    """Allows reading all resources of the platform."""
    return policy_document(statement("Look", iam_actions.READ_ONLY))


def secrets_policy(stacks: Sequence[StackFacts]) -> Statement:
    """Allows reading the secrets that the stack files name: the program compares them with what it rolled out."""
    named = sorted({arn for stack in stacks for arn in stack.secrets})
    # A statement must have a resource, so there is none without secrets.
    return statement("ReadNamedSecrets", ["secretsmanager:GetSecretValue"], named) if named else {}


def preview_policy(account: Account, stacks: Sequence[StackFacts]) -> str:
    """In addition to `read_policy`: to read the states with their secrets, and the secrets that stack files name."""
    statements = [
        statement("ReadStates", ["s3:GetObject"], [f"{account.bucket_arn}/.pulumi/*"]),
        statement("DecryptStates", ["kms:Decrypt"], [account.key_arn]),
        secrets_policy(stacks),
    ]
    return policy_document(*filter(None, statements))


def state_policy(account: Account, stack: StackFacts) -> str:
    """In addition to `read_policy`: to change a stack's own state. Old versions stay, and no stack may delete them."""
    own = [
        f"{account.bucket_arn}/.pulumi/{path}"
        for path in (
            f"stacks/{PROJECT}/{stack.stack}.json*",
            f"history/{PROJECT}/{stack.stack}/*",
            f"backups/{PROJECT}/{stack.stack}/*",
            f"locks/organization/{PROJECT}/{stack.stack}/*",
        )
    ]
    statements = [
        statement("ReadMeta", ["s3:GetObject"], [f"{account.bucket_arn}/.pulumi/meta.yaml"]),
        statement("KeepOwnState", ["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], own),
        statement("EncryptStates", ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"], [account.key_arn]),
        secrets_policy([stack]),
    ]
    return policy_document(*filter(None, statements))


def named_policy(account: Account, stack: StackFacts) -> str:
    """In addition to `read_policy`: to make, change and delete what has the cluster's name or the stack's tags."""
    region, name = stack.region, stack.cluster
    return policy_document(
        *(
            statement(
                f"Make{service.title()}",
                [f"{service}:{verb}" for verb in verbs],
                [
                    account.arn(service, region, resource.format(name=name, cache=cache_namespace(name)))
                    for resource in resources
                ],
            )
            for service, (verbs, resources) in iam_actions.NAMED.items()
        ),
        statement(
            "MakeBuckets",
            [
                "s3:CreateBucket", "s3:DeleteBucket*", "s3:DeleteObject*", "s3:PutBucket*",
                "s3:PutEncryptionConfiguration", "s3:PutLifecycleConfiguration", "s3:TagResource", "s3:UntagResource",
            ],
            [f"arn:{account.partition}:s3:::{name}-*", f"arn:{account.partition}:s3:::{name}-*/*"],
        ),
        statement("NameKeys", ["kms:*Alias"], [account.arn("kms", region, f"alias/{name}-*")]),
        # A new key has no tags yet by which to recognise it. But it has no alias either, and a key that is in use has
        # one.
        {
            **statement("TagNewKeys", ["kms:TagResource"], [account.arn("kms", region, "key/*")]),
            "Condition": {
                "StringEquals": _tags("Request", stack),
                "ForAllValues:StringLike": {"kms:ResourceAliases": [f"alias/{name}-*"]},
            },
        },
        statement(
            "MakeKeys",
            iam_actions.KEY,
            [account.arn("kms", region, "key/*")],
            StringEquals=_tags("Resource", stack),
        ),
    )  # fmt: skip


def nameless_policy(account: Account, stack: StackFacts) -> str:
    """In addition to `read_policy`: to make unnamed resources in the stack's region. Denies changes of other stacks."""
    here = {"aws:RequestedRegion": stack.region}
    statements = [
        statement("MakeNameless", iam_actions.NEW, StringEquals=here),
        statement("ChangeWhatHasNoTags", iam_actions.UNTAGGED, StringEquals=here),
        *(
            statement(f"TagNew{number}", [action], StringEquals=here, Null={making: "false"})
            for number, (action, making) in enumerate(iam_actions.MAKING.items())
        ),
        # These don't show whether the resource is new. A role that tags another stack's resource may then change it.
        statement(
            "TagNewOrUntagged",
            ["acm:AddTagsToCertificate", "backup:TagResource"],
            StringEquals={**here, **_tags("Request", stack)},
        ),
        _records(account, stack.domain),
        {
            "Sid": "LeaveOtherStacksAlone",
            "Effect": "Deny",
            "NotAction": list(iam_actions.READ_ONLY),
            "Resource": "*",
            "Condition": {
                "Null": {"aws:ResourceTag/Stack": "false"},
                "StringNotEquals": {"aws:ResourceTag/Stack": stack.stack},
            },
        },
        {
            "Sid": "LeaveTheBootstrapAlone",
            "Effect": "Deny",
            # What `state_policy` and the search for leftovers need, without object versions and the protection of
            # bucket and key.
            "NotAction": [
                "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ListResourceTags",
                "s3:DeleteObject", "s3:GetBucketTagging", "s3:GetObject", "s3:ListBucket", "s3:PutObject",
            ],
            "Resource": [account.bucket_arn, f"{account.bucket_arn}/*", account.key_arn],
        },
    ]  # fmt: skip
    return policy_document(*filter(None, statements))


def own_policy(account: Account, stack: StackFacts) -> str:
    """In addition to `nameless_policy`: to change and delete what it makes, which has the stack's tags."""
    groups = [account.arn("ec2", stack.region, "security-group/*")]
    return policy_document(
        statement(
            "ChangeOwn",
            iam_actions.OWN,
            StringEquals={"aws:RequestedRegion": stack.region, **_tags("Resource", stack)},
        ),
        # Making or changing a rule also needs the rights for its group, so this does not need tags.
        statement(
            "ChangeRulesOfGroups",
            ["ec2:AuthorizeSecurityGroup*", "ec2:ModifySecurityGroupRules"],
            [account.arn("ec2", stack.region, "security-group-rule/*")],
        ),
        # EKS makes the nodes' group, with its own tags.
        statement(
            "ChangeClustersGroup",
            ["ec2:*SecurityGroupEgress", "ec2:*SecurityGroupIngress", "ec2:CreateTags", "ec2:DeleteTags",
             "ec2:ModifySecurityGroupRules"],
            groups,
            StringEquals={"aws:ResourceTag/aws:eks:cluster-name": stack.cluster},
        ),
        # A VPC's default group has no tags. The program tags it before it removes its rules.
        statement(
            "TakeOverDefaultGroup",
            ["ec2:CreateTags"],
            groups,
            StringEquals=_tags("Request", stack),
            Null={"aws:ResourceTag/Project": "true", "aws:ResourceTag/Stack": "true"},
        ),
    )  # fmt: skip


def _tags(whose: str, stack: StackFacts) -> dict[str, str]:
    """A condition on the stack's tags, of the resource or of the request."""
    return {f"aws:{whose}Tag/Project": PROJECT, f"aws:{whose}Tag/Stack": stack.stack}


def _records(account: Account, domain: str | None) -> Statement:
    """Allows changing DNS names at and below the stack's domain, and no others in any zone."""
    if domain is None:
        return {}
    return statement(
        "NamePublishedServices",
        ["route53:ChangeResourceRecordSets"],
        [f"arn:{account.partition}:route53:::hostedzone/*"],
        **{
            "ForAllValues:StringLike": {
                "route53:ChangeResourceRecordSetsNormalizedRecordNames": [domain, f"*.{domain}"]
            },
            "Null": {"route53:ChangeResourceRecordSetsNormalizedRecordNames": "false"},
        },
    )


def iam_policy(account: Account, stack: StackFacts) -> str:
    """In addition to `read_policy`: to make roles and policies with the cluster's name, each role with the boundary.

    Without the boundary, it could make a role that may do everything, and pass it to its own instance.
    """
    roles, policies = account.iam(f"role/{stack.cluster}-*"), account.iam(f"policy/{stack.cluster}-*")
    return policy_document(
        statement(
            "MakeBoundedRoles",
            ["iam:*RolePolicy", "iam:CreateRole", "iam:PutRolePermissionsBoundary"],
            [roles],
            StringEquals={"iam:PermissionsBoundary": account.boundary_arn},
        ),
        statement(
            "KeepRoles",
            ["iam:DeleteRole", "iam:TagRole", "iam:UntagRole", "iam:UpdateAssumeRolePolicy", "iam:UpdateRole*"],
            [roles],
        ),
        statement(
            "MakePolicies",
            [
                "iam:CreatePolicy*",
                "iam:DeletePolicy*",
                "iam:SetDefaultPolicyVersion",
                "iam:TagPolicy",
                "iam:UntagPolicy",
            ],
            [policies],
        ),
        statement(
            "MakeInstanceProfiles", ["iam:*InstanceProfile"], [account.iam(f"instance-profile/{stack.cluster}-*")]
        ),
        statement(
            "PassRoles", ["iam:PassRole"], [roles], StringEquals={"iam:PassedToService": list(iam_actions.PASSED_TO)}
        ),
        statement(
            "LetServicesMakeTheirRole",
            ["iam:CreateServiceLinkedRole"],
            [account.iam("role/aws-service-role/*")],
            StringEquals={"iam:AWSServiceName": list(iam_actions.SERVICE_LINKED)},
        ),
        {
            "Sid": "KeepBoundaries",
            "Effect": "Deny",
            "Action": ["iam:DeleteRolePermissionsBoundary"],
            "Resource": "*",
        },
        {
            "Sid": "LeaveTheBootstrapAlone",
            "Effect": "Deny",
            "NotAction": ["iam:Get*", "iam:List*"],
            "Resource": [account.iam(f"role{PATH}*"), account.iam(f"policy{PATH}*"), account.iam("oidc-provider/*")],
        },
    )


DEPLOY_POLICIES: Mapping[str, Callable[[Account, StackFacts], str]] = {
    "named": named_policy,
    "nameless": nameless_policy,
    "iam": iam_policy,
    "own": own_policy,
}
"""A deploy role's policies in addition to `read_policy` and `state_policy`, by purpose.

IAM limits a policy's length.
"""


def boundary_policy(account: Account, stacks: Sequence[StackFacts]) -> str:
    """The boundary of a stack's roles, whatever their own policies say.

    They may not assume other roles, change permissions, read secrets, or use the states and their key. Karpenter may
    pass the role that the stack made for its nodes.
    """
    return policy_document(
        {
            "Sid": "AnythingElse",
            "Effect": "Allow",
            "NotAction": [
                "account:*", "cloudtrail:*", "iam:*", "organizations:*", "secretsmanager:*", "sso:*", "sts:*",
            ],
            "Resource": "*",
        },
        statement("LookAtRoles", ["iam:Get*", "iam:List*", "sts:GetCallerIdentity"]),
        statement("MakeInstanceProfiles", ["iam:*InstanceProfile", "iam:CreateServiceLinkedRole"]),
        statement("PassOwnRoles", ["iam:PassRole"], [account.iam(f"role/{stack.cluster}-*") for stack in stacks]),
        {
            "Sid": "LeaveTheBootstrapAlone",
            "Effect": "Deny",
            "Action": "*",
            "Resource": [
                account.bucket_arn, f"{account.bucket_arn}/*", account.key_arn,
                account.iam(f"role{PATH}*"), account.iam(f"policy{PATH}*"),
            ],
        },
    )  # fmt: skip


def trust_policy(provider_arn: str, subjects: Sequence[str]) -> str:
    """Who may assume a role: jobs of the repository whose tokens have one of these subjects."""
    issuer = provider_arn.partition("/")[2]
    return policy_document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{issuer}:aud": "sts.amazonaws.com", f"{issuer}:sub": list(subjects)}},
        }
    )
