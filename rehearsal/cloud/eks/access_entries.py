"""Access entries: which IAM principals may use a cluster's API, and with which access policies."""

from __future__ import annotations

import re
import uuid
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow
from moto.eks.exceptions import InvalidRequestException
from moto.eks.models import paginated_list

from rehearsal.cloud.access import POLICIES
from rehearsal.cloud.eks import checks
from rehearsal.cloud.eks.state import AccessEntry, Cluster, Operations, in_use, invalid, missing

TYPES = ("STANDARD", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "EC2", "HYBRID_LINUX")
_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}):(role|user|root)(/.+)?")
_NODE_USER = "system:node:{{EC2PrivateDNSName}}"
_MODES = "[API, API_AND_CONFIG_MAP]"


class AccessEntryOperations(Operations):
    """The operations on access entries and their associated policies."""

    def create_access_entry(self) -> ActionResult:
        cluster, principal, kind = self._cluster(), self.parameter("principalArn"), self.parameter("type", "STANDARD")
        if principal in cluster.access_entries:
            raise in_use(
                "The specified access entry resource is already in use on this cluster.", clusterName=cluster.name
            )
        if kind not in TYPES:
            raise invalid(f"unknown access entry type {kind}", clusterName=cluster.name)
        self._check_principal(cluster, principal)
        user, groups = self.parameter("username"), self.parameter("kubernetesGroups", [])
        if kind != "STANDARD" and (user or groups):
            raise invalid(f"An access entry of type {kind} takes no user name or groups", clusterName=cluster.name)
        _check_groups(cluster, user, groups)
        entry = _entry(cluster, principal, kind, user, groups, self.parameter("tags", {}))
        cluster.access_entries[principal] = AccessEntry(entry)
        return ActionResult({"accessEntry": entry})

    def describe_access_entry(self) -> ActionResult:
        return ActionResult({"accessEntry": self._entry(self._cluster()).entry})

    def list_access_entries(self) -> ActionResult:
        policy = self.parameter("associatedPolicyArn")
        found = [
            arn for arn, entry in self._cluster().access_entries.items() if policy is None or policy in entry.policies
        ]
        principals, token = paginated_list(found, self.parameter("maxResults", 100), self.parameter("nextToken"))
        return ActionResult({"accessEntries": principals, "nextToken": token})

    def update_access_entry(self) -> ActionResult:
        cluster = self._cluster()
        entry = self._entry(cluster).entry
        user, groups = self.parameter("username"), self.parameter("kubernetesGroups")
        if entry["type"] != "STANDARD":
            raise invalid(f"An access entry of type {entry['type']} can't be updated", clusterName=cluster.name)
        _check_groups(cluster, user, groups or [])
        change = {"username": user, "kubernetesGroups": groups}
        entry |= {key: value for key, value in change.items() if value is not None}
        entry["modifiedAt"] = utcnow()
        return ActionResult({"accessEntry": entry})

    def delete_access_entry(self) -> ActionResult:
        cluster = self._cluster()
        entry = self._entry(cluster)
        del cluster.access_entries[entry.entry["principalArn"]]
        return ActionResult({})

    def list_access_policies(self) -> ActionResult:
        policies = [{"name": name, "arn": self._policy_arn(name)} for name in POLICIES]
        return ActionResult({"accessPolicies": policies})

    def associate_access_policy(self) -> ActionResult:
        cluster = self._cluster()
        entry, arn, scope = self._entry(cluster), self.parameter("policyArn"), self.parameter("accessScope")
        if arn not in [self._policy_arn(name) for name in POLICIES]:
            raise invalid(f"The policyArn parameter format is not valid or it names no access policy: {arn}")
        if entry.entry["type"] != "STANDARD":
            raise invalid(f"An access entry of type {entry.entry['type']} takes no access policies")
        if scope.get("type") == "namespace" and not scope.get("namespaces"):
            raise invalid("An access scope of type namespace names at least one namespace")
        if scope.get("type") not in ("cluster", "namespace") or (
            scope["type"] == "cluster" and scope.get("namespaces")
        ):
            raise invalid(f"The access scope {scope} is neither cluster without nor namespace with namespaces")
        entry.policies[arn] = _association(arn, scope)
        return ActionResult(
            {
                "clusterName": cluster.name,
                "principalArn": entry.entry["principalArn"],
                "associatedAccessPolicy": entry.policies[arn],
            }
        )

    def disassociate_access_policy(self) -> ActionResult:
        entry, arn = self._entry(self._cluster()), self.parameter("policyArn")
        if arn not in entry.policies:
            raise missing(f"The specified policyArn {arn} could not be found in the access entry.")
        del entry.policies[arn]
        return ActionResult({})

    def list_associated_access_policies(self) -> ActionResult:
        cluster = self._cluster()
        entry = self._entry(cluster)
        return ActionResult(
            {
                "clusterName": cluster.name,
                "principalArn": entry.entry["principalArn"],
                "associatedAccessPolicies": list(entry.policies.values()),
            }
        )

    def _cluster(self) -> Cluster:
        cluster = self.cluster()
        if cluster.access_config["authenticationMode"] == "CONFIG_MAP":
            raise InvalidRequestException(
                message=f"The cluster's authentication mode must be set to one of {_MODES} to perform this operation.",
                clusterName=cluster.name,
            )
        return cluster

    def _entry(self, cluster: Cluster) -> AccessEntry:
        principal = self.parameter("principalArn")
        if principal not in cluster.access_entries:
            raise missing(f"The specified principalArn could not be found: {principal}", clusterName=cluster.name)
        return cluster.access_entries[principal]

    def _policy_arn(self, name: str) -> str:
        return f"arn:{self.eks_backend.partition}:eks::aws:cluster-access-policy/{name}"

    def _check_principal(self, cluster: Cluster, principal: str) -> None:
        parts = _PRINCIPAL.fullmatch(principal)
        if parts is None:
            raise invalid(f"The principalArn parameter format is not valid: {principal}", clusterName=cluster.name)
        # EKS looks principals up, and gives this answer for a role that does not exist (terraform-aws-eks issue 2969).
        # Here administrators need not exist, but a role cannot have this name.
        if principal.partition("/")[2].startswith("AWSReservedSSO_"):
            raise invalid("The specified principalArn is invalid: invalid principal.", clusterName=cluster.name)


def _check_groups(cluster: Cluster, user: str | None, groups: list[str]) -> None:
    reserved = ("system:", "eks:", "aws:", "amazon:", "iam:")
    for name in [*groups, *([user] if user else [])]:
        if name.startswith(reserved):
            raise invalid(f"The name {name} starts with one of {', '.join(reserved)}", clusterName=cluster.name)


def _entry(
    cluster: Cluster, principal: str, kind: str, user: str | None, groups: list[str], tags: dict[str, str]
) -> dict[str, Any]:
    parts = principal.split(":")
    name = parts[5]
    if kind.startswith("EC2"):
        user, groups = _NODE_USER, ["system:nodes"] if kind == "EC2_LINUX" else groups
    elif user is None and name.startswith("role/"):
        user = f"arn:{parts[1]}:sts::{parts[4]}:assumed-role/{name.rpartition('/')[2]}/{{{{SessionName}}}}"
    prefix = cluster.arn.replace(":cluster/", ":access-entry/")
    return {
        "clusterName": cluster.name,
        "principalArn": principal,
        "kubernetesGroups": groups,
        "accessEntryArn": f"{prefix}/{name.partition('/')[0]}/{parts[4]}/{name.rpartition('/')[2]}/{uuid.uuid4()}",
        "createdAt": utcnow(),
        "modifiedAt": utcnow(),
        "tags": tags,
        "username": user or principal,
        "type": kind,
    }


def _association(policy_arn: str, scope: dict[str, Any]) -> dict[str, Any]:
    now = utcnow()
    return {
        "policyArn": policy_arn,
        "accessScope": {"namespaces": [], **scope},
        "associatedAt": now,
        "modifiedAt": now,
    }


def admit_creator(cluster: Cluster, principal: str) -> None:
    """Makes the access entry that makes the cluster's creator its administrator."""
    policy = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
    cluster.access_entries[principal] = AccessEntry(
        _entry(cluster, principal, "STANDARD", None, [], {}), {policy: _association(policy, {"type": "cluster"})}
    )


def admit_nodes(operations: Operations, cluster: Cluster, role_arn: str) -> None:
    """Makes the access entry that EKS makes for the role of a managed node group."""
    if checks.role_of(operations, role_arn) is not None and role_arn not in cluster.access_entries:
        cluster.access_entries[role_arn] = AccessEntry(_entry(cluster, role_arn, "EC2_LINUX", None, [], {}))
