"""EKS's access policies as Kubernetes roles: what an access entry's policy allows in the rehearsal's cluster.

EKS enforces access policies by an authorizer of its own. Here the token review puts a caller into one group for each
policy that is associated cluster-wide, and these bindings give the groups their rights. A policy associated with
namespaces gives a group of its own for each, which nothing binds.
Source: https://docs.aws.amazon.com/eks/latest/userguide/access-policy-permissions.html.
"""

from __future__ import annotations

from typing import Any

_GROUP = "gpulab:access:"
_ADMIN_VIEW = "gpulab:access-admin-view"
_READER_OF_SECRETS = "gpulab:access-secret-reader"

# Access policy -> the ClusterRole that stands for it, None where the rehearsal has no use of it.
POLICIES: dict[str, str | None] = {
    "AmazonEKSClusterAdminPolicy": "cluster-admin",
    "AmazonEKSAdminPolicy": "admin",
    "AmazonEKSEditPolicy": "edit",
    "AmazonEKSViewPolicy": "view",
    "AmazonEKSAdminViewPolicy": _ADMIN_VIEW,
    "AmazonEKSAutoNodePolicy": None,
    "AmazonEKSBlockStoragePolicy": None,
    "AmazonEKSComputePolicy": None,
    "AmazonEKSHybridPolicy": None,
    "AmazonEKSLoadBalancingPolicy": None,
    "AmazonEKSNetworkingPolicy": None,
    "AmazonEKSSecretReaderPolicy": _READER_OF_SECRETS,
}


def groups_of(policies: dict[str, dict[str, Any]]) -> list[str]:
    """The groups of a caller whose access entry has these associations, by policy ARN."""
    groups = []
    for arn, association in policies.items():
        name = arn.rpartition("/")[2]
        namespaces = association["accessScope"].get("namespaces") or [""]
        groups += [f"{_GROUP}{name}{':' if namespace else ''}{namespace}" for namespace in namespaces]
    return groups


def access_bindings() -> list[dict[str, Any]]:
    """The ClusterRole and ClusterRoleBindings that the control plane applies at its start."""
    manifests: list[dict[str, Any]] = [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [{"apiGroups": [group], "resources": [resource], "verbs": ["get", "list", "watch"]}],
        }
        for name, group, resource in ((_ADMIN_VIEW, "*", "*"), (_READER_OF_SECRETS, "", "secrets"))
    ]
    for policy, role in POLICIES.items():
        if role:
            manifests.append(
                {
                    "apiVersion": "rbac.authorization.k8s.io/v1",
                    "kind": "ClusterRoleBinding",
                    "metadata": {"name": f"{_GROUP}{policy}"},
                    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                    "subjects": [
                        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": f"{_GROUP}{policy}"}
                    ],
                }
            )
    return manifests
