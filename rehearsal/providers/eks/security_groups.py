"""The security groups that a cluster makes by default: its own, and one for self-managed nodes."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from rehearsal.providers.eks.resources import SecurityGroup, SecurityGroupRule


def cluster_security_group(
    cluster: str, vpc_id: pulumi.Input[str], tags: pulumi.Input[Mapping[str, str]], opts: pulumi.ResourceOptions
) -> SecurityGroup:
    """The group of the control plane of the component `cluster`. It can reach the internet."""
    group = SecurityGroup(
        f"{cluster}-eksClusterSecurityGroup", {"vpcId": vpc_id, "revokeRulesOnDelete": True, "tags": tags}, opts
    )
    _rule(f"{cluster}-eksClusterInternetEgressRule", "Allow internet access.", group.id, opts, egress=True)
    return group


def node_security_group(
    cluster: str,
    vpc_id: pulumi.Input[str],
    tags: pulumi.Input[Mapping[str, str]],
    cluster_group_id: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> tuple[SecurityGroup, SecurityGroupRule]:
    """The group for nodes, its rules, and the rule that admits nodes to the API server."""
    group = SecurityGroup(
        f"{cluster}-nodeSecurityGroup", {"vpcId": vpc_id, "revokeRulesOnDelete": True, "tags": tags}, opts
    )
    _rule(f"{cluster}-eksNodeIngressRule", "Allow nodes to communicate with each other", group.id, opts, itself=True)
    _rule(
        f"{cluster}-eksNodeClusterIngressRule",
        "Allow worker Kubelets and pods to receive communication from the cluster control plane",
        group.id,
        opts,
        ports=(1025, 65535),
        source=cluster_group_id,
    )
    _rule(
        f"{cluster}-eksExtApiServerClusterIngressRule",
        "Allow pods running extension API servers on port 443 to receive communication from cluster control plane",
        group.id,
        opts,
        ports=(443, 443),
        source=cluster_group_id,
    )
    _rule(f"{cluster}-eksNodeInternetEgressRule", "Allow internet access.", group.id, opts, egress=True)
    ingress = _rule(
        f"{cluster}-eksClusterIngressRule",
        "Allow pods to communicate with the cluster API Server",
        cluster_group_id,
        opts,
        ports=(443, 443),
        source=group.id,
    )
    return group, ingress


def _rule(
    name: str,
    description: str,
    group_id: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
    *,
    egress: bool = False,
    itself: bool = False,
    ports: tuple[int, int] | None = None,
    source: pulumi.Input[str] | None = None,
) -> SecurityGroupRule:
    """A TCP rule for `ports`, or one for all traffic."""
    first, last = ports or (0, 0)
    return SecurityGroupRule(
        name,
        {
            "description": description,
            "type": "egress" if egress else "ingress",
            "fromPort": first,
            "toPort": last,
            "protocol": "tcp" if ports else "-1",
            "securityGroupId": group_id,
            "cidrBlocks": ["0.0.0.0/0"] if egress else None,
            "self": True if itself else None,
            "sourceSecurityGroupId": source,
        },
        opts,
    )
