"""The AWS Load Balancer Controller: it registers pods in target groups that are Pulumi's, and makes nothing itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as k8s

import contracts
from components.charts import release_args
from components.cluster import SYSTEM_NODE_LABELS, SYSTEM_TOLERATION
from components.images import with_digests
from components.pod_identity import trust_policy

if TYPE_CHECKING:
    from settings import ChartSource

CHART = "aws-load-balancer-controller"
NAMESPACE = "kube-system"
SERVICE_ACCOUNT = "aws-load-balancer-controller"
REPLICAS = 2

# Seconds: a system node may still be joining, and an image is pulled.
RELEASE_TIMEOUT = 600


@dataclass(frozen=True, kw_only=True)
class LoadBalancerControllerArgs:
    """What the controller has to know. `charts` is the stack file's `gpulab:charts`.

    `controller_after` is what its pods need to run: system nodes and the Pod Identity agent.
    Its image is taken by its digest with `by_digest`, where contracts have one.
    """

    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    region: str
    partition: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    by_digest: bool = False
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    controller_after: Sequence[pulumi.Resource] = ()


class LoadBalancerController(pulumi.ComponentResource):
    """The controller with its role.

    TargetGroupBindings depend on `release`: its webhook admits them, and only the running controller takes targets out
    of a group and lets go of the binding.
    """

    release: k8s.helm.v3.Release

    def __init__(self, name: str, args: LoadBalancerControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:LoadBalancerController", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        role = aws.iam.Role(
            name,
            description="AWS Load Balancer Controller",
            assume_role_policy=pulumi.Output.from_input(args.cluster_arn).apply(
                lambda cluster_arn: trust_policy(cluster_arn, NAMESPACE, SERVICE_ACCOUNT)
            ),
            opts=child,
        )
        policy = aws.iam.Policy(
            name,
            policy=pulumi.Output.from_input(args.partition).apply(controller_policy),
            opts=child,
        )
        permission = aws.iam.RolePolicyAttachment(name, role=role.name, policy_arn=policy.arn, opts=child)
        association = aws.eks.PodIdentityAssociation(
            name,
            cluster_name=args.cluster_name,
            namespace=NAMESPACE,
            service_account=SERVICE_ACCOUNT,
            role_arn=role.arn,
            opts=child,
        )
        self.release = k8s.helm.v3.Release(
            name,
            name=CHART,
            namespace=NAMESPACE,
            values=with_digests(
                CHART,
                controller_values(cluster_name=args.cluster_name, region=args.region, vpc_id=args.vpc_id),
                args.charts,
                by_digest=args.by_digest,
            ),
            timeout=RELEASE_TIMEOUT,
            # A first install that fails is taken away, an upgrade rolled back: the next `up` starts from what ran.
            atomic=True,
            # Credentials reach a pod as it is admitted, and are needed until the last binding is gone.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[*args.controller_after, association, permission]),
            **release_args(CHART, args.charts),
        )
        self.register_outputs({"release": self.release.name})


def controller_values(
    *, cluster_name: pulumi.Input[str], region: pulumi.Input[str], vpc_id: pulumi.Input[str]
) -> dict[str, Any]:
    """The values of the chart `aws-load-balancer-controller`."""
    return {
        "clusterName": cluster_name,
        # Else it asks the metadata service, which is out of a pod's reach (hop limit 1), and ends at that.
        "region": region,
        "vpcId": vpc_id,
        "replicaCount": REPLICAS,
        "serviceAccount": {"name": SERVICE_ACCOUNT},
        "nodeSelector": SYSTEM_NODE_LABELS,
        "tolerations": [SYSTEM_TOLERATION],
        "podDisruptionBudget": {"maxUnavailable": 1},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}},
        # It would make every new Service of type LoadBalancer its own, and every Service wait for its webhook.
        "enableServiceMutatorWebhook": False,
        # No Ingress is served: the load balancer, its rules and its web ACL are Pulumi's.
        "createIngressClassResource": False,
        "ingressClassParams": {"create": False},
        "enableShield": False,
        "enableWaf": False,
        "enableWafv2": False,
        # An upgrade makes new ones otherwise, which the pods of before do not have.
        "keepTLSSecret": True,
    }


def controller_policy(partition: str) -> str:
    """What the controller may do, as its project publishes it, in the partition; white space left out for IAM."""
    document = json.dumps(contracts.iam_policy("aws-load-balancer-controller"), separators=(",", ":"))
    return document.replace('"arn:aws:', f'"arn:{partition}:')
