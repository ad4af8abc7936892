"""What EKS looks up in other services before it accepts a cluster, a node group or an association."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from moto.eks.exceptions import EKSError, InvalidRequestException
from moto.iam.exceptions import NotFoundException
from moto.kms.models import kms_backends

import contracts
from contracts import eks
from rehearsal.cloud.eks.state import Operations, invalid

_ZONES_NEEDED = 2


class UnsupportedAvailabilityZoneException(EKSError):
    """A subnet of the control plane is in a zone without EKS control planes."""

    TYPE = "UnsupportedAvailabilityZoneException"
    STATUS = 400


def trusts(role: Any, service: str, *actions: str) -> bool:
    """Whether the IAM role's trust policy lets `service` (`eks.amazonaws.com`) do every one of `actions`."""
    document = role.assume_role_policy_document
    statements = json.loads(document if document.lstrip().startswith("{") else unquote(document)).get("Statement", [])
    allowed: set[str] = set()
    for statement in statements if isinstance(statements, list) else [statements]:
        principal = statement.get("Principal", {})
        services = principal.get("Service", []) if isinstance(principal, dict) else [service]
        if statement["Effect"] == "Allow" and service in ([services] if isinstance(services, str) else services):
            named = statement["Action"]
            allowed.update([named] if isinstance(named, str) else named)
    return "sts:*" in allowed or all(action in allowed for action in actions)


def role_of(operations: Operations, arn: str) -> Any | None:
    """The IAM role with that ARN, or None."""
    try:
        return operations.iam.get_role_by_arn(arn)
    except NotFoundException:
        return None


def upgrade_policy(cluster: str, version: str, policy: dict[str, Any]) -> None:
    """Refuses to disable extended support for a cluster whose version has already entered it."""
    kind = policy.get("supportType", eks.EXTENDED)
    if kind not in (eks.STANDARD, eks.EXTENDED):
        raise invalid(f"unknown supportType {kind}", clusterName=cluster)
    if kind == eks.STANDARD and not eks.versions()[version].is_standard(eks.today()):
        raise InvalidRequestException(
            message=f"You cannot disable extended support for {cluster}: Kubernetes {version} has entered it. You can "
            "only disable extended support for clusters that are running a Kubernetes version in standard support.",
            clusterName=cluster,
        )


def cluster_role(operations: Operations, arn: str) -> None:
    """Refuses a role that EKS can't assume."""
    role = role_of(operations, arn)
    if role is None or not trusts(role, "eks.amazonaws.com", "sts:AssumeRole"):
        raise invalid(
            f"Role with arn: {arn}, could not be assumed because it does not exist or the trusted entity is not correct"
        )


def node_role(operations: Operations, arn: str) -> None:
    """Refuses a role that instances can't assume."""
    role = role_of(operations, arn)
    if role is None:
        raise invalid(f"The role with name {arn.rpartition('/')[2]} cannot be found.")
    if not trusts(role, "ec2.amazonaws.com", "sts:AssumeRole"):
        raise invalid(
            "Following required service principals [ec2.amazonaws.com] were not found in the trust relationships of "
            f"nodeRole {arn}"
        )


def subnets(operations: Operations, ids: list[str]) -> list[Any]:
    """The subnets with those ids. Refuses ids that do not exist, and subnets of several VPCs."""
    known = operations.ec2.subnets
    by_id = {id: subnet for zone in known.values() for id, subnet in zone.items()}
    for id in ids:
        if id not in by_id:
            raise invalid(f"The subnet ID '{id}' does not exist")
    found = [by_id[id] for id in ids]
    if len({subnet.vpc_id for subnet in found}) > 1:
        raise invalid("Provided subnets belong to different VPCs: all subnets must be in the same VPC")
    return found


def control_plane_subnets(operations: Operations, ids: list[str], cluster_name: str) -> list[Any]:
    """The subnets of a control plane. Refuses fewer than two zones, and zones that EKS does not support."""
    found = subnets(operations, ids)
    without = contracts.zones_without_control_plane()
    zones = {zone.name: zone.zone_id not in without for zone in operations.ec2.describe_availability_zones()}
    for zone in [subnet.availability_zone for subnet in found]:
        if not zones[zone]:
            valid = [name for name, is_valid in zones.items() if is_valid]
            # EKS uses these words also for zones that never get control planes.
            raise UnsupportedAvailabilityZoneException(
                message=f"Cannot create cluster '{cluster_name}' because {zone}, the targeted availability zone, does "
                "not currently have sufficient capacity to support the cluster. Retry and choose from these "
                f"availability zones: {', '.join(valid)}",
                clusterName=cluster_name,
                validZones=valid,
            )
    if len({subnet.availability_zone for subnet in found}) < _ZONES_NEEDED:
        raise invalid("Subnets specified must be in at least two different AZs")
    return found


def security_groups(operations: Operations, ids: list[str], vpc_id: str) -> None:
    """Refuses security groups that don't exist or belong to a VPC other than `vpc_id`."""
    for id in ids:
        group = operations.ec2.get_security_group_from_id(id)
        if group is None:
            raise invalid(f"The security group '{id}' does not exist")
        if group.vpc_id != vpc_id:
            raise invalid(f"Security group(s) [{id}] are not in the same VPC as the subnets.")


def encryption(operations: Operations, configs: list[dict[str, Any]]) -> None:
    """Refuses envelope encryption of anything but secrets, and keys that don't exist, are disabled or asymmetric."""
    for config in configs:
        if config.get("resources") != ["secrets"]:
            raise invalid("EncryptionConfig's resources must be [secrets]")
        arn = config.get("provider", {}).get("keyArn", "")
        backend = kms_backends[operations.current_account][operations.region]
        try:
            key = backend.describe_key(backend.any_id_to_key_id(arn))
        except Exception as error:
            raise invalid(f"The keyArn in encryptionConfig provider {arn} is not valid: {error}") from error
        if key.key_state != "Enabled" or not key.key_spec.startswith("SYMMETRIC"):
            raise invalid(f"The keyArn in encryptionConfig provider {arn} is not an enabled symmetric key")
