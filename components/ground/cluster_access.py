"""Who has access to the cluster: an access entry for each IAM principal, and what those that preview may see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks
import pulumi_kubernetes as kubernetes

ADMINISTRATOR_POLICY = "AmazonEKSClusterAdminPolicy"
# Not AmazonEKSAdminViewPolicy: that one reads Secrets.
VIEWER_POLICY = "AmazonEKSViewPolicy"
# A refresh reads everything that the program made, and the provider fails when a read is refused. AmazonEKSViewPolicy
# lacks Secrets (where Helm keeps its releases), custom resources and cluster-wide ones. AmazonEKSAdminViewPolicy has
# them, but its `get` on everything includes `pods/exec` and `nodes/proxy`, with which a reader could change things.
PREVIEWER_POLICY = "AmazonEKSSecretReaderPolicy"
PREVIEWER_GROUP = "gpulab:previewers"
_LOOK = ["get", "list", "watch"]
PREVIEWER_RULES: list[Any] = [
    {
        "apiGroups": [""],
        # Not `*`, which would include subresources. EKS's policy covers the Secrets.
        "resources": [
            "configmaps", "endpoints", "events", "limitranges", "namespaces", "nodes", "persistentvolumeclaims",
            "persistentvolumes", "pods", "replicationcontrollers", "resourcequotas", "serviceaccounts", "services",
        ],
        "verbs": _LOOK,
    },
    {
        # API groups of Kubernetes, and of the controllers that the platform installs.
        "apiGroups": [
            "admissionregistration.k8s.io", "apiextensions.k8s.io", "apps", "autoscaling", "batch", "elbv2.k8s.aws",
            "karpenter.k8s.aws", "karpenter.sh", "networking.k8s.io", "nvidia.com", "policy", "postgresql.cnpg.io",
            "rbac.authorization.k8s.io", "scheduling.k8s.io", "snapshot.storage.k8s.io", "storage.k8s.io",
        ],
        "resources": ["*"],
        "verbs": _LOOK,
    },
]  # fmt: skip


def access_entries(
    partition: pulumi.Input[str],
    administrators: Sequence[str],
    viewers: Sequence[str] = (),
    previewers: Sequence[str] = (),
) -> dict[str, eks.AccessEntryArgs]:
    """An access entry for each principal, cluster-wide, under a key that does not depend on the order of the lists."""
    return {
        f"{kind}-{arn.split(':', 4)[4].replace(':', '-')}": eks.AccessEntryArgs(
            principal_arn=arn,
            kubernetes_groups=groups,
            access_policies={
                kind: eks.AccessPolicyAssociationArgs(
                    policy_arn=pulumi.Output.concat("arn:", partition, ":eks::aws:cluster-access-policy/", policy),
                    access_scope=aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
                )
            },
        )
        for kind, policy, groups, arns in (
            ("administrator", ADMINISTRATOR_POLICY, None, administrators),
            ("viewer", VIEWER_POLICY, None, viewers),
            ("previewer", PREVIEWER_POLICY, [PREVIEWER_GROUP], previewers),
        )
        for arn in arns
    }


def let_previewers_look(name: str, opts: pulumi.ResourceOptions) -> None:
    """Lets the group of previewers read what the program makes in the cluster."""
    role = kubernetes.rbac.v1.ClusterRole(
        f"{name}-previewers", metadata={"name": PREVIEWER_GROUP}, rules=PREVIEWER_RULES, opts=opts
    )
    kubernetes.rbac.v1.ClusterRoleBinding(
        f"{name}-previewers",
        metadata={"name": PREVIEWER_GROUP},
        role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.metadata["name"]},
        subjects=[{"api_group": "rbac.authorization.k8s.io", "kind": "Group", "name": PREVIEWER_GROUP}],
        opts=opts,
    )


def is_same_principal(caller_arn: str, principal_arn: str) -> bool:
    """Whether a caller, as `sts:GetCallerIdentity` names it, acts as an IAM role or user.

    A session of a role is `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`, without the path that the role's ARN has.
    """
    _, _, service, _, account, resource = caller_arn.split(":", 5)
    if service != "sts" or not resource.startswith("assumed-role/"):
        return caller_arn == principal_arn
    _, _, _, _, principal_account, principal = principal_arn.split(":", 5)
    role = resource.split("/")[1]
    return account == principal_account and principal.startswith("role/") and principal.split("/")[-1] == role
