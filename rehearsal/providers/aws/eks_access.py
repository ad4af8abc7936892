"""EKS: access entries with their policies, and Pod Identity associations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from rehearsal.cloud.access import POLICIES
from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource, fields
from rehearsal.providers.aws.eks import EksResource
from rehearsal.providers.aws.inputs import known
from rehearsal.providers.protocol.model import Properties, Refused

_PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/.+|arn:aws[a-z-]*:iam::\d{12}:root")
_POLICY = re.compile(r"arn:aws[a-z-]*:eks::aws:cluster-access-policy/(?P<name>.+)")
_TYPES = ("STANDARD", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "EC2", "HYBRID_LINUX")


def _principal_problems(inputs: Properties) -> Iterator[Refused]:
    arn = known(inputs.get("principalArn"))
    if arn is not None and not _PRINCIPAL.fullmatch(arn):
        yield Refused(
            f"{arn} is not the ARN of an IAM role or user (that of a role's session is not accepted)", "principalArn"
        )


class AccessEntry(EksResource):
    """Lets an IAM principal use a cluster's API, or nodes with a role join it."""

    token = "aws:eks/accessEntry:AccessEntry"
    force_new = frozenset({"clusterName", "principalArn", "type"})
    defaults = {"type": "STANDARD"}
    choices = {"type": _TYPES}
    id_form = "{clusterName}:{principalArn}"
    create_call = Call("create_access_entry", "clusterName principalArn type tags userName kubernetesGroups")
    read_call, found = Call("describe_access_entry", "clusterName principalArn"), "accessEntry"
    outputs = fields("accessEntryArn kubernetesGroups userName type createdAt modifiedAt tags")
    updates = {
        "*": Call(
            "update_access_entry",
            "clusterName principalArn userName",
            kubernetesGroups="{kubernetesGroups || `[]`}",
        )
    }
    delete_call = Call("delete_access_entry", "clusterName principalArn")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _principal_problems(inputs)
        kind = known(inputs.get("type"))
        if kind not in (None, "STANDARD") and (inputs.get("kubernetesGroups") or "userName" in inputs):
            yield Refused(f"an access entry of type {kind} does not accept userName or kubernetesGroups", "type")


class AccessPolicyAssociation(DescribedResource):
    """What the principal of an access entry can do."""

    token = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
    force_new = frozenset({"clusterName", "principalArn", "policyArn", "accessScope"})
    choices = {"accessScope.type": ("cluster", "namespace")}
    service, id_form = "eks", "{clusterName}#{principalArn}#{policyArn}"
    create_call = Call("associate_access_policy", "clusterName principalArn policyArn accessScope")
    read_call = Call("list_associated_access_policies", "clusterName principalArn")
    found = "associatedAccessPolicies[?policyArn=='{policyArn}'] | [0]"
    outputs = fields("accessScope associatedAt modifiedAt")
    delete_call = Call("disassociate_access_policy", "clusterName principalArn policyArn")

    def validate(self, inputs: Properties, cloud: Cloud) -> Iterator[Refused]:
        yield from _principal_problems(inputs)
        arn = known(inputs.get("policyArn"))
        if arn is not None:
            found = _POLICY.fullmatch(arn)
            if found is None or found["name"] not in POLICIES:
                names = ", ".join(POLICIES)
                yield Refused(
                    f"{arn} is not an EKS access policy: arn:aws:eks::aws:cluster-access-policy/ and one of {names}",
                    "policyArn",
                )
        scope = known(inputs.get("accessScope")) or {}
        if known(scope.get("type")) == "namespace" and not scope.get("namespaces"):
            yield Refused("an access scope of type namespace needs at least one namespace", "accessScope.namespaces")
        if known(scope.get("type")) == "cluster" and scope.get("namespaces"):
            yield Refused("an access scope of type cluster does not accept namespaces", "accessScope.namespaces")


class PodIdentityAssociation(EksResource):
    """Gives the pods of a service account an IAM role."""

    token = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
    force_new = frozenset({"clusterName", "namespace", "serviceAccount"})
    unmodelled = frozenset({"policy"})
    made_id = "association.associationId"
    create_call = Call(
        "create_pod_identity_association",
        "clusterName namespace serviceAccount roleArn disableSessionTags targetRoleArn tags",
    )
    read_call, found = Call("describe_pod_identity_association", "clusterName associationId"), "association"
    outputs = fields(
        "clusterName namespace serviceAccount roleArn associationArn associationId targetRoleArn externalId tags",
        disableSessionTags="disableSessionTags || `false`",
    )
    updates = {
        "*": Call(
            "update_pod_identity_association", "clusterName associationId roleArn disableSessionTags targetRoleArn"
        )
    }
    delete_call = Call("delete_pod_identity_association", "clusterName associationId")

    def look(self, cloud: Cloud, known: Properties) -> Any:
        # The id of an import also has the cluster: CLUSTER,ASSOCIATION.
        cluster, _, association = known["id"].rpartition(",")
        where = {"clusterName": cluster or known["clusterName"], "associationId": association}
        return super().look(cloud, {**known, **where})
