"""What the roles of workflows may do, as IAM documents.

Actions, and which of them know which resources and conditions, are those of AWS's "Service Authorization Reference".
A rehearsal holds every call of the program against these documents (rehearsal/permission_checks.py): a component that
needs more says so there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.configuration import PROJECT as BOOTSTRAP
from bootstrap.configuration import StackFacts
from settings.images import cache_namespace
from settings.stack import PROJECT

Statement = dict[str, Any]

PATH = f"/{BOOTSTRAP}/"
"""Of the bootstrap's roles and policies: nothing of it is a stack's to change."""
READ_ONLY = (
    "acm:Describe*", "acm:List*",
    "backup:Describe*", "backup:Get*", "backup:List*",
    "ec2:Describe*", "ec2:GetManagedPrefixListEntries", "ec2:GetSecurityGroupsForVpc",
    "ecr:Describe*", "ecr:ListTagsForResource",
    "eks:Describe*", "eks:List*",
    "elasticfilesystem:Describe*", "elasticfilesystem:List*",
    "elasticloadbalancing:Describe*",
    "events:Describe*", "events:List*",
    "iam:GetInstanceProfile", "iam:GetOpenIDConnectProvider", "iam:GetPolicy", "iam:GetPolicyVersion", "iam:GetRole",
    "iam:GetRolePolicy", "iam:List*",
    "kms:DescribeKey", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:List*",
    "logs:Describe*", "logs:List*",
    "pricing:GetProducts",
    "rds:Describe*", "rds:List*",
    "route53:Get*", "route53:List*",
    # What is set on buckets, and which there are; nothing that is in them.
    "s3:GetAccelerateConfiguration", "s3:GetBucket*", "s3:GetEncryptionConfiguration", "s3:GetLifecycleConfiguration",
    "s3:GetReplicationConfiguration", "s3:ListAllMyBuckets", "s3:ListBucket", "s3:ListBucketVersions",
    "s3:ListTagsForResource",
    "secretsmanager:DescribeSecret", "secretsmanager:ListSecrets",
    "servicequotas:Get*", "servicequotas:List*",
    "sqs:GetQueueAttributes", "sqs:GetQueueUrl", "sqs:List*",
    "sts:GetCallerIdentity",
    "tag:GetResources",
    "wafv2:Get*", "wafv2:List*",
)  # fmt: skip
"""What the services that the platform is made of say of themselves, and nothing that is kept in them."""
# Of what has no name of ours, what makes it: held to the stack's region.
_NEW = (
    "acm:RequestCertificate",
    "backup:CreateBackupPlan", "backup-storage:MountCapsule",
    "ec2:AllocateAddress", "ec2:CreateFlowLogs", "ec2:CreateInternetGateway", "ec2:CreateLaunchTemplate",
    "ec2:CreateNatGateway", "ec2:CreateNetworkInterface", "ec2:CreateRouteTable", "ec2:CreateSecurityGroup",
    "ec2:CreateSubnet", "ec2:CreateVpc", "ec2:CreateVpcEndpoint",
    # Of the NAT instance. And EKS asks it of whoever makes a node group with a launch template.
    "ec2:RunInstances",
    # It knows no resource. What it fills are repositories with the cluster's name.
    "ecr:CreatePullThroughCacheRule",
    "elasticfilesystem:CreateFileSystem",
    "elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup",
    "kms:CreateKey",
)  # fmt: skip
# What changes and ends it, and makes its parts: where it has the stack's tags. Each of these knows `aws:ResourceTag` of
# every resource that it is about.
_OWN = (
    "acm:AddTagsToCertificate", "acm:DeleteCertificate", "acm:RemoveTagsFromCertificate",
    "backup:*BackupSelection", "backup:DeleteBackupPlan", "backup:DeleteRecoveryPoint", "backup:TagResource",
    "backup:UntagResource", "backup:UpdateBackupPlan",
    "ec2:*Route", "ec2:*RouteTable", "ec2:*SecurityGroupEgress", "ec2:*SecurityGroupIngress",
    "ec2:*SecurityGroupRuleDescriptions*", "ec2:*VpcCidrBlock", "ec2:AttachInternetGateway",
    "ec2:CreateLaunchTemplateVersion",
    "ec2:CreateTags", "ec2:DeleteFlowLogs", "ec2:DeleteInternetGateway", "ec2:DeleteLaunchTemplate*",
    "ec2:DeleteNatGateway", "ec2:DeleteSecurityGroup", "ec2:DeleteSubnet", "ec2:DeleteTags", "ec2:DeleteVpc",
    "ec2:DeleteVpcEndpoints", "ec2:DetachInternetGateway", "ec2:ModifyInstance*", "ec2:ModifyLaunchTemplate",
    "ec2:ModifySecurityGroupRules", "ec2:ModifySubnetAttribute", "ec2:ModifyVpcAttribute", "ec2:ModifyVpcEndpoint",
    "ec2:ReleaseAddress", "ec2:ReplaceRouteTableAssociation", "ec2:StartInstances", "ec2:StopInstances",
    "ec2:TerminateInstances",
    "elasticfilesystem:*AccessPoint", "elasticfilesystem:*FileSystemPolicy", "elasticfilesystem:*MountTarget*",
    "elasticfilesystem:DeleteFileSystem", "elasticfilesystem:PutBackupPolicy",
    "elasticfilesystem:PutLifecycleConfiguration", "elasticfilesystem:TagResource", "elasticfilesystem:UntagResource",
    "elasticfilesystem:UpdateFileSystem*",
    "elasticloadbalancing:*Listener*", "elasticloadbalancing:*Rule*", "elasticloadbalancing:AddTags",
    "elasticloadbalancing:DeleteLoadBalancer", "elasticloadbalancing:DeleteTargetGroup",
    "elasticloadbalancing:Modify*", "elasticloadbalancing:RemoveTags", "elasticloadbalancing:SetIpAddressType",
    "elasticloadbalancing:SetSecurityGroups", "elasticloadbalancing:SetSubnets",
)  # fmt: skip
# What can't be told by the stack's tags, held to its region: the reason stands with each.
_UNTAGGED = (
    # Asked for by the association, which a NAT gateway takes with it; and by the interface that a NAT instance comes
    # with.
    "ec2:AssociateAddress", "ec2:DisassociateAddress",
    # Of EFS's mount targets, which has them made and deleted in its caller's name. None that is in use can be deleted.
    "ec2:DeleteNetworkInterface",
    # The image cache's snapshot comes from elsewhere.
    "ec2:DisableFastSnapshotRestores", "ec2:EnableFastSnapshotRestores",
    # As when it is made.
    "ecr:DeletePullThroughCacheRule",
    # A flow log into CloudWatch is one, and is of no type that has tags.
    "logs:CreateLogDelivery", "logs:DeleteLogDelivery",
    # The web ACL comes from elsewhere; these know no tags of the load balancer.
    "elasticloadbalancing:SetWebACL", "wafv2:AssociateWebACL", "wafv2:DisassociateWebACL",
)  # fmt: skip
# Where a service asks whether what is being made may get its tags, it says so by this key.
_MAKING = {
    "ec2:CreateTags": "ec2:CreateAction",
    "elasticfilesystem:TagResource": "elasticfilesystem:CreateAction",
    "elasticloadbalancing:AddTags": "elasticloadbalancing:CreateAction",
}
# Of each service the actions that change something, and the resources that have the cluster's name.
_NAMED = {
    "backup": (("Create*", "Delete*", "Put*", "TagResource", "UntagResource"), ("backup-vault:{name}-*",)),
    "eks": (
        ("Associate*", "Create*", "Delete*", "Disassociate*", "TagResource", "UntagResource", "Update*"),
        (
            "cluster/{name}", "access-entry/{name}/*", "addon/{name}/*", "identityproviderconfig/{name}/*",
            "nodegroup/{name}/*", "podidentityassociation/{name}/*",
        ),
    ),
    "ecr": (
        ("CreateRepository", "DeleteRepository", "PutImageTagMutability", "TagResource", "UntagResource"),
        ("repository/{cache}/*",),
    ),
    "events": (("Delete*", "Put*", "RemoveTargets", "TagResource", "UntagResource"), ("rule/{name}-*",)),
    "logs": (
        ("Create*", "Delete*", "PutRetentionPolicy", "TagResource", "UntagResource"),
        ("log-group:*/{name}/*",),
    ),
    "rds": (
        ("AddTagsToResource", "Create*", "Delete*", "Modify*", "RemoveTagsFromResource", "Reset*",
         "StartDBInstance", "StopDBInstance"),
        # An instance has an option group; without a word of one it is the default.
        ("db:{name}-*", "og:default:*", "pg:{name}-*", "snapshot:{name}-*", "subgrp:{name}-*"),
    ),
    "sqs": (("CreateQueue", "DeleteQueue", "SetQueueAttributes", "TagQueue", "UntagQueue"), ("{name}-*",)),
}  # fmt: skip
_KEY = (
    "kms:*Alias", "kms:CancelKeyDeletion", "kms:CreateGrant", "kms:Decrypt", "kms:DisableKeyRotation", "kms:Enable*",
    "kms:Encrypt", "kms:GenerateDataKey*", "kms:PutKeyPolicy", "kms:ReEncrypt*", "kms:RetireGrant",
    "kms:ScheduleKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateKeyDescription",
)  # fmt: skip
# Whom the platform's roles are for, and who may make a role of their own in the account.
_PASSED_TO = (
    "backup.amazonaws.com", "ec2.amazonaws.com", "eks.amazonaws.com", "monitoring.rds.amazonaws.com",
    "pods.eks.amazonaws.com", "vpc-flow-logs.amazonaws.com",
)  # fmt: skip
_SERVICE_LINKED = (
    "autoscaling.amazonaws.com", "backup.amazonaws.com", "eks-nodegroup.amazonaws.com", "eks.amazonaws.com",
    "elasticfilesystem.amazonaws.com", "elasticloadbalancing.amazonaws.com", "pullthroughcache.ecr.amazonaws.com",
    "rds.amazonaws.com", "spot.amazonaws.com",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account, and what the bootstrap keeps in it."""

    partition: str
    id: str
    bucket_arn: str
    key_arn: str

    @property
    def boundary_arn(self) -> str:
        """The policy that bounds every role that a stack makes."""
        return self.iam(f"policy{PATH}{PROJECT}-boundary")

    def iam(self, resource: str) -> str:
        """The ARN of something of IAM's."""
        return f"arn:{self.partition}:iam::{self.id}:{resource}"

    def arn(self, service: str, region: str, resource: str) -> str:
        """The ARN of something in a region."""
        return f"arn:{self.partition}:{service}:{region}:{self.id}:{resource}"


def document(*statements: Statement) -> str:
    """An IAM policy of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def statement(sid: str, actions: Sequence[str], resources: Sequence[str] = ("*",), **condition: Any) -> Statement:
    """A statement that allows actions; `condition` has operators with their keys."""
    allowed: Statement = {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}
    return {**allowed, "Condition": condition} if condition else allowed


def read_policy() -> str:
    """To look at everything that the platform is made of."""
    return document(statement("Look", READ_ONLY))


def secrets_policy(stacks: Sequence[StackFacts]) -> Statement:
    """To read the secrets that the stacks' files name, which the program compares with what it rolled out."""
    named = sorted({arn for stack in stacks for arn in stack.secrets})
    # With none there is nothing to allow, and no statement without a resource.
    return statement("ReadNamedSecrets", ["secretsmanager:GetSecretValue"], named) if named else {}


def preview_policy(account: Account, stacks: Sequence[StackFacts]) -> str:
    """Beside `read_policy`: the states, with what is secret in them, and the secrets that stack files name."""
    statements = [
        statement("ReadStates", ["s3:GetObject"], [f"{account.bucket_arn}/.pulumi/*"]),
        statement("DecryptStates", ["kms:Decrypt"], [account.key_arn]),
        secrets_policy(stacks),
    ]
    return document(*filter(None, statements))


def state_policy(account: Account, stack: StackFacts) -> str:
    """Beside `read_policy`: a stack's own state. What was there before stays as a version that no stack may delete."""
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
    return document(*filter(None, statements))


def named_policy(account: Account, stack: StackFacts) -> str:
    """Beside `read_policy`: to make, change and delete what has the name of the stack's cluster, or its tags."""
    region, name = stack.region, stack.cluster
    return document(
        *(
            statement(
                f"Make{service.title()}",
                [f"{service}:{verb}" for verb in verbs],
                [
                    account.arn(service, region, resource.format(name=name, cache=cache_namespace(name)))
                    for resource in resources
                ],
            )
            for service, (verbs, resources) in _NAMED.items()
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
        # A key that is being made has no tags yet by which to know it, and no alias: one that somebody uses has.
        {
            **statement("TagNewKeys", ["kms:TagResource"], [account.arn("kms", region, "key/*")]),
            "Condition": {
                "StringEquals": _tags("Request", stack),
                "ForAllValues:StringLike": {"kms:ResourceAliases": [f"alias/{name}-*"]},
            },
        },
        statement(
            "MakeKeys",
            _KEY,
            [account.arn("kms", region, "key/*")],
            StringEquals=_tags("Resource", stack),
        ),
    )  # fmt: skip


def nameless_policy(account: Account, stack: StackFacts) -> str:
    """Beside `read_policy`: to make what has no name of ours, in the stack's region; and off all other stacks."""
    here = {"aws:RequestedRegion": stack.region}
    statements = [
        statement("MakeNameless", _NEW, StringEquals=here),
        statement("ChangeWhatHasNoTags", _UNTAGGED, StringEquals=here),
        *(
            statement(f"TagNew{number}", [action], StringEquals=here, Null={making: "false"})
            for number, (action, making) in enumerate(_MAKING.items())
        ),
        # These don't say that it is new: whoever tags a stranger's may do to it what its own tags allow.
        statement(
            "TagNewOrUntagged",
            ["acm:AddTagsToCertificate", "backup:TagResource"],
            StringEquals={**here, **_tags("Request", stack)},
        ),
        _records(account, stack.domain),
        {
            "Sid": "LeaveOtherStacksAlone",
            "Effect": "Deny",
            "NotAction": list(READ_ONLY),
            "Resource": "*",
            "Condition": {
                "Null": {"aws:ResourceTag/Stack": "false"},
                "StringNotEquals": {"aws:ResourceTag/Stack": stack.stack},
            },
        },
        {
            "Sid": "LeaveTheBootstrapAlone",
            "Effect": "Deny",
            # What `state_policy` allows, and a look for leftovers: not its versions, nor what protects bucket and key.
            "NotAction": [
                "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ListResourceTags",
                "s3:DeleteObject", "s3:GetBucketTagging", "s3:GetObject", "s3:ListBucket", "s3:PutObject",
            ],
            "Resource": [account.bucket_arn, f"{account.bucket_arn}/*", account.key_arn],
        },
    ]  # fmt: skip
    return document(*filter(None, statements))


def own_policy(account: Account, stack: StackFacts) -> str:
    """Beside `nameless_policy`: to change and delete what that makes. What is a stranger's has other tags."""
    groups = [account.arn("ec2", stack.region, "security-group/*")]
    return document(
        statement("ChangeOwn", _OWN, StringEquals={"aws:RequestedRegion": stack.region, **_tags("Resource", stack)}),
        # A rule has its group's rights: whoever makes or changes it also needs those for the group.
        statement(
            "ChangeRulesOfGroups",
            ["ec2:AuthorizeSecurityGroup*", "ec2:ModifySecurityGroupRules"],
            [account.arn("ec2", stack.region, "security-group-rule/*")],
        ),
        # EKS makes the nodes' group, with tags of its own.
        statement(
            "ChangeClustersGroup",
            ["ec2:*SecurityGroupEgress", "ec2:*SecurityGroupIngress", "ec2:CreateTags", "ec2:DeleteTags",
             "ec2:ModifySecurityGroupRules"],
            groups,
            StringEquals={"aws:ResourceTag/aws:eks:cluster-name": stack.cluster},
        ),
        # A VPC comes with a group that has no tags: the program gives it some before it takes its rules away.
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
    """The names at and below the stack's domain, and no others of any zone."""
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
    """Beside `read_policy`: roles and policies under the stack's name, each role within the boundary.

    What makes roles could else make one that may do everything, and pass it to a machine of its own.
    """
    roles, policies = account.iam(f"role/{stack.cluster}-*"), account.iam(f"policy/{stack.cluster}-*")
    return document(
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
        statement("PassRoles", ["iam:PassRole"], [roles], StringEquals={"iam:PassedToService": list(_PASSED_TO)}),
        statement(
            "LetServicesMakeTheirRole",
            ["iam:CreateServiceLinkedRole"],
            [account.iam("role/aws-service-role/*")],
            StringEquals={"iam:AWSServiceName": list(_SERVICE_LINKED)},
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
"""What a stack's deploy role has beside `read_policy` and `state_policy`, by purpose; IAM bounds each one's length."""


def boundary_policy(account: Account, stacks: Sequence[StackFacts]) -> str:
    """What no role of a stack may do, whatever its own policies say.

    None becomes anybody else, changes who may do what, reads secrets, or touches the states and their key. Karpenter
    gives its nodes the role that the stack made for them.
    """
    return document(
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
    """Who may take a role on: jobs of the repository whose tokens have one of these subjects."""
    issuer = provider_arn.partition("/")[2]
    return document(
        {
            "Effect": "Allow",
            "Principal": {"Federated": provider_arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{issuer}:aud": "sts.amazonaws.com", f"{issuer}:sub": list(subjects)}},
        }
    )
