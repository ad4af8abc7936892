"""The AWS Load Balancer Controller: it registers pods in Pulumi's target groups, and makes nothing itself."""

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
from components.ground.pod_identity import PodRoleArgs, pod_role
from components.ground.system_nodes import SYSTEM_NODES
from components.images import with_digests

if TYPE_CHECKING:
    from settings import ChartSource

CHART = "aws-load-balancer-controller"
NAMESPACE = "kube-system"
SERVICE_ACCOUNT = "aws-load-balancer-controller"
REPLICAS = 2

# Seconds: a system node may still be joining, and the image must be pulled.
RELEASE_TIMEOUT = 600


@dataclass(frozen=True, kw_only=True)
class LoadBalancerControllerArgs:
    """What the controller needs to know. `charts` is the stack file's `gpulab:charts`.

    `controller_after` is what its pods need to run: system nodes and the Pod Identity agent. With `by_digest`, its
    image is pinned by its digest, if contracts has one.
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

    TargetGroupBindings depend on `release`: its webhook admits them, and only the running controller deregisters
    targets and removes the binding's finalizer.
    """

    release: k8s.helm.v3.Release

    def __init__(self, name: str, args: LoadBalancerControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:LoadBalancerController", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        policy = aws.iam.Policy(
            name,
            policy=pulumi.Output.from_input(args.partition).apply(controller_policy),
            opts=child,
        )
        controller = pod_role(
            name,
            PodRoleArgs(
                cluster_name=args.cluster_name,
                cluster_arn=args.cluster_arn,
                namespace=NAMESPACE,
                service_account=SERVICE_ACCOUNT,
                description="AWS Load Balancer Controller",
                attached={name: policy.arn},
            ),
            child,
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
            # A failed first install is removed and a failed upgrade rolled back, so that the next `up` starts from what
            # ran before.
            atomic=True,
            # A pod gets its credentials at its admission, and needs them until the last binding is gone.
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[*args.controller_after, controller.association, *controller.permissions]
            ),
            **release_args(CHART, args.charts),
        )
        self.register_outputs({"release": self.release.name})


def controller_values(
    *, cluster_name: pulumi.Input[str], region: pulumi.Input[str], vpc_id: pulumi.Input[str]
) -> dict[str, Any]:
    """The values of the chart `aws-load-balancer-controller`."""
    return {
        "clusterName": cluster_name,
        # Otherwise it asks the metadata service, which pods can't reach (hop limit 1), and exits.
        "region": region,
        "vpcId": vpc_id,
        "replicaCount": REPLICAS,
        "serviceAccount": {"name": SERVICE_ACCOUNT},
        **SYSTEM_NODES.pod,
        "podDisruptionBudget": {"maxUnavailable": 1},
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}},
        # It would take over every new Service of type LoadBalancer, and every Service would wait for its webhook.
        "enableServiceMutatorWebhook": False,
        # It serves no Ingresses: the load balancer, its rules and its web ACL are Pulumi's.
        "createIngressClassResource": False,
        "ingressClassParams": {"create": False},
        "enableShield": False,
        "enableWaf": False,
        "enableWafv2": False,
        # Otherwise an upgrade makes new certificates, which the old pods do not have.
        "keepTLSSecret": True,
    }


def controller_policy(partition: str) -> str:
    """What the controller may do, as its project publishes it, for the partition.

    Without white space, to fit IAM's limit.
    """
    document = json.dumps(contracts.iam_policy("aws-load-balancer-controller"), separators=(",", ":"))
    return document.replace('"arn:aws:', f'"arn:{partition}:')
