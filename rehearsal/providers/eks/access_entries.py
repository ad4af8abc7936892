"""Access entries of a cluster: IAM principals and their access policies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

from rehearsal.providers.eks.resources import AccessEntry, AccessPolicyAssociation, EksCluster


def access_entry(name: str, entry: Mapping[str, Any], cluster: EksCluster, parent: pulumi.Resource) -> AccessEntry:
    """The entry `name` as the component's inputs describe it, with the policies that they associate."""
    principal = entry["principalArn"]
    registered = AccessEntry(
        name,
        {
            "clusterName": cluster.name,
            "principalArn": principal,
            "kubernetesGroups": entry.get("kubernetesGroups"),
            "tags": entry.get("tags"),
            "type": entry.get("type"),
            "userName": entry.get("username"),
        },
        pulumi.ResourceOptions(parent=parent, depends_on=[cluster]),
    )
    for policy_key, association in entry.get("accessPolicies", {}).items():
        policy = pulumi.Output.from_input(association)
        AccessPolicyAssociation(
            f"{name}-{policy_key}",
            {
                "accessScope": policy.apply(lambda given: given["accessScope"]),
                "principalArn": principal,
                "policyArn": policy.apply(lambda given: given["policyArn"]),
                "clusterName": cluster.name,
            },
            pulumi.ResourceOptions(parent=registered, depends_on=[registered]),
        )
    return registered


def node_entry(role: pulumi.Input[Any]) -> dict[str, Any]:
    """The inputs of the entry by which nodes with `role` join the cluster."""
    return {"principalArn": pulumi.Output.from_input(role).apply(lambda found: found.arn), "type": "EC2_LINUX"}
