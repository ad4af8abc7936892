"""Inputs of an EKS cluster for tests of the eks stand-in, and what it registered or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pulumi
import pytest
from engine_mocks import EngineMocks

CLUSTER: dict[str, Any] = {
    "name": "lab",
    "vpcId": "vpc-1",
    "subnetIds": ["subnet-1", "subnet-2"],
    "authenticationMode": "API",
    "version": "1.34",
    "skipDefaultNodeGroup": True,
    "skipDefaultSecurityGroups": True,
}
ROLE_ARN = "arn:aws:iam::123456789012:role/nodes"


def with_eks(mocks: EngineMocks) -> EngineMocks:
    """The mock engine, with what AWS adds to a cluster."""
    mocks.outputs["aws:eks/cluster:Cluster"] = lambda resource: {
        "arn": "arn:aws:eks:us-east-1:123456789012:cluster/lab",
        "endpoint": "https://127.0.0.1:6443",
        "certificateAuthority": {"data": "Q0E="},
        "identities": [{"oidcs": [{"issuer": "https://oidc.eks.us-east-1.amazonaws.com/id/ABC"}]}],
        "vpcConfig": {**resource.inputs["vpcConfig"], "clusterSecurityGroupId": "sg-eks"},
    }
    mocks.outputs["aws:ec2/launchTemplate:LaunchTemplate"] = lambda _: {"latestVersion": 3}
    mocks.outputs["aws:ec2/securityGroupRule:SecurityGroupRule"] = lambda _: {"securityGroupRuleId": "sgr-1"}
    mocks.invokes["aws:eks/getAddonVersion:getAddonVersion"] = lambda args: {"version": f"newest-{args['addonName']}"}
    return mocks


def write_command(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def without(inputs: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in inputs.items() if key not in names}


def refused(call) -> dict[str, str]:
    """The refusals of `call`, by property path."""
    with pytest.raises((pulumi.InputPropertiesError, pulumi.InputPropertyError)) as caught:
        call()
    error = caught.value
    if isinstance(error, pulumi.InputPropertyError):
        return {error.property_path: error.reason}
    return {one["property_path"]: one["reason"] for one in error.errors or []}


def names(mocks) -> list[str]:
    """Type and name of every registered resource, the parent's name before it."""
    by_urn = {resource.urn: resource.name for resource in mocks.resources}
    return sorted(f"{by_urn.get(one.parent, '')} > {one.type} {one.name}" for one in mocks.resources)
