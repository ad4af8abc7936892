"""The load balancer: one ALB, who can reach it, and its access logs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.ground.ingress_rules import admit
from components.ingress.access_logs import AccessLogs, AccessLogsArgs

if TYPE_CHECKING:
    from settings import Ingress as IngressSettings

HTTP, HTTPS = 80, 443
LONGEST_NAME = 32
_HASH_CHARACTERS = 8


@dataclass(frozen=True, kw_only=True)
class LoadBalancerArgs:
    """What the load balancer is made from.

    `settings` is `gpulab:ingress` of a stack with a load balancer. `subnet_ids` are private subnets if it is internal.
    `deletion_protection` keeps ELB from deleting the load balancer, and Pulumi from deleting its logs.
    """

    cluster_name: str
    settings: IngressSettings
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    account_id: pulumi.Input[str]
    deletion_protection: bool = False


class LoadBalancer(pulumi.ComponentResource):
    """An application load balancer without listeners: Ingress makes these, their rules, and opens port 443.

    The system nodes depend on it, so that it outlives every node that it sends requests to. Its security group has no
    egress rules: Ingress adds them.
    """

    arn: pulumi.Output[str]
    dns_name: pulumi.Output[str]
    zone_id: pulumi.Output[str]
    """The id of AWS's own hosted zone that contains `dns_name`, for alias records."""
    security_group_id: pulumi.Output[str]

    def __init__(self, name: str, args: LoadBalancerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:LoadBalancer", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings = args.settings

        group = aws.ec2.SecurityGroup(
            f"{name}-alb",
            description="Load balancer: HTTP and HTTPS from the ranges of the stack file",
            vpc_id=args.vpc_id,
            tags={"Name": f"{name}-alb"},
            opts=child,
        )
        admitted = [
            admit(f"{name}-alb-{port}", cidr, purpose, port=port, group_id=group.id, opts=child)
            for cidr in settings.cidrs
            for port, purpose in ((HTTPS, "HTTPS"), (HTTP, "The redirect to HTTPS"))
        ]
        logs = None
        if settings.access_logs.enabled:
            logs = AccessLogs(
                f"{name}-alb-logs",
                AccessLogsArgs(
                    account_id=args.account_id,
                    retention_days=settings.access_logs.retention_days,
                    protect=args.deletion_protection,
                ),
                opts=child,
            )
        balancer = aws.lb.LoadBalancer(
            name,
            name=balancer_name(args.cluster_name),
            load_balancer_type="application",
            internal=settings.access == "internal",
            security_groups=[group.id],
            subnets=list(args.subnet_ids),
            idle_timeout=settings.idle_timeout,
            drop_invalid_header_fields=True,
            enable_deletion_protection=args.deletion_protection,
            access_logs={"bucket": logs.bucket_name, "enabled": True} if logs else None,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self, depends_on=admitted),
        )
        if settings.waf_acl_arn is not None:
            aws.wafv2.WebAclAssociation(name, resource_arn=balancer.arn, web_acl_arn=settings.waf_acl_arn, opts=child)

        self.arn = balancer.arn
        self.dns_name = balancer.dns_name
        self.zone_id = balancer.zone_id
        self.security_group_id = group.id
        self.register_outputs({"arn": self.arn, "dns_name": self.dns_name, "security_group_id": self.security_group_id})


def balancer_name(cluster_name: str) -> str:
    """The load balancer's name: the cluster's. If it is too long for ELB, it is cut and gets a hash, to stay unique."""
    if len(cluster_name) <= LONGEST_NAME:
        return cluster_name
    unique = hashlib.sha256(cluster_name.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{cluster_name[: LONGEST_NAME - _HASH_CHARACTERS - 1].rstrip('-')}-{unique}"
