"""The load balancer: one ALB, from where it can be reached, what it logs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components.access_logs import AccessLogs, AccessLogsArgs

HTTP, HTTPS = 80, 443
LONGEST_NAME = 32
_HASH_CHARACTERS = 8


@dataclass(frozen=True, kw_only=True)
class LoadBalancerArgs:
    """What the load balancer is made of.

    `internal`: in `subnet_ids` of the private kind, with private addresses; else in public ones. `cidrs` are the IPv4
    ranges that reach it. `idle_timeout` is in seconds. Without `access_logs_retention_days` nothing is logged.
    `deletion_protection` keeps ELB from deleting the load balancer, and Pulumi from deleting its logs.
    """

    cluster_name: str
    internal: bool
    vpc_id: pulumi.Input[str]
    subnet_ids: Sequence[pulumi.Input[str]]
    cidrs: Sequence[str]
    idle_timeout: int
    account_id: pulumi.Input[str]
    access_logs_retention_days: int | None = None
    web_acl_arn: str | None = None
    deletion_protection: bool = False


class LoadBalancer(pulumi.ComponentResource):
    """An application load balancer that answers nobody yet: listeners and rules are Ingress's, as is an open port 443.

    The system nodes depend on it, so that it outlives every node that it sends requests to. What it may reach is for
    Ingress to say: its security group lets nothing out.
    """

    arn: pulumi.Output[str]
    dns_name: pulumi.Output[str]
    zone_id: pulumi.Output[str]
    """Of AWS's own zone in which `dns_name` is, for alias records."""
    security_group_id: pulumi.Output[str]

    def __init__(self, name: str, args: LoadBalancerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:LoadBalancer", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        group = aws.ec2.SecurityGroup(
            f"{name}-alb",
            description="Load balancer: HTTP and HTTPS from the ranges of the stack file",
            vpc_id=args.vpc_id,
            tags={"Name": f"{name}-alb"},
            opts=child,
        )
        admitted = [
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-alb-{port}-{cidr.replace('/', '-')}",
                security_group_id=group.id,
                description=f"{purpose} from {cidr}",
                ip_protocol="tcp",
                from_port=port,
                to_port=port,
                cidr_ipv4=cidr,
                opts=child,
            )
            for cidr in args.cidrs
            for port, purpose in ((HTTPS, "HTTPS"), (HTTP, "The redirect to HTTPS"))
        ]
        logs = None
        if args.access_logs_retention_days is not None:
            logs = AccessLogs(
                f"{name}-alb-logs",
                AccessLogsArgs(
                    account_id=args.account_id,
                    retention_days=args.access_logs_retention_days,
                    protect=args.deletion_protection,
                ),
                opts=child,
            )
        balancer = aws.lb.LoadBalancer(
            name,
            name=balancer_name(args.cluster_name),
            load_balancer_type="application",
            internal=args.internal,
            security_groups=[group.id],
            subnets=list(args.subnet_ids),
            idle_timeout=args.idle_timeout,
            drop_invalid_header_fields=True,
            enable_deletion_protection=args.deletion_protection,
            access_logs={"bucket": logs.bucket_name, "enabled": True} if logs else None,
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self, depends_on=admitted),
        )
        if args.web_acl_arn is not None:
            aws.wafv2.WebAclAssociation(name, resource_arn=balancer.arn, web_acl_arn=args.web_acl_arn, opts=child)

        self.arn = balancer.arn
        self.dns_name = balancer.dns_name
        self.zone_id = balancer.zone_id
        self.security_group_id = group.id
        self.register_outputs({"arn": self.arn, "dns_name": self.dns_name, "security_group_id": self.security_group_id})


def balancer_name(cluster_name: str) -> str:
    """The load balancer's name: the cluster's, which is longer than ELB takes if need be cut, and still unique."""
    if len(cluster_name) <= LONGEST_NAME:
        return cluster_name
    unique = hashlib.sha256(cluster_name.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{cluster_name[: LONGEST_NAME - _HASH_CHARACTERS - 1].rstrip('-')}-{unique}"
