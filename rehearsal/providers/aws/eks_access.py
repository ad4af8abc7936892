"""EKS: access entries with their policies, and Pod Identity associations."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rehearsal.aws.access import POLICIES
from rehearsal.providers.aws.base import AwsResource, known
from rehearsal.providers.aws.cloud import Cloud
from rehearsal.providers.aws.eks import EksResource
from rehearsal.providers.serving import Properties, Refused, Request

_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/.+|arn:aws[a-z-]*:iam::\d{12}:root")
_POLICY = re.compile(r"arn:aws[a-z-]*:eks::aws:cluster-access-policy/(?P<name>.+)")
_TYPES = ("STANDARD", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "EC2", "HYBRID_LINUX")


def _principal_problems(inputs: Properties) -> Iterator[Refused]:
    arn = known(inputs.get("principalArn"))
    if arn is not None and not _PRINCIPAL.fullmatch(arn):
        yield Refused(f"{arn} is no ARN of an IAM role or user (a session of a role is neither)", "principalArn")


class AccessEntry(EksResource):
    """Lets an IAM principal use a cluster's API, or nodes with a role join it."""

    token = "aws:eks/accessEntry:AccessEntry"
    force_new = frozenset({"clusterName", "principalArn", "type"})
    defaults = {"type": "STANDARD"}
    choices = {"type": _TYPES}
    longest_name = None
    arn_property = "accessEntryArn"

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _principal_problems(inputs)
        kind = known(inputs.get("type"))
        if kind not in (None, "STANDARD") and (inputs.get("kubernetesGroups") or "userName" in inputs):
            yield Refused(f"an access entry of type {kind} takes no userName or kubernetesGroups", "type")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        optional = {"username": inputs.get("userName"), "kubernetesGroups": inputs.get("kubernetesGroups")}
        cloud.client("eks").create_access_entry(
            clusterName=inputs["clusterName"],
            principalArn=inputs["principalArn"],
            type=inputs["type"],
            tags=inputs.get("tagsAll") or {},
            **{key: value for key, value in optional.items() if value},
        )
        return f"{inputs['clusterName']}:{inputs['principalArn']}"

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        cluster, _, principal = id.partition(":")
        found = cloud.client("eks").describe_access_entry(clusterName=cluster, principalArn=principal)["accessEntry"]
        return {
            "clusterName": cluster,
            "principalArn": principal,
            "accessEntryArn": found["accessEntryArn"],
            "kubernetesGroups": found["kubernetesGroups"],
            "userName": found["username"],
            "type": found["type"],
            "createdAt": found["createdAt"].isoformat(),
            "modifiedAt": found["modifiedAt"].isoformat(),
            "tags": found["tags"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        cluster, _, principal = id.partition(":")
        user = {"username": inputs["userName"]} if inputs.get("userName") else {}
        cloud.client("eks").update_access_entry(
            clusterName=cluster,
            principalArn=principal,
            kubernetesGroups=inputs.get("kubernetesGroups") or [],
            **user,
        )

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cluster, _, principal = id.partition(":")
        cloud.client("eks").delete_access_entry(clusterName=cluster, principalArn=principal)


class AccessPolicyAssociation(AwsResource):
    """What an access entry's principal may do."""

    token = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
    force_new = frozenset({"clusterName", "principalArn", "policyArn", "accessScope"})
    choices = {"accessScope.type": ("cluster", "namespace")}
    longest_name = None

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _principal_problems(inputs)
        arn = known(inputs.get("policyArn"))
        if arn is not None:
            found = _POLICY.fullmatch(arn)
            if found is None or found["name"] not in POLICIES:
                names = ", ".join(POLICIES)
                yield Refused(
                    f"{arn} is no EKS access policy: arn:aws:eks::aws:cluster-access-policy/ and {names}", "policyArn"
                )
        scope = known(inputs.get("accessScope")) or {}
        if known(scope.get("type")) == "namespace" and not scope.get("namespaces"):
            yield Refused("an access scope of type namespace names at least one namespace", "accessScope.namespaces")
        if known(scope.get("type")) == "cluster" and scope.get("namespaces"):
            yield Refused("an access scope of type cluster names no namespaces", "accessScope.namespaces")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        cloud.client("eks").associate_access_policy(
            clusterName=inputs["clusterName"],
            principalArn=inputs["principalArn"],
            policyArn=inputs["policyArn"],
            accessScope=inputs["accessScope"],
        )
        return f"{inputs['clusterName']}#{inputs['principalArn']}#{inputs['policyArn']}"

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        cluster, principal, policy = id.split("#")
        eks = cloud.client("eks")
        found = eks.list_associated_access_policies(clusterName=cluster, principalArn=principal)
        for association in found["associatedAccessPolicies"]:
            if association["policyArn"] == policy:
                return {
                    "clusterName": cluster,
                    "principalArn": principal,
                    "policyArn": policy,
                    "accessScope": association["accessScope"],
                    "associatedAt": association["associatedAt"].isoformat(),
                    "modifiedAt": association["modifiedAt"].isoformat(),
                }
        return None

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cluster, principal, policy = id.split("#")
        cloud.client("eks").disassociate_access_policy(clusterName=cluster, principalArn=principal, policyArn=policy)


class PodIdentityAssociation(EksResource):
    """Gives a service account's pods an IAM role."""

    token = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
    force_new = frozenset({"clusterName", "namespace", "serviceAccount"})
    longest_name = None
    arn_property = "associationArn"
    _settings = ("disableSessionTags", "targetRoleArn")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        if "policy" in inputs:
            yield Refused("the rehearsal's aws provider does not carry out policy", "policy")

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        made = cloud.client("eks").create_pod_identity_association(
            clusterName=inputs["clusterName"],
            namespace=inputs["namespace"],
            serviceAccount=inputs["serviceAccount"],
            roleArn=inputs["roleArn"],
            tags=inputs.get("tagsAll") or {},
            **{key: inputs[key] for key in self._settings if inputs.get(key) is not None},
        )
        return made["association"]["associationId"]

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        # An import names the cluster, too: CLUSTER,ASSOCIATION.
        cluster, _, association = id.rpartition(",")
        cluster = cluster or olds["clusterName"]
        eks = cloud.client("eks")
        found = eks.describe_pod_identity_association(clusterName=cluster, associationId=association)["association"]
        keys = ("clusterName", "namespace", "serviceAccount", "roleArn", "associationArn", "associationId")
        return {
            **{key: found[key] for key in keys},
            "disableSessionTags": found.get("disableSessionTags", False),
            "targetRoleArn": found.get("targetRoleArn"),
            "externalId": found.get("externalId"),
            "tags": found["tags"],
        }

    def change(
        self, cloud: Cloud, id: str, inputs: Properties, olds: Properties, changed: set[str], request: Request
    ) -> None:
        cloud.client("eks").update_pod_identity_association(
            clusterName=inputs["clusterName"],
            associationId=olds["associationId"],
            roleArn=inputs["roleArn"],
            **{key: inputs[key] for key in self._settings if inputs.get(key) is not None},
        )

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        cloud.client("eks").delete_pod_identity_association(
            clusterName=olds["clusterName"], associationId=olds["associationId"]
        )
