"""What the bootstrap's roles may do: enough, only for their own stack, and they can't extend it."""

from __future__ import annotations

import json

import pytest
from bootstrap_lab import ACCOUNT, IAM, PROJECT, STACKS, deploy, may, preview

from bootstrap import permissions
from bootstrap.configuration import StackFacts
from rehearsal.checks.permissions import admits
from rehearsal.providers.aws.policy_grammar import LONGEST_INLINE_POLICIES, LONGEST_MANAGED_POLICY
from reports.services import LISTINGS
from settings.cluster import NAME_LIMIT

# IAM quotas: "Managed policies attached to an IAM role", without asking for more.
POLICIES_A_ROLE = 10
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
    # `*.platform`, as Route 53 writes it there ("Using IAM policy conditions", Route 53 developer guide).
    assert may(prod, action, zone, **{key: "\\052.platform.gpulab.example.com"})
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


def test_what_lifts_the_protection_differs_from_what_does_not_in_that_alone() -> None:
    configs = {
        name: json.loads((PROJECT / "bootstrap" / f"{name}.json").read_text()) for name in ("policies", "unlock")
    }
    lifting = json.loads((PROJECT / "policies" / "unlock.json").read_text())
    assert configs["unlock"] == {**configs["policies"], **lifting}
