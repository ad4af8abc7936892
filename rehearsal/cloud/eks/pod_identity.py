"""Pod Identity associations: which IAM role a service account's pods get."""

from __future__ import annotations

import uuid
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow

from rehearsal.cloud.eks import checks
from rehearsal.cloud.eks.state import Cluster, Operations, in_use, invalid, missing


def check_role(operations: Operations, arn: str) -> None:
    """Refuses a role that does not exist, or whose trust policy does not let EKS assume it and tag the session."""
    role = checks.role_of(operations, arn)
    if role is None:
        raise invalid(f"Role provided in the request does not exist: {arn}")
    if not checks.trusts(role, "pods.eks.amazonaws.com", "sts:AssumeRole", "sts:TagSession"):
        raise invalid(
            "Trust policy of role does not allow pods.eks.amazonaws.com both sts:AssumeRole and sts:TagSession: "
            f"{arn} can't be used with Pod Identity"
        )


def associate(
    operations: Operations, cluster: Cluster, namespace: str, account: str, role_arn: str, **settings: Any
) -> dict[str, Any]:
    """Makes an association; `settings` are additional properties. Refuses a second one for a service account."""
    check_role(operations, role_arn)
    for association in cluster.pod_identity_associations.values():
        if (association["namespace"], association["serviceAccount"]) == (namespace, account):
            raise in_use(f"Association already exists: {association['associationId']}", clusterName=cluster.name)
    id = f"a-{uuid.uuid4().hex[:16]}"
    association = {
        "clusterName": cluster.name,
        "namespace": namespace,
        "serviceAccount": account,
        "roleArn": role_arn,
        "associationArn": operations.arn(f"podidentityassociation/{cluster.name}/{id}"),
        "associationId": id,
        "tags": {},
        "createdAt": utcnow(),
        "modifiedAt": utcnow(),
        **settings,
    }
    cluster.pod_identity_associations[id] = association
    return association


class PodIdentityOperations(Operations):
    """The operations on Pod Identity associations."""

    def create_pod_identity_association(self) -> ActionResult:
        association = associate(
            self,
            self.cluster(),
            self.parameter("namespace"),
            self.parameter("serviceAccount"),
            self.parameter("roleArn"),
            tags=self.parameter("tags", {}),
            disableSessionTags=self.parameter("disableSessionTags", False),
            targetRoleArn=self.parameter("targetRoleArn"),
        )
        return ActionResult({"association": association})

    def describe_pod_identity_association(self) -> ActionResult:
        return ActionResult({"association": self._association(self.cluster())})

    def list_pod_identity_associations(self) -> ActionResult:
        wanted = {key: self.parameter(key) for key in ("namespace", "serviceAccount") if self.parameter(key)}
        summary = ("clusterName", "namespace", "serviceAccount", "associationArn", "associationId")
        found = [
            {key: association[key] for key in summary}
            for association in self.cluster().pod_identity_associations.values()
            if wanted.items() <= association.items()
        ]
        return ActionResult({"associations": found})

    def update_pod_identity_association(self) -> ActionResult:
        association = self._association(self.cluster())
        if arn := self.parameter("roleArn"):
            check_role(self, arn)
            association["roleArn"] = arn
        for key in ("disableSessionTags", "targetRoleArn"):
            if self.parameter(key) is not None:
                association[key] = self.parameter(key)
        association["modifiedAt"] = utcnow()
        return ActionResult({"association": association})

    def delete_pod_identity_association(self) -> ActionResult:
        cluster = self.cluster()
        association = self._association(cluster)
        # An association that an addon owns can be deleted too ("Attach an IAM role to an Amazon EKS add-on", EKS user
        # guide).
        for addon in cluster.addons.values():
            if association["associationArn"] in addon["podIdentityAssociations"]:
                addon["podIdentityAssociations"].remove(association["associationArn"])
        del cluster.pod_identity_associations[association["associationId"]]
        return ActionResult({"association": association})

    def _association(self, cluster: Cluster) -> dict[str, Any]:
        id = self.parameter("associationId")
        if id not in cluster.pod_identity_associations:
            raise missing(f"No association found with ID: {id}", clusterName=cluster.name)
        return cluster.pod_identity_associations[id]
