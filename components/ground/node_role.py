"""The IAM role of all nodes, system nodes and Karpenter's: what a node may do on AWS."""

from __future__ import annotations

import pulumi
import pulumi_aws as aws

from components.iam import service_trust_policy

NODE_POLICIES = (
    # The VPC CNI runs on a node before any pod, also before the Pod Identity agent. So the node's role has its
    # permission to attach addresses. Pods cannot use that role (IMDSv2 with hop limit 1).
    "AmazonEKS_CNI_Policy",
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonSSMManagedInstanceCore",
)


def node_role(
    name: str, partition: pulumi.Input[str], opts: pulumi.ResourceOptions, *, description: str | None = None
) -> tuple[aws.iam.Role, list[pulumi.Resource]]:
    """Makes the role. Returns it with its permissions: a node that starts before these exist cannot join."""
    role = aws.iam.Role(
        name,
        description=description,
        assume_role_policy=pulumi.Output.from_input(partition).apply(node_trust_policy),
        opts=opts,
    )
    permissions: list[pulumi.Resource] = [
        aws.iam.RolePolicyAttachment(
            f"{name}-{policy}",
            role=role.name,
            policy_arn=pulumi.Output.format("arn:{0}:iam::aws:policy/{1}", partition, policy),
            opts=opts,
        )
        for policy in NODE_POLICIES
    ]
    return role, permissions


def node_trust_policy(partition: str) -> str:
    """Who may assume the nodes' role: EC2, for an instance."""
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return service_trust_policy(f"ec2.{suffix}")
