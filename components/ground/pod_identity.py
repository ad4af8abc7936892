"""EKS Pod Identity: gives the pods of one service account their own IAM role.

An association takes effect some seconds after it is made ("Learn how EKS Pod Identity grants pods access to AWS
services", EKS user guide). A pod that is admitted before that never gets credentials, because its containers restart
without a new admission. So an association depends on the control plane only, and is there minutes before the node on
which its pod starts: it needs no service account, node or addon. What runs the pods depends on the association, so a
destroy deletes it after them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi
import pulumi_aws as aws

from components.iam import policy_document


@dataclass(frozen=True, kw_only=True)
class PodRoleArgs:
    """Which service account's pods get the role, and what they may do with it.

    `policy` is the role's inline IAM document. `attached` has the ARNs of managed policies by the name of the resource
    that attaches each. `role_name` is the name of the role's resource, if it differs from the association's;
    `name_prefix` is the prefix of the role's name in IAM.
    """

    cluster_name: pulumi.Input[str]
    cluster_arn: pulumi.Input[str]
    namespace: str
    service_account: str
    description: str
    policy: pulumi.Input[str] | None = None
    attached: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    role_name: str | None = None
    name_prefix: str | None = None


@dataclass(frozen=True, kw_only=True)
class PodRole:
    """A role, and what its pods must wait for: its permissions and the association."""

    role: aws.iam.Role
    association: aws.eks.PodIdentityAssociation
    permissions: list[pulumi.Resource]


def pod_role(name: str, args: PodRoleArgs, opts: pulumi.ResourceOptions) -> PodRole:
    """Makes the role of a service account's pods, its permissions and its association."""
    role = aws.iam.Role(
        args.role_name or name,
        name_prefix=args.name_prefix,
        description=args.description,
        assume_role_policy=pulumi.Output.from_input(args.cluster_arn).apply(
            lambda cluster_arn: trust_policy(cluster_arn, args.namespace, args.service_account)
        ),
        opts=opts,
    )
    own: list[pulumi.Resource] = (
        [aws.iam.RolePolicy(name, role=role.name, policy=args.policy, opts=opts)] if args.policy is not None else []
    )
    attached = [
        aws.iam.RolePolicyAttachment(attachment, role=role.name, policy_arn=arn, opts=opts)
        for attachment, arn in args.attached.items()
    ]
    association = aws.eks.PodIdentityAssociation(
        name,
        cluster_name=args.cluster_name,
        namespace=args.namespace,
        service_account=args.service_account,
        role_arn=role.arn,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=own)),
    )
    return PodRole(role=role, association=association, permissions=[*own, *attached])


def trust_policy(cluster_arn: str, namespace: str, service_account: str) -> str:
    """Who may assume a role: EKS Pod Identity, for the pods of that service account in that cluster.

    Source: "Create IAM role with trust policy required by EKS Pod Identity", EKS user guide.
    """
    return policy_document(
        {
            "Effect": "Allow",
            "Principal": {"Service": "pods.eks.amazonaws.com"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": {
                "StringEquals": {
                    "aws:RequestTag/eks-cluster-arn": cluster_arn,
                    "aws:RequestTag/kubernetes-namespace": namespace,
                    "aws:RequestTag/kubernetes-service-account": service_account,
                }
            },
        }
    )
