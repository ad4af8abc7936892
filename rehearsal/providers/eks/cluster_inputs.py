"""Checks the inputs of a cluster: refusals of the real component, and inputs that the rehearsal does not support."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi

# Inputs of Fargate, Auto Mode, the default node group, the aws-auth ConfigMap and in-tree storage classes.
UNMODELLED = frozenset(
    {
        "autoMode",
        "creationRoleProvider",
        "desiredCapacity",
        "fargate",
        "gpu",
        "instanceProfileName",
        "instanceType",
        "maxSize",
        "minSize",
        "nodeAmiId",
        "nodeAssociatePublicIpAddress",
        "nodeGroupOptions",
        "nodePublicKey",
        "nodeRootVolumeEncrypted",
        "nodeRootVolumeSize",
        "nodeSubnetIds",
        "nodeUserData",
        "roleMappings",
        "storageClasses",
        "userMappings",
    }
)


def refuse_combinations(type_token: str, inputs: Mapping[str, Any]) -> None:
    """Raises InputPropertiesError for inputs that the real component refuses or that are not supported."""
    errors: list[pulumi.InputPropertyErrorDetails] = []

    def refuse(path: str, reason: str) -> None:
        errors.append({"property_path": path, "reason": reason})

    mode = inputs.get("authenticationMode", "CONFIG_MAP (the default)")
    if mode != "API":
        refuse("authenticationMode", f"{mode} needs the aws-auth ConfigMap; the rehearsal supports only API")
    if inputs.get("skipDefaultNodeGroup") is not True:
        refuse("skipDefaultNodeGroup", "the rehearsal does not support the default node group: set it to true")
    if "vpcId" not in inputs:
        refuse("vpcId", "the rehearsal does not support the default VPC: give one")
    if "instanceRole" in inputs and "instanceRoles" in inputs:
        refuse("instanceRole", "instanceRole and instanceRoles are mutually exclusive")
    if inputs.get("instanceRoles"):
        refuse("instanceRoles", "must be empty when authenticationMode is API")
    own_subnets = inputs.keys() & {"publicSubnetIds", "privateSubnetIds"}
    if "subnetIds" in inputs and own_subnets:
        refuse("subnetIds", "mutually exclusive with publicSubnetIds and privateSubnetIds")
    if "subnetIds" not in inputs and not own_subnets:
        refuse("subnetIds", "an EKS cluster needs subnets: give subnetIds, or publicSubnetIds and privateSubnetIds")
    if errors:
        raise pulumi.InputPropertiesError(f"{type_token} refuses its inputs", errors)


def only_when_public(cidrs: list[str], public: bool) -> list[str]:
    """The CIDRs that can reach the public endpoint. Raises InputPropertyError for a cluster without one."""
    if not public:
        raise pulumi.InputPropertyError("publicAccessCidrs", "can only be set when endpointPublicAccess is true")
    return cidrs
