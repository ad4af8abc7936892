"""Pod Identity associations: which IAM role a service account's pods get."""

from __future__ import annotations

import uuid
from typing import Any

from moto.core.responses import ActionResult
from moto.core.utils import utcnow

from rehearsal.aws.eks import checks
from rehearsal.aws.eks.state import Cluster, Operations, in_use, invalid, missing


def check_role(operations: Operations, arn: str) -> None:
    """Refuses a role that does not exist, or that EKS's agent can't assume and tag the session of."""
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
    """Makes an association; `settings` are more of its properties. Refuses a second one for a service account."""
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
            self.asked("namespace"),
            self.asked("serviceAccount"),
            self.asked("roleArn"),
            tags=self.asked("tags", {}),
            disableSessionTags=self.asked("disableSessionTags", False),
            targetRoleArn=self.asked("targetRoleArn"),
        )
        return ActionResult({"association": association})

    def describe_pod_identity_association(self) -> ActionResult:
        return ActionResult({"association": self._association(self.cluster())})

    def list_pod_identity_associations(self) -> ActionResult:
        asked = {key: self.asked(key) for key in ("namespace", "serviceAccount") if self.asked(key)}
        summary = ("clusterName", "namespace", "serviceAccount", "associationArn", "associationId")
        found = [
            {key: association[key] for key in summary}
            for association in self.cluster().pod_identity_associations.values()
            if asked.items() <= association.items()
        ]
        return ActionResult({"associations": found})

    def update_pod_identity_association(self) -> ActionResult:
        association = self._association(self.cluster())
        if arn := self.asked("roleArn"):
            check_role(self, arn)
            association["roleArn"] = arn
        for key in ("disableSessionTags", "targetRoleArn"):
            if self.asked(key) is not None:
                association[key] = self.asked(key)
        association["modifiedAt"] = utcnow()
        return ActionResult({"association": association})

    def delete_pod_identity_association(self) -> ActionResult:
        cluster = self.cluster()
        association = self._association(cluster)
        # One that an addon owns can go too ("Attach an IAM role to an Amazon EKS add-on", EKS user guide).
        for addon in cluster.addons.values():
            if association["associationArn"] in addon["podIdentityAssociations"]:
                addon["podIdentityAssociations"].remove(association["associationArn"])
        del cluster.pod_identity_associations[association["associationId"]]
        return ActionResult({"association": association})

    def _association(self, cluster: Cluster) -> dict[str, Any]:
        id = self.asked("associationId")
        if id not in cluster.pod_identity_associations:
            raise missing(f"No association found with ID: {id}", clusterName=cluster.name)
        return cluster.pod_identity_associations[id]
