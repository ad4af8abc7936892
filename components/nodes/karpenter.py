"""Karpenter: the controller that buys nodes, and the queue that warns it of interruptions.

The queue and its rules are those of the CloudFormation template that Karpenter publishes for 1.14 (website:
getting-started-with-karpenter/cloudformation.yaml, explained in reference/cloudformation).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as k8s

from components.charts import release_args
from components.ground.node_role import node_role
from components.ground.pod_identity import PodRoleArgs, pod_role
from components.iam import policy_document
from components.nodes.karpenter_permissions import CONTROLLER_POLICIES, PolicyScope, interruption_queue_policy

if TYPE_CHECKING:
    from settings import ChartSource

NAMESPACE = "kube-system"
SERVICE_ACCOUNT = "karpenter"

# Karpenter parses only these events (pkg/controllers/interruption/messages).
INTERRUPTION_EVENTS: dict[str, dict[str, list[str]]] = {
    "spot": {"source": ["aws.ec2"], "detail-type": ["EC2 Spot Instance Interruption Warning"]},
    "rebalance": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance Rebalance Recommendation"]},
    "state": {"source": ["aws.ec2"], "detail-type": ["EC2 Instance State-change Notification"]},
    "health": {"source": ["aws.health"], "detail-type": ["AWS Health Event"]},
    # AWS takes a capacity block back at its end, after a warning; this concerns pools with `reserved` capacity.
    "reserved": {"source": ["aws.ec2"], "detail-type": ["EC2 Capacity Reservation Instance Interruption Warning"]},
}

# Seconds. An older warning concerns a node that is already gone.
QUEUE_RETENTION = 300
# Seconds: a system node may still be joining, and two images must be pulled.
RELEASE_TIMEOUT = 600


@dataclass(frozen=True, kw_only=True)
class KarpenterArgs:
    """What Karpenter needs to know about its cluster.

    `charts` is the stack file's `gpulab:charts`. `isolated_vpc`: the VPC has no route to the internet (`nat: none`), so
    the controller does not look up prices, and node classes use the instance profile made here, because IAM cannot be
    reached. `controller_after` is what its pods need to run: system nodes and the Pod Identity agent. One of its
    `replicas` is active; the others are on standby.
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

    Node pools depend on the component: they and their nodes must be deleted while the controller still runs.
    `instance_profile_name` is None unless the VPC is isolated; otherwise Karpenter makes a profile for each node class
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

        nodes, node_permissions = node_role(
            f"{name}-node", args.partition, child, description="Nodes that Karpenter makes"
        )
        # EKS makes this entry only for managed node groups. In API mode, a node without it cannot join.
        access_entry = aws.eks.AccessEntry(
            f"{name}-node",
            cluster_name=args.cluster_name,
            principal_arn=nodes.arn,
            type="EC2_LINUX",
            opts=child,
        )
        instance_profile = (
            aws.iam.InstanceProfile(f"{name}-node", role=nodes.name, opts=child) if args.isolated_vpc else None
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
            node_role_arn=nodes.arn,
            queue_arn=queue.arn,
        ).apply(lambda known: PolicyScope(**known))
        attached = {
            f"{name}-{purpose}": aws.iam.Policy(
                f"{name}-{purpose}",
                policy=scope.apply(lambda scope, statements=statements: policy_document(*statements(scope))),
                opts=child,
            ).arn
            for purpose, statements in CONTROLLER_POLICIES.items()
        }
        controller = pod_role(
            name,
            PodRoleArgs(
                cluster_name=args.cluster_name,
                cluster_arn=scope.apply(lambda scope: scope.cluster_arn),
                namespace=NAMESPACE,
                service_account=SERVICE_ACCOUNT,
                description="Karpenter's controller",
                attached=attached,
                role_name=f"{name}-controller",
            ),
            child,
        )

        # Helm never upgrades a chart's crds/ folder, so the CRDs are a separate release. Uninstalling it deletes every
        # NodePool, so it is deleted last, and its name must never change.
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
            # A failed first install is removed and a failed upgrade rolled back, so that the next `up` starts from what
            # ran before.
            atomic=True,
            # A pod gets its credentials at its admission, so the association must exist first. What the controller and
            # its nodes need until the last node's termination must outlive it.
            opts=pulumi.ResourceOptions.merge(
                child,
                pulumi.ResourceOptions(
                    depends_on=[
                        *args.controller_after,
                        crds,
                        controller.association,
                        *controller.permissions,
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

        self.node_role_name = nodes.name
        self.node_role_arn = nodes.arn
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

    The chart's defaults do the rest: replicas run on different nodes with a system component's priority, tolerate the
    system nodes' taint, and never run on nodes with the label `karpenter.sh/nodepool`.
    """
    return {
        "serviceAccount": {"name": SERVICE_ACCOUNT},
        "replicas": replicas,
        # The node's resolver: CoreDNS itself may wait for a node that only Karpenter can make.
        "dnsPolicy": "Default",
        "controller": {
            # Otherwise it asks the metadata service, which pods can't reach (hop limit 1), and exits.
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
            # NodeOverlays tell Karpenter about shared GPUs.
            "featureGates": {"nodeOverlay": True},
        },
    }
