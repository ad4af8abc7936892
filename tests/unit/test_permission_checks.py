"""A rehearsal names the calls that the roles of workflows do not admit."""

from __future__ import annotations

import datetime
import json
import re

import pytest
from bootstrap_lab import ACCOUNT, IAM, PROJECT, deploy, may

import settings
from bootstrap import iam_actions
from rehearsal.checks import permissions as permission_checks
from rehearsal.checks.checking import DoesNotHold
from rehearsal.checks.permissions import iam_action


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
    stack = settings.on_eks(settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", datetime.date.min))
    calls = {"applications": {f"pulumi-{command}": {call: 1}}}
    return permission_checks.admitted(calls, stack, [], ACCOUNT.id)


def test_a_call_that_no_role_admits_is_named() -> None:
    assert "deploy 1 actions" in check("up", "ec2:CreateVpc")
    with pytest.raises(DoesNotHold, match=r"the deploy role of bootstrap/iam_actions.py lacks dynamodb:CreateTable"):
        check("up", "dynamodb:CreateTable")
    with pytest.raises(DoesNotHold, match=r"the preview role of bootstrap/iam_actions.py lacks ec2:CreateVpc"):
        check("preview", "ec2:CreateVpc")


def test_first_cache_rule_of_an_account_makes_ecrs_role(monkeypatch: pytest.MonkeyPatch) -> None:
    role, ecr = f"{IAM}:role/aws-service-role/x", "pullthroughcache.ecr.amazonaws.com"
    assert may(deploy("prod"), "iam:CreateServiceLinkedRole", role, iam_AWSServiceName=ecr)
    assert "deploy 1 actions" in check("up", "ecr:CreatePullThroughCacheRule")
    monkeypatch.setattr(iam_actions, "SERVICE_LINKED", ("eks.amazonaws.com",))
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
    stack = settings.on_eks(settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", datetime.date.min))

    def check(cluster: str) -> str:
        given = {name: value.replace("CLUSTER", cluster) for name, value in parameters.items()}
        calls = {"applications": {}, "requests": {"pulumi-destroy": [[call.replace("CLUSTER", cluster), given]]}}
        return permission_checks.admitted(calls, stack, [], ACCOUNT.id)

    assert "named resources" in check("gpulab-dev")
    with pytest.raises(DoesNotHold) as found:
        check("strangers")
    assert arn.replace("CLUSTER", "strangers") in str(found.value)


def test_what_a_call_does_not_name_is_said_to_be_undecided() -> None:
    stack = settings.on_eks(settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", datetime.date.min))
    calls = {"applications": {}, "requests": {"pulumi-up": [["iam:DeleteRole", {}]]}}
    assert "not decided, because calls do not name the resource: iam:DeleteRole" in permission_checks.admitted(
        calls, stack, [], ACCOUNT.id
    )


def test_a_policy_that_the_boundary_makes_worthless_is_named() -> None:
    stack = settings.on_eks(settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", datetime.date.min))
    document = {"Statement": {"Effect": "Allow", "Action": ["s3:GetObject", "sts:AssumeRole"], "Resource": "*"}}
    made = {"type": "aws:iam/rolePolicy:RolePolicy", "outputs": {"policy": json.dumps(document)}}
    with pytest.raises(DoesNotHold, match="does not allow the stack's roles sts:AssumeRole"):
        permission_checks.admitted({"applications": {}}, stack, [made], ACCOUNT.id)
