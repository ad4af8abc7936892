"""Karpenter: the controller that buys nodes, what it may do on AWS, and how it hears that a node is about to go.

The IAM statements, the queue and its rules are those of the CloudFormation template that Karpenter publishes for 1.14
(website: getting-started-with-karpenter/cloudformation.yaml, explained in reference/cloudformation).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as k8s

from components.charts import release_args
from components.pod_identity import trust_policy

if TYPE_CHECKING:
    from settings import ChartSource

NAMESPACE = "kube-system"
SERVICE_ACCOUNT = "karpenter"

NODE_POLICIES = (
    # The VPC CNI runs on every node before any pod does, the Pod Identity agent among them: its permission to attach
    # addresses has to be there without an agent, so it is the node's. Pods cannot take it (IMDSv2 with hop limit 1).
    "AmazonEKS_CNI_Policy",
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonSSMManagedInstanceCore",
)

# Karpenter's controllers parse just these (pkg/controllers/interruption/messages).
INTERRUPTION_EVENTS: dict[str, dict[str, list[str]]] = {
    "spot": {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]},
    "rebalance": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance Rebalance Recommendation"]},
    "state": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]},
    "health": {"source": ["aws.health"], "detail-type": ["AWS Health Event"]},
    # A capacity block is taken back at its end, with a warning: pools with `reserved` capacity live on it.
    "reserved": {"source": ["aws.ec2"], "detail-type": ["EC2 Capacity Reservation Instance Interruption Warning"]},
}

Statement = dict[str, Any]

# Seconds. An older warning is about a node that is gone.
QUEUE_RETENTION = 300
# Seconds: a system node may still be joining, and two images are pulled.
RELEASE_TIMEOUT = 600


@dataclass(frozen=True, kw_only=True)
class KarpenterArgs:
    """What Karpenter has to know about its cluster.

    `charts` is the stack file's `gpulab:charts`. `isolated_vpc`: there is no way out of the VPC (`nat: none`), so the
    controller does not ask for prices, and node classes use the instance profile made here, as IAM cannot be reached.
    `controller_after` is what its pods need to run: system nodes and the Pod Identity agent. One of its `replicas`
    works, any other waits to take over.
    """

    cluster_name: pulumi.Input[str]
    cluster_endpoint: pulumi.Input[str]
    region: pulumi.Input[str]
    partition: pulumi.Input[str]
    account_id: pulumi.Input[str]
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    isolated_vpc: bool = False
    replicas: int = 2
    controller_after: Sequence[pulumi.Resource] = ()


class Karpenter(pulumi.ComponentResource):
    """The controller with its role and interruption queue, and the role of the nodes that it makes.

    Node pools depend on the component: they have to be gone, and their nodes with them, while the controller runs.
    `instance_profile_name` is None unless the VPC is isolated: elsewhere Karpenter makes a profile for each node class,
    from `node_role_name`.
    """

    node_role_name: pulumi.Output[str]
    node_role_arn: pulumi.Output[str]
    instance_profile_name: pulumi.Output[str] | None
    queue_name: pulumi.Output[str]
    release: k8s.helm.v3.Release

    def __init__(self, name: str, args: KarpenterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Karpenter", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        node_role = aws.iam.Role(
            f"{name}-node",
            description="Nodes that Karpenter makes",
            assume_role_policy=pulumi.Output.from_input(args.partition).apply(node_trust_policy),
            opts=child,
        )
        node_permissions: list[pulumi.Resource] = [
            aws.iam.RolePolicyAttachment(
                f"{name}-node-{policy}",
                role=node_role.name,
                policy_arn=pulumi.Output.format("arn:{0}:iam::aws:policy/{1}", args.partition, policy),
                opts=child,
            )
            for policy in NODE_POLICIES
        ]
        # EKS makes this entry for its managed node groups only; in API mode a node without it cannot join.
        access_entry = aws.eks.AccessEntry(
            f"{name}-node",
            cluster_name=args.cluster_name,
            principal_arn=node_role.arn,
            type="EC2_LINUX",
            opts=child,
        )
        instance_profile = (
            aws.iam.InstanceProfile(f"{name}-node", role=node_role.name, opts=child) if args.isolated_vpc else None
        )

        queue = aws.sqs.Queue(name, message_retention_seconds=QUEUE_RETENTION, sqs_managed_sse_enabled=True, opts=child)
        rules = {
            event: aws.cloudwatch.EventRule(f"{name}-{event}", event_pattern=json.dumps(pattern), opts=child)
            for event, pattern in INTERRUPTION_EVENTS.items()
        }
        queue_policy = aws.sqs.QueuePolicy(
            name,
            queue_url=queue.url,
            policy=pulumi.Output.all(
                queue_arn=queue.arn,
                rule_arns=pulumi.Output.all(*(rule.arn for rule in rules.values())),
                account_id=args.account_id,
            ).apply(lambda known: interruption_queue_policy(**known)),
            opts=child,
        )
        targets = [
            aws.cloudwatch.EventTarget(f"{name}-{event}", rule=rule.name, arn=queue.arn, opts=child)
            for event, rule in rules.items()
        ]

        scope = pulumi.Output.all(
            partition=args.partition,
            region=args.region,
            account_id=args.account_id,
            cluster_name=args.cluster_name,
            node_role_arn=node_role.arn,
            queue_arn=queue.arn,
        ).apply(lambda known: PolicyScope(**known))
        controller_role = aws.iam.Role(
            f"{name}-controller",
            description="Karpenter's controller",
            assume_role_policy=scope.apply(lambda scope: trust_policy(scope.cluster_arn, NAMESPACE, SERVICE_ACCOUNT)),
            opts=child,
        )
        permissions: list[pulumi.Resource] = []
        for purpose, statements in CONTROLLER_POLICIES.items():
            policy = aws.iam.Policy(
                f"{name}-{purpose}",
                policy=scope.apply(lambda scope, statements=statements: policy_document(statements(scope))),
                opts=child,
            )
            permissions.append(
                aws.iam.RolePolicyAttachment(
                    f"{name}-{purpose}", role=controller_role.name, policy_arn=policy.arn, opts=child
                )
            )
        association = aws.eks.PodIdentityAssociation(
            name,
            cluster_name=args.cluster_name,
            namespace=NAMESPACE,
            service_account=SERVICE_ACCOUNT,
            role_arn=controller_role.arn,
            opts=child,
        )

        # Helm never upgrades what is in a chart's crds/, so the CRDs are a release of their own. Uninstalling it takes
        # every NodePool with it: it goes last, and its name never changes.
        crds = k8s.helm.v3.Release(
            f"{name}-crd",
            name="karpenter-crd",
            namespace=NAMESPACE,
            timeout=RELEASE_TIMEOUT,
            atomic=True,
            opts=child,
            **release_args("karpenter-crd", args.charts),
        )
        self.release = k8s.helm.v3.Release(
            name,
            name="karpenter",
            namespace=NAMESPACE,
            skip_crds=True,
            values=karpenter_values(
                region=args.region,
                cluster_name=args.cluster_name,
                cluster_endpoint=args.cluster_endpoint,
                queue_name=queue.name,
                isolated_vpc=args.isolated_vpc,
                replicas=args.replicas,
            ),
            timeout=RELEASE_TIMEOUT,
            # A first install that fails is taken away, an upgrade rolled back: the next `up` starts from what ran.
            atomic=True,
            # Credentials reach a pod as it is admitted, so the association comes first. What the controller and its
            # nodes need, down to the last node's termination, goes after it.
            opts=pulumi.ResourceOptions.merge(
                child,
                pulumi.ResourceOptions(
                    depends_on=[
                        *args.controller_after,
                        crds,
                        association,
                        *permissions,
                        access_entry,
                        *node_permissions,
                        *([instance_profile] if instance_profile else []),
                        queue_policy,
                        *targets,
                    ]
                ),
            ),
            **release_args("karpenter", args.charts),
        )

        self.node_role_name = node_role.name
        self.node_role_arn = node_role.arn
        self.instance_profile_name = instance_profile.name if instance_profile else None
        self.queue_name = queue.name
        self.register_outputs(
            {
                "node_role_name": self.node_role_name,
                "node_role_arn": self.node_role_arn,
                "instance_profile_name": self.instance_profile_name,
                "queue_name": self.queue_name,
            }
        )


def karpenter_values(
    *,
    region: pulumi.Input[str],
    cluster_name: pulumi.Input[str],
    cluster_endpoint: pulumi.Input[str],
    queue_name: pulumi.Input[str],
    isolated_vpc: bool,
    replicas: int = 2,
) -> dict[str, Any]:
    """The values of the chart `karpenter`.

    The chart's defaults say the rest: replicas on different nodes, with the priority of a system component, that
    tolerate the system nodes' taint and never run on a node that has the label `karpenter.sh/nodepool`.
    """
    return {
        "serviceAccount": {"name": SERVICE_ACCOUNT},
        "replicas": replicas,
        # The node's resolver: CoreDNS may be what waits for a node that only Karpenter can make.
        "dnsPolicy": "Default",
        "controller": {
            # Else it asks the metadata service, which is out of a pod's reach (hop limit 1), and ends at that.
            "env": [{"name": "AWS_REGION", "value": region}],
            "resources": {
                "requests": {"cpu": "500m", "memory": "1Gi"},
                "limits": {"memory": "1Gi"},
            },
        },
        "settings": {
            "clusterName": cluster_name,
            "clusterEndpoint": cluster_endpoint,
            "interruptionQueue": queue_name,
            "isolatedVPC": isolated_vpc,
            # Shared GPUs are announced to the scheduler by NodeOverlays.
            "featureGates": {"nodeOverlay": True},
        },
    }


def policy_document(statements: list[Statement]) -> str:
    """An IAM policy without a superfluous character: IAM counts them (6,144 a managed policy, white space excepted)."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def interruption_queue_policy(queue_arn: str, rule_arns: list[str], account_id: str) -> str:
    """Who may use the queue: the rules given send, and nobody does anything without TLS.

    The published statement lets both services send for anybody; here a rule of another account cannot (confused deputy,
    "Amazon SQS permissions", EventBridge user guide).
    """
    return policy_document(
        [
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
        ]
    )


def node_trust_policy(partition: str) -> str:
    """Who may take the nodes' role: EC2, for an instance."""
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return policy_document([{"Effect": "Allow", "Principal": {"Service": f"ec2.{suffix}"}, "Action": "sts:AssumeRole"}])


@dataclass(frozen=True, kw_only=True)
class PolicyScope:
    """What the controller's permissions are narrowed down to."""

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
        """The ARN patterns of the region's EC2 resources of some kinds; public ones have the account ''."""
        return [f"arn:{self.partition}:ec2:{self.region}:{account}:{kind}/*" for kind in kinds]

    def owned(self, key: str) -> dict[str, str]:
        """The condition that the tag under `key` (aws:ResourceTag or aws:RequestTag) says: this cluster's."""
        return {f"{key}/kubernetes.io/cluster/{self.cluster_name}": "owned"}

    def requested(self) -> dict[str, str]:
        """The condition that what is made gets both of this cluster's tags."""
        return {**self.owned("aws:RequestTag"), "aws:RequestTag/eks:eks-cluster-name": self.cluster_name}


# What Karpenter tags in one call with making it.
_TAGGED_AT_CREATION = (
    "fleet",
    "instance",
    "volume",
    "network-interface",
    "launch-template",
    "spot-instances-request",
)


def node_lifecycle_statements(scope: PolicyScope) -> list[Statement]:
    """Make, tag and terminate instances and launch templates: only what carries this cluster's tag."""
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
    """Hand the nodes' role, and no other, to EC2, through instance profiles that carry this cluster's tag."""
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
    """Ask EKS about this cluster."""
    return [
        {
            "Sid": "AllowAPIServerEndpointDiscovery",
            "Effect": "Allow",
            "Resource": scope.cluster_arn,
            "Action": "eks:DescribeCluster",
        }
    ]


def interruption_statements(scope: PolicyScope) -> list[Statement]:
    """Take messages off the interruption queue."""
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
    """Read what there is to buy, and where. All of it is listings, which IAM cannot narrow down to a cluster."""
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
