"""Security group rules that admit a range of addresses."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws


def admit(
    name: str, cidr: str, purpose: str, *, port: int, group_id: pulumi.Input[str], opts: pulumi.ResourceOptions
) -> aws.vpc.SecurityGroupIngressRule:
    """Lets an IPv4 range reach a TCP port of the group's members. `purpose` becomes part of the rule's description."""
    return aws.vpc.SecurityGroupIngressRule(
        f"{name}-{cidr.replace('/', '-')}",
        security_group_id=group_id,
        description=f"{purpose} from {cidr}",
        ip_protocol="tcp",
        from_port=port,
        to_port=port,
        cidr_ipv4=cidr,
        opts=opts,
    )
