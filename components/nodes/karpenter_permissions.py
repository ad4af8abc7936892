"""What Karpenter's controller may do on AWS, and who may use its interruption queue, as IAM documents.

The statements are those of the CloudFormation template that Karpenter publishes for 1.14 (website:
getting-started-with-karpenter/cloudformation.yaml, explained in reference/cloudformation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from components.iam import Statement, policy_document


def interruption_queue_policy(queue_arn: str, rule_arns: list[str], account_id: str) -> str:
    """Who may use the queue: the given rules send messages, and every access needs TLS.

    The published statement lets both services send for any account; here only this account's rules can (confused
    deputy, "Amazon SQS permissions", EventBridge user guide).
    """
    return policy_document(
        {
            "Sid": "AllowRules",
            "Effect": "Allow",
            "Principal": {"Service": "events.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": rule_arns}},
        },
        {
            "Sid": "AllowQueueService",
            "Effect": "Allow",
            "Principal": {"Service": "sqs.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": {"StringEquals": {"aws:SourceAccount": account_id}},
        },
        {
            "Sid": "DenyHTTP",
            "Effect": "Deny",
            "Principal": "*",
            "Action": "sqs:*",
            "Resource": queue_arn,
            "Condition": {"Bool": {"aws:SecureTransport": "false"}},
        },
    )


@dataclass(frozen=True, kw_only=True)
class PolicyScope:
    """The scope of the controller's permissions."""

    partition: str
    region: str
    account_id: str
    cluster_name: str
    node_role_arn: str
    queue_arn: str

    @property
    def cluster_arn(self) -> str:
        """The cluster's ARN."""
        return f"arn:{self.partition}:eks:{self.region}:{self.account_id}:cluster/{self.cluster_name}"

    @property
    def instance_profiles(self) -> str:
        """The ARN pattern of the account's instance profiles."""
        return f"arn:{self.partition}:iam::{self.account_id}:instance-profile/*"

    def ec2(self, *kinds: str, account: str = "*") -> list[str]:
        """ARN patterns of the region's EC2 resources of these kinds; public resources have the account ''."""
        return [f"arn:{self.partition}:ec2:{self.region}:{account}:{kind}/*" for kind in kinds]

    def owned(self, key: str) -> dict[str, str]:
        """The condition that the tag under `key` (aws:ResourceTag or aws:RequestTag) marks this cluster's resources."""
        return {f"{key}/kubernetes.io/cluster/{self.cluster_name}": "owned"}

    def requested(self) -> dict[str, str]:
        """The condition that a new resource gets both of this cluster's tags."""
        return {**self.owned("aws:RequestTag"), "aws:RequestTag/eks:eks-cluster-name": self.cluster_name}


# The resources that Karpenter tags in the call that makes them.
_TAGGED_AT_CREATION = (
    "fleet",
    "instance",
    "volume",
    "network-interface",
    "launch-template",
    "spot-instances-request",
)


def node_lifecycle_statements(scope: PolicyScope) -> list[Statement]:
    """Make, tag and terminate instances and launch templates, limited to those with this cluster's tag."""
    any_pool = {"aws:RequestTag/karpenter.sh/nodepool": "*"}
    of_a_pool = {"aws:ResourceTag/karpenter.sh/nodepool": "*"}
    return [
        {
            "Sid": "AllowScopedEC2InstanceAccessActions",
            "Effect": "Allow",
            "Resource": [
                *scope.ec2("image", "snapshot", account=""),
                *scope.ec2("security-group", "subnet", "capacity-reservation", "placement-group"),
            ],
            "Action": ["ec2:RunInstances", "ec2:CreateFleet"],
        },
        {
            "Sid": "AllowScopedEC2LaunchTemplateAccessActions",
            "Effect": "Allow",
            "Resource": scope.ec2("launch-template"),
            "Action": ["ec2:RunInstances", "ec2:CreateFleet"],
            "Condition": {"StringEquals": scope.owned("aws:ResourceTag"), "StringLike": of_a_pool},
        },
        {
            "Sid": "AllowScopedEC2InstanceActionsWithTags",
            "Effect": "Allow",
            "Resource": scope.ec2(*_TAGGED_AT_CREATION),
            "Action": ["ec2:RunInstances", "ec2:CreateFleet", "ec2:CreateLaunchTemplate"],
            "Condition": {"StringEquals": scope.requested(), "StringLike": any_pool},
        },
        {
            "Sid": "AllowScopedResourceCreationTagging",
            "Effect": "Allow",
            "Resource": scope.ec2(*_TAGGED_AT_CREATION),
            "Action": "ec2:CreateTags",
            "Condition": {
                "StringEquals": {
                    **scope.requested(),
                    "ec2:CreateAction": ["RunInstances", "CreateFleet", "CreateLaunchTemplate"],
                },
                "StringLike": any_pool,
            },
        },
        {
            "Sid": "AllowScopedResourceTagging",
            "Effect": "Allow",
            "Resource": scope.ec2("instance"),
            "Action": "ec2:CreateTags",
            "Condition": {
                "StringEquals": scope.owned("aws:ResourceTag"),
                "StringLike": of_a_pool,
                "StringEqualsIfExists": {"aws:RequestTag/eks:eks-cluster-name": scope.cluster_name},
                "ForAllValues:StringEquals": {
                    "aws:TagKeys": ["eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name"]
                },
            },
        },
        {
            "Sid": "AllowScopedDeletion",
            "Effect": "Allow",
            "Resource": scope.ec2("instance", "launch-template"),
            "Action": ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"],
            "Condition": {"StringEquals": scope.owned("aws:ResourceTag"), "StringLike": of_a_pool},
        },
    ]


def iam_integration_statements(scope: PolicyScope) -> list[Statement]:
    """Pass only the nodes' role to EC2, through instance profiles with this cluster's tag."""
    made_here = {"aws:RequestTag/topology.kubernetes.io/region": scope.region}
    existing = {**scope.owned("aws:ResourceTag"), "aws:ResourceTag/topology.kubernetes.io/region": scope.region}
    any_class = {"aws:RequestTag/karpenter.k8s.aws/ec2nodeclass": "*"}
    of_a_class = {"aws:ResourceTag/karpenter.k8s.aws/ec2nodeclass": "*"}
    return [
        {
            "Sid": "AllowPassingInstanceRole",
            "Effect": "Allow",
            "Resource": scope.node_role_arn,
            "Action": "iam:PassRole",
            "Condition": {"StringEquals": {"iam:PassedToService": ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]}},
        },
        {
            "Sid": "AllowScopedInstanceProfileCreationActions",
            "Effect": "Allow",
            "Resource": scope.instance_profiles,
            "Action": "iam:CreateInstanceProfile",
            "Condition": {"StringEquals": {**scope.requested(), **made_here}, "StringLike": any_class},
        },
        {
            "Sid": "AllowScopedInstanceProfileTagActions",
            "Effect": "Allow",
            "Resource": scope.instance_profiles,
            "Action": "iam:TagInstanceProfile",
            "Condition": {
                "StringEquals": {**existing, **scope.requested(), **made_here},
                "StringLike": {**of_a_class, **any_class},
            },
        },
        {
            "Sid": "AllowScopedInstanceProfileActions",
            "Effect": "Allow",
            "Resource": scope.instance_profiles,
            "Action": [
                "iam:AddRoleToInstanceProfile",
                "iam:RemoveRoleFromInstanceProfile",
                "iam:DeleteInstanceProfile",
            ],
            "Condition": {"StringEquals": existing, "StringLike": of_a_class},
        },
    ]


def eks_integration_statements(scope: PolicyScope) -> list[Statement]:
    """Describe this cluster."""
    return [
        {
            "Sid": "AllowAPIServerEndpointDiscovery",
            "Effect": "Allow",
            "Resource": scope.cluster_arn,
            "Action": "eks:DescribeCluster",
        }
    ]


def interruption_statements(scope: PolicyScope) -> list[Statement]:
    """Receive and delete messages of the interruption queue."""
    return [
        {
            "Sid": "AllowInterruptionQueueActions",
            "Effect": "Allow",
            "Resource": scope.queue_arn,
            "Action": ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"],
        }
    ]


def zonal_shift_statements(scope: PolicyScope) -> list[Statement]:
    """See whether traffic is shifted away from a zone of this cluster."""
    return [
        {
            "Sid": "AllowZonalShiftStatusReadOnly",
            "Effect": "Allow",
            "Resource": "*",
            "Action": "arc-zonal-shift:GetManagedResource",
            "Condition": {"StringEquals": {"arc-zonal-shift:ResourceIdentifier": scope.cluster_arn}},
        }
    ]


def resource_discovery_statements(scope: PolicyScope) -> list[Statement]:
    """Read which instances are available, and where. These are list actions, which IAM cannot limit to a cluster."""
    return [
        {
            "Sid": "AllowRegionalReadActions",
            "Effect": "Allow",
            "Resource": "*",
            "Action": [
                "ec2:DescribeCapacityReservations",
                "ec2:DescribeImages",
                "ec2:DescribeInstances",
                "ec2:DescribeInstanceStatus",
                "ec2:DescribeInstanceTypeOfferings",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribePlacementGroups",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSpotPriceHistory",
                "ec2:DescribeSubnets",
            ],
            "Condition": {"StringEquals": {"aws:RequestedRegion": scope.region}},
        },
        {
            "Sid": "AllowSSMReadActions",
            "Effect": "Allow",
            "Resource": f"arn:{scope.partition}:ssm:{scope.region}::parameter/aws/service/*",
            "Action": "ssm:GetParameter",
        },
        {"Sid": "AllowPricingReadActions", "Effect": "Allow", "Resource": "*", "Action": "pricing:GetProducts"},
        {
            "Sid": "AllowUnscopedInstanceProfileListAction",
            "Effect": "Allow",
            "Resource": "*",
            "Action": "iam:ListInstanceProfiles",
        },
        {
            "Sid": "AllowInstanceProfileReadActions",
            "Effect": "Allow",
            "Resource": scope.instance_profiles,
            "Action": "iam:GetInstanceProfile",
        },
    ]


# The published template's six managed policies, in its order.
CONTROLLER_POLICIES: dict[str, Callable[[PolicyScope], list[Statement]]] = {
    "node-lifecycle": node_lifecycle_statements,
    "iam-integration": iam_integration_statements,
    "eks-integration": eks_integration_statements,
    "interruption": interruption_statements,
    "zonal-shift": zonal_shift_statements,
    "resource-discovery": resource_discovery_statements,
}
