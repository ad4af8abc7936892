"""What the bootstrap's roles may do: enough, in nobody else's name, and no way to more."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

import settings
from bootstrap import permissions
from bootstrap.configuration import StackFacts
from bootstrap.permissions import Account
from rehearsal import permission_checks
from rehearsal.checks import DoesNotHold
from rehearsal.permission_checks import admits, iam_action
from rehearsal.providers.aws.policies import LONGEST_INLINE_POLICIES, LONGEST_MANAGED_POLICY
from reports.account import LISTINGS
from settings.cluster import NAME_LIMIT

# IAM quotas: "Managed policies attached to an IAM role", without asking for more.
POLICIES_A_ROLE = 10
PROJECT = Path(__file__).resolve().parents[2]
ACCOUNT = Account(
    partition="aws",
    id="123456789012",
    bucket_arn="arn:aws:s3:::gpulab-state-0123456",
    key_arn="arn:aws:kms:us-east-1:123456789012:key/2f1b0c9e-1111-2222-3333-444455556666",
)
IAM = "arn:aws:iam::123456789012"
STACKS = {
    name: StackFacts.of(settings.check_stack_file(PROJECT / f"Pulumi.{name}.yaml", name, datetime.date.min))
    for name in ("dev", "prod")
}


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
    """IAM's operators, as far as these documents use them: a key that is not there meets only those that say so."""
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
ROLE = f"{IAM}:role/gpulab-dev-karpenter-node-0123456"
BOUNDED = {"iam_PermissionsBoundary": ACCOUNT.boundary_arn}


HERE = {"aws_RequestedRegion": "us-east-1"}
OWN = {"aws_ResourceTag_Project": "gpulab", "aws_ResourceTag_Stack": "dev"}
GROUP = "arn:aws:ec2:us-east-1:123456789012:security-group/sg-1"


def test_a_deploy_role_makes_what_its_stack_is_made_of() -> None:
    dev = deploy("dev")
    assert may(dev, "ec2:CreateVpc", "*", **HERE)
    assert may(dev, "eks:CreateCluster", "arn:aws:eks:us-east-1:123456789012:cluster/gpulab-dev")
    assert may(dev, "sqs:CreateQueue", "arn:aws:sqs:us-east-1:123456789012:gpulab-dev-karpenter-1")
    assert may(dev, "iam:CreateRole", ROLE, **BOUNDED)
    assert may(dev, "iam:PassRole", ROLE, iam_PassedToService="pods.eks.amazonaws.com")


def test_a_new_key_gets_the_stacks_tags_and_nobody_elses_key_does() -> None:
    dev, key = deploy("dev"), "arn:aws:kms:us-east-1:123456789012:key/1"
    tags = {"aws_RequestTag_Project": "gpulab", "aws_RequestTag_Stack": "dev"}
    assert may(dev, "kms:TagResource", key, **tags)
    assert may(dev, "kms:TagResource", key, kms_ResourceAliases="alias/gpulab-dev-secrets", **tags)
    assert not may(dev, "kms:TagResource", key, kms_ResourceAliases="alias/somebody-elses", **tags)
    assert not may(dev, "kms:TagResource", key, aws_RequestTag_Project="gpulab", aws_RequestTag_Stack="prod")
    assert not may(dev, "kms:TagResource", key)
    assert not may(dev, "kms:TagResource", ACCOUNT.key_arn, **tags)


# Of each kind of thing that has no name of the stack's, what would end or change it.
ENDS = (
    "acm:DeleteCertificate", "backup:DeleteBackupPlan", "backup:DeleteBackupSelection", "backup:DeleteRecoveryPoint",
    "backup:UpdateBackupPlan", "ec2:AuthorizeSecurityGroupIngress", "ec2:CreateRoute", "ec2:CreateTags",
    "ec2:DeleteFlowLogs", "ec2:DeleteInternetGateway", "ec2:DeleteLaunchTemplate", "ec2:DeleteNatGateway",
    "ec2:DeleteRoute", "ec2:DeleteRouteTable", "ec2:DeleteSecurityGroup", "ec2:DeleteSubnet", "ec2:DeleteTags",
    "ec2:DeleteVpc", "ec2:DeleteVpcEndpoints", "ec2:DisassociateRouteTable", "ec2:ModifyVpcAttribute",
    "ec2:ReleaseAddress", "ec2:RevokeSecurityGroupEgress", "ec2:RevokeSecurityGroupIngress",
    "elasticfilesystem:DeleteAccessPoint", "elasticfilesystem:DeleteFileSystem",
    "elasticfilesystem:DeleteMountTarget", "elasticfilesystem:PutFileSystemPolicy",
    "elasticloadbalancing:DeleteListener", "elasticloadbalancing:DeleteLoadBalancer",
    "elasticloadbalancing:DeleteTargetGroup", "elasticloadbalancing:ModifyListener", "elasticloadbalancing:ModifyRule",
)  # fmt: skip


@pytest.mark.parametrize("action", ENDS)
def test_what_has_no_name_is_changed_where_it_has_the_stacks_tags(action: str) -> None:
    dev, something = deploy("dev"), "arn:aws:any:us-east-1:123456789012:thing/1"
    assert may(dev, action, something, **OWN, **HERE)
    assert not may(dev, action, something, **HERE)  # a stranger's, in the same region
    assert not may(dev, action, something, aws_ResourceTag_Stack="dev", **HERE)  # of somebody else's project
    assert not may(dev, action, something, **{**OWN, "aws_ResourceTag_Stack": "prod"}, **HERE)
    assert not may(dev, action, something, **OWN, aws_RequestedRegion="eu-west-1")


@pytest.mark.parametrize(
    ("action", "making"),
    [
        ("ec2:CreateTags", {"ec2_CreateAction": "CreateVpc"}),
        ("elasticfilesystem:TagResource", {"elasticfilesystem_CreateAction": "CreateFileSystem"}),
        ("elasticloadbalancing:AddTags", {"elasticloadbalancing_CreateAction": "CreateListener"}),
        ("acm:AddTagsToCertificate", {"aws_RequestTag_Project": "gpulab", "aws_RequestTag_Stack": "dev"}),
        ("backup:TagResource", {"aws_RequestTag_Project": "gpulab", "aws_RequestTag_Stack": "dev"}),
    ],
)
def test_tags_are_given_to_what_is_being_made(action: str, making: dict[str, str]) -> None:
    assert may(deploy("dev"), action, "*", **making, **HERE)
    assert not may(deploy("dev"), action, "*", **HERE)
    assert not may(deploy("dev"), action, "*", aws_ResourceTag_Stack="prod", **making, **HERE)


def test_the_groups_that_the_stack_did_not_make_are_its_own_by_their_cluster_or_their_being_new() -> None:
    dev, rule = deploy("dev"), GROUP.replace("security-group", "security-group-rule")
    clusters = {"aws_ResourceTag_aws_eks_cluster_name": "gpulab-dev"}
    for action in ("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress", "ec2:CreateTags"):
        assert may(dev, action, GROUP, **clusters, **HERE)
        assert not may(dev, action, GROUP, aws_ResourceTag_aws_eks_cluster_name="gpulab-prod", **HERE)
    assert not may(dev, "ec2:DeleteSecurityGroup", GROUP, **clusters, **HERE)
    # A rule that is being made has no tags; AWS asks for its group beside it.
    assert may(dev, "ec2:AuthorizeSecurityGroupIngress", rule, **HERE)
    assert not may(dev, "ec2:AuthorizeSecurityGroupIngress", GROUP, **HERE)
    # The VPC's default group, before the program has done anything to it.
    tags = {"aws_RequestTag_Project": "gpulab", "aws_RequestTag_Stack": "dev"}
    assert may(dev, "ec2:CreateTags", GROUP, **tags, **HERE)
    assert not may(dev, "ec2:CreateTags", GROUP, aws_ResourceTag_Project="another", **tags, **HERE)
    assert not may(dev, "ec2:CreateTags", GROUP.replace("security-group", "vpc"), **tags, **HERE)


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        ("ec2:CreateVpc", "*", {"aws_RequestedRegion": "eu-west-1"}),
        ("eks:DeleteCluster", "arn:aws:eks:us-east-1:123456789012:cluster/gpulab-prod", {}),
        ("eks:DeleteCluster", "arn:aws:eks:us-east-1:123456789012:cluster/gpulab-dev2", {}),
        ("rds:DeleteDBInstance", "arn:aws:rds:us-east-1:123456789012:db:somebody-elses", {}),
        ("s3:DeleteObject", "arn:aws:s3:::somebody-elses/data", {}),
        ("kms:ScheduleKeyDeletion", "arn:aws:kms:us-east-1:123456789012:key/1", {}),
        ("kms:ScheduleKeyDeletion", "arn:aws:kms:us-east-1:123456789012:key/1", {"aws_ResourceTag_Stack": "prod"}),
        ("route53:ChangeResourceRecordSets", "arn:aws:route53:::hostedzone/Z1", {}),
        ("secretsmanager:GetSecretValue", STACKS["prod"].secrets[0], {}),
        ("dynamodb:DeleteTable", "*", {}),
    ],
)
def test_a_deploy_role_leaves_the_rest_of_the_account_alone(
    action: str, resource: str, context: dict[str, str]
) -> None:
    assert not may(deploy("dev"), action, resource, **context)


@pytest.mark.parametrize(
    ("action", "resource", "context"),
    [
        # A role that may do more than the boundary says, or that has none.
        ("iam:CreateRole", ROLE, {}),
        ("iam:CreateRole", ROLE, {"iam_PermissionsBoundary": f"{IAM}:policy/of-my-own"}),
        ("iam:PutRolePolicy", ROLE, {}),
        ("iam:AttachRolePolicy", ROLE, {}),
        ("iam:DeleteRolePermissionsBoundary", ROLE, BOUNDED),
        # Its own rights, and those of the other roles.
        ("iam:PutRolePolicy", f"{IAM}:role/gpulab-bootstrap/gpulab-deploy-dev", BOUNDED),
        ("iam:UpdateAssumeRolePolicy", f"{IAM}:role/gpulab-bootstrap/gpulab-preview", {}),
        ("iam:CreatePolicyVersion", ACCOUNT.boundary_arn, {}),
        ("iam:UpdateOpenIDConnectProviderThumbprint", f"{IAM}:oidc-provider/token.actions.githubusercontent.com", {}),
        # Somebody else's role, and a service that the platform's roles are not for.
        ("iam:PassRole", f"{IAM}:role/admin", {"iam_PassedToService": "ec2.amazonaws.com"}),
        ("iam:PassRole", ROLE, {"iam_PassedToService": "lambda.amazonaws.com"}),
        ("iam:CreateUser", f"{IAM}:user/gpulab-dev-x", {}),
        ("iam:CreateAccessKey", f"{IAM}:user/gpulab-dev-x", {}),
        ("sts:AssumeRole", f"{IAM}:role/admin", {}),
    ],
)
@pytest.mark.parametrize("cluster", ["gpulab-dev", "gpulab"])
def test_a_deploy_role_gets_itself_no_more_rights(
    action: str, resource: str, context: dict[str, str], cluster: str
) -> None:
    # A cluster called gpulab has the beginning of the bootstrap's own names.
    facts = StackFacts(stack="dev", cluster=cluster, region="us-east-1", domain=None, secrets=())
    documents = [write(ACCOUNT, facts) for write in permissions.DEPLOY_POLICIES.values()]
    assert not may(documents, action, resource, **context)


def test_a_stacks_state_is_its_own_and_its_past_nobodys() -> None:
    bucket = ACCOUNT.bucket_arn
    dev = deploy("dev")
    own = (
        "stacks/gpulab/dev.json",
        "stacks/gpulab/dev.json.bak",
        "locks/organization/gpulab/dev/1.json",
        "history/gpulab/dev/dev-1.history.json",
    )
    for key in own:
        for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
            assert may(dev, action, f"{bucket}/.pulumi/{key}"), key
    for key in ("stacks/gpulab/prod.json", "stacks/gpulab/dev2.json", "locks/organization/gpulab/prod/1.json"):
        for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject"):
            assert not may(dev, action, f"{bucket}/.pulumi/{key}"), key
    assert not may(dev, "s3:DeleteObjectVersion", f"{bucket}/.pulumi/stacks/gpulab/dev.json")
    for action in ("s3:PutBucketPolicy", "s3:DeleteBucket", "s3:PutBucketVersioning", "s3:PutLifecycleConfiguration"):
        assert not may(dev, action, bucket)
    assert may(dev, "kms:Decrypt", ACCOUNT.key_arn)
    assert not may(
        dev, "kms:ScheduleKeyDeletion", ACCOUNT.key_arn, aws_ResourceTag_Stack="dev", aws_ResourceTag_Project="gpulab"
    )


def test_a_cluster_with_the_bucket_names_beginning_does_not_get_the_bucket() -> None:
    facts = StackFacts(stack="dev", cluster="gpulab", region="us-east-1", domain=None, secrets=())
    documents = [write(ACCOUNT, facts) for write in permissions.DEPLOY_POLICIES.values()]
    assert may(documents, "s3:DeleteBucket", "arn:aws:s3:::gpulab-alb-logs-0123456")
    assert not may(documents, "s3:DeleteBucket", ACCOUNT.bucket_arn)
    assert not may(documents, "s3:DeleteObjectVersion", f"{ACCOUNT.bucket_arn}/.pulumi/meta.yaml")


def test_a_stack_with_a_domain_names_what_is_below_it_alone() -> None:
    prod, zone, action = deploy("prod"), "arn:aws:route53:::hostedzone/Z1", "route53:ChangeResourceRecordSets"
    key = "route53_ChangeResourceRecordSetsNormalizedRecordNames"
    assert may(prod, action, zone, **{key: "auth.gpulab.example.com"})
    assert may(prod, action, zone, **{key: "gpulab.example.com"})
    assert not may(prod, action, zone, **{key: "www.example.com"})
    assert not may(prod, action, zone, **{key: "notgpulab.example.com"})
    assert not may(prod, action, zone)


def test_a_preview_reads_states_and_named_secrets_and_changes_nothing() -> None:
    documents = preview()
    assert may(documents, "s3:GetObject", f"{ACCOUNT.bucket_arn}/.pulumi/stacks/gpulab/prod.json")
    assert may(documents, "kms:Decrypt", ACCOUNT.key_arn)
    assert may(documents, "secretsmanager:GetSecretValue", STACKS["prod"].secrets[0])
    assert not may(documents, "secretsmanager:GetSecretValue", "arn:aws:secretsmanager:eu-west-1:123456789012:secret:x")
    assert not may(documents, "s3:GetObject", "arn:aws:s3:::somebody-elses/data")
    assert not may(documents, "kms:Decrypt", "arn:aws:kms:us-east-1:123456789012:key/another")
    looking = ("Describe", "Get", "List")
    for document in documents:
        for one in json.loads(document)["Statement"]:
            changing = [action for action in one["Action"] if not action.partition(":")[2].startswith(looking)]
            assert changing in ([], ["kms:Decrypt"])


def test_the_leftover_report_can_look_at_everything() -> None:
    missing = {action for one in LISTINGS for action in one.actions if not admits([permissions.read_policy()], action)}
    assert missing == set()


@pytest.mark.parametrize("stack", STACKS)
def test_it_can_look_at_the_bootstraps_own_too(stack: str) -> None:
    # A destroy asks as the deploy role: what that may not look at, the report can't call gone.
    # What lists all that there is, is asked of no one of them.
    of_none = {"kms:ListAliases", "kms:ListKeys", "s3:ListAllMyBuckets"}
    bootstraps = {
        "s3": [ACCOUNT.bucket_arn],
        "kms": [ACCOUNT.key_arn],
        "iam": [
            f"{IAM}:role/gpulab-bootstrap/gpulab-preview",
            ACCOUNT.boundary_arn,
            f"{IAM}:oidc-provider/token.actions.githubusercontent.com",
        ],
    }
    refused = {
        (action, resource)
        for listing in LISTINGS
        for action in listing.actions
        for resource in (["*"] if action in of_none else bootstraps.get(action.partition(":")[0], ["*"]))
        if not may(deploy(stack), action, resource)
    }
    assert refused == set()


def test_the_boundary_lets_no_role_reach_for_more() -> None:
    boundary = [permissions.boundary_policy(ACCOUNT, list(STACKS.values()))]
    assert may(boundary, "ec2:RunInstances", "*")
    assert may(boundary, "iam:PassRole", ROLE)
    for action, resource in (
        ("iam:PassRole", f"{IAM}:role/admin"),
        ("iam:CreateRole", ROLE),
        ("iam:PutRolePolicy", ROLE),
        ("iam:AttachRolePolicy", ROLE),
        ("sts:AssumeRole", f"{IAM}:role/admin"),
        ("secretsmanager:GetSecretValue", STACKS["prod"].secrets[0]),
        ("s3:GetObject", f"{ACCOUNT.bucket_arn}/.pulumi/stacks/gpulab/prod.json"),
        ("kms:Decrypt", ACCOUNT.key_arn),
        ("iam:AddRoleToInstanceProfile", f"{IAM}:role/gpulab-bootstrap/gpulab-deploy-dev"),
        ("organizations:LeaveOrganization", "*"),
    ):
        assert not may(boundary, action, resource), action


def test_documents_fit_whatever_the_stack_is_called() -> None:
    facts = StackFacts(
        stack="s" * 40, cluster="c" * NAME_LIMIT, region="ap-southeast-4", domain=f"{'d' * 60}.{'e' * 60}.example.com",
        secrets=tuple(f"arn:aws:secretsmanager:ap-southeast-4:123456789012:secret:{n:045}-AbCdEf" for n in range(20)),
    )  # fmt: skip
    managed = [write(ACCOUNT, facts) for write in permissions.DEPLOY_POLICIES.values()]
    managed += [permissions.read_policy(), permissions.boundary_policy(ACCOUNT, [facts] * 10)]
    assert max(len("".join(one.split())) for one in managed) <= LONGEST_MANAGED_POLICY
    assert len(permissions.DEPLOY_POLICIES) + 1 <= POLICIES_A_ROLE
    inline = [permissions.state_policy(ACCOUNT, facts), permissions.preview_policy(ACCOUNT, [facts])]
    assert max(len("".join(one.split())) for one in inline) <= LONGEST_INLINE_POLICIES


def test_only_the_repositorys_own_jobs_take_a_role_on() -> None:
    arn = f"{IAM}:oidc-provider/token.actions.githubusercontent.com"
    (statement,) = json.loads(permissions.trust_policy(arn, ["repo:example/gpulab:environment:prod"]))["Statement"]
    assert statement["Principal"] == {"Federated": arn}
    assert statement["Condition"] == {
        "StringEquals": {
            "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
            "token.actions.githubusercontent.com:sub": ["repo:example/gpulab:environment:prod"],
        }
    }


@pytest.mark.parametrize(
    ("call", "action"),
    [
        ("ec2:CreateVpc", "ec2:CreateVpc"),
        ("eks:POST /clusters", "eks:CreateCluster"),
        ("eks:GET /clusters/lab/access-entries/arn:aws:iam::1:role/x", "eks:DescribeAccessEntry"),
        ("eks:POST /clusters/lab/access-entries/arn:aws:iam::1:role/x/access-policies", "eks:AssociateAccessPolicy"),
        ("elasticfilesystem:PUT /2015-02-01/file-systems/fs-1/policy", "elasticfilesystem:PutFileSystemPolicy"),
        ("backup:PUT /backup/plans/", "backup:CreateBackupPlan"),
        ("route53:POST /2013-04-01/hostedzone/Z1/rrset/", "route53:ChangeResourceRecordSets"),
        ("s3:HEAD /logs", "s3:ListBucket"),
        ("s3:PUT /logs?lifecycle", "s3:PutLifecycleConfiguration"),
        ("s3:DELETE /logs?encryption", "s3:PutEncryptionConfiguration"),
        ("s3:DELETE /logs?policy", "s3:DeleteBucketPolicy"),
        ("s3:DELETE /logs/AWSLogs/1/file", "s3:DeleteObject"),
    ],
)
def test_a_call_is_told_by_its_permission(call: str, action: str) -> None:
    assert iam_action(call) == action


def check(command: str, call: str) -> str:
    stack = settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", datetime.date.min)
    calls = {"applications": {f"pulumi-{command}": {call: 1}}}
    return permission_checks.admitted(calls, stack, [], ACCOUNT.id)


def test_a_call_that_no_role_admits_is_named() -> None:
    assert "deploy 1 actions" in check("up", "ec2:CreateVpc")
    with pytest.raises(DoesNotHold, match=r"the deploy role of bootstrap/permissions.py lacks dynamodb:CreateTable"):
        check("up", "dynamodb:CreateTable")
    with pytest.raises(DoesNotHold, match=r"the preview role of bootstrap/permissions.py lacks ec2:CreateVpc"):
        check("preview", "ec2:CreateVpc")


def test_first_cache_rule_of_an_account_makes_ecrs_role(monkeypatch: pytest.MonkeyPatch) -> None:
    role, ecr = f"{IAM}:role/aws-service-role/x", "pullthroughcache.ecr.amazonaws.com"
    assert may(deploy("prod"), "iam:CreateServiceLinkedRole", role, iam_AWSServiceName=ecr)
    assert "deploy 1 actions" in check("up", "ecr:CreatePullThroughCacheRule")
    monkeypatch.setattr(permissions, "_SERVICE_LINKED", ("eks.amazonaws.com",))
    with pytest.raises(DoesNotHold, match=rf"lacks iam:CreateServiceLinkedRole for {re.escape(ecr)}"):
        check("up", "ecr:CreatePullThroughCacheRule")


EKS = "arn:aws:eks:us-east-1:123456789012"
OIDC = {"identityProviderConfig.type": "oidc", "identityProviderConfig.name": "keycloak"}


@pytest.mark.parametrize(
    ("call", "parameters", "arn"),
    [
        ("eks:POST /clusters", {"name": "CLUSTER"}, f"{EKS}:cluster/CLUSTER"),
        (
            "eks:POST /clusters/CLUSTER/identity-provider-configs/disassociate",
            OIDC,
            f"{EKS}:identityproviderconfig/CLUSTER/oidc/keycloak/*",
        ),
        ("eks:DELETE /clusters/CLUSTER/addons/coredns", {}, f"{EKS}:addon/CLUSTER/coredns/*"),
        ("eks:DELETE /clusters/CLUSTER/node-groups/a", {}, f"{EKS}:nodegroup/CLUSTER/a/*"),
        (
            f"eks:POST /tags/{EKS}:podidentityassociation/CLUSTER/a-1",
            {},
            f"{EKS}:podidentityassociation/CLUSTER/a-1",
        ),
        ("iam:CreateRole", {"RoleName": "CLUSTER-system-1"}, f"{IAM}:role/CLUSTER-system-1"),
        ("iam:DeletePolicy", {"PolicyArn": f"{IAM}:policy/CLUSTER-x-1"}, f"{IAM}:policy/CLUSTER-x-1"),
        (
            "events:PutTargets",
            {"Rule": "CLUSTER-spot-1", "EventBusName": "default"},
            "arn:aws:events:us-east-1:123456789012:rule/CLUSTER-spot-1",
        ),
        (
            "logs:CreateLogGroup",
            {"logGroupName": "/aws/eks/CLUSTER/cluster"},
            "arn:aws:logs:us-east-1:123456789012:log-group:/aws/eks/CLUSTER/cluster",
        ),
        (
            "sqs:DeleteQueue",
            {"QueueUrl": "https://sqs.us-east-1.amazonaws.com/123456789012/CLUSTER-karpenter-1"},
            "arn:aws:sqs:us-east-1:123456789012:CLUSTER-karpenter-1",
        ),
        (
            "rds:DeleteDBInstance",
            {"DBInstanceIdentifier": "CLUSTER-keycloak"},
            "arn:aws:rds:us-east-1:123456789012:db:CLUSTER-keycloak",
        ),
        (
            "kms:DeleteAlias",
            {"AliasName": "alias/CLUSTER-secrets"},
            "arn:aws:kms:us-east-1:123456789012:alias/CLUSTER-secrets",
        ),
        ("s3:PUT /CLUSTER-logs-1?policy", {}, "arn:aws:s3:::CLUSTER-logs-1"),
        (
            "backup:DELETE /backup-vaults/CLUSTER-storage-1",
            {},
            "arn:aws:backup:us-east-1:123456789012:backup-vault:CLUSTER-storage-1",
        ),
    ],
)
def test_a_deploy_role_is_held_to_the_resource_that_a_call_names(
    call: str, parameters: dict[str, str], arn: str
) -> None:
    stack = settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", datetime.date.min)

    def check(cluster: str) -> str:
        given = {name: value.replace("CLUSTER", cluster) for name, value in parameters.items()}
        calls = {"applications": {}, "requests": {"pulumi-destroy": [[call.replace("CLUSTER", cluster), given]]}}
        return permission_checks.admitted(calls, stack, [], ACCOUNT.id)

    assert "named resources" in check("gpulab-dev")
    with pytest.raises(DoesNotHold) as found:
        check("strangers")
    assert arn.replace("CLUSTER", "strangers") in str(found.value)


def test_what_a_call_does_not_name_is_said_to_be_undecided() -> None:
    stack = settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", datetime.date.min)
    calls = {"applications": {}, "requests": {"pulumi-up": [["iam:DeleteRole", {}]]}}
    assert "not decided, as calls do not name the resource: iam:DeleteRole" in permission_checks.admitted(
        calls, stack, [], ACCOUNT.id
    )


def test_a_policy_that_the_boundary_makes_worthless_is_named() -> None:
    stack = settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", datetime.date.min)
    document = {"Statement": {"Effect": "Allow", "Action": ["s3:GetObject", "sts:AssumeRole"], "Resource": "*"}}
    made = {"type": "aws:iam/rolePolicy:RolePolicy", "outputs": {"policy": json.dumps(document)}}
    with pytest.raises(DoesNotHold, match="keeps the stack's roles from sts:AssumeRole"):
        permission_checks.admitted({"applications": {}}, stack, [made], ACCOUNT.id)


def test_what_lifts_the_protection_differs_from_what_does_not_in_that_alone() -> None:
    configs = {
        name: json.loads((PROJECT / "bootstrap" / f"{name}.json").read_text()) for name in ("policies", "unlock")
    }
    lifting = json.loads((PROJECT / "policies" / "unlock.json").read_text())
    assert configs["unlock"] == {**configs["policies"], **lifting}
