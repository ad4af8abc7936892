"""EKS's answers, for components that need a cluster: call `eks_mocks.answer(...)` before `mocks.deploy(...)`."""

from __future__ import annotations

import json
import threading
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import pulumi
import pytest
from pulumi.runtime import mocks as pulumi_mocks
from pulumi.runtime import rpc
from pulumi.runtime.settings import get_monitor

SECURITY_GROUP = "sg-0cluster"


@dataclass
class Eks:
    """The EKS of one test, whose API answers at `endpoint`."""

    endpoint: str
    transforms: list[pulumi.ResourceTransform] = field(default_factory=list)
    """The transforms that the engine would apply to the children of `eks.Cluster`; the mocks make no children."""

    def cluster(self, resource: pulumi_mocks.MockResourceArgs) -> dict[str, Any]:
        """The outputs of an `eks.Cluster`, with a reference to its control plane as the engine writes it."""
        self.transforms += resource.transforms
        name = resource.inputs["name"]
        urn = f"urn:pulumi:test::gpulab::eks:index:Cluster$aws:eks/cluster:Cluster::{resource.name}-eksCluster"
        state = {
            "name": name,
            "arn": f"arn:aws:eks:us-east-1:123456789012:cluster/{name}",
            "endpoint": self.endpoint,
            "version": resource.inputs["version"],
            "certificateAuthority": {"data": "Q0E="},
        }
        monitor = get_monitor()
        assert isinstance(monitor, pulumi_mocks.MockMonitor)
        monitor.resources[urn] = pulumi_mocks.MockMonitor.ResourceRegistration(urn, name, state)
        return {
            "eksCluster": {rpc._special_sig_key: rpc._special_resource_sig, "urn": urn, "id": name},
            "clusterSecurityGroupId": SECURITY_GROUP,
            "oidcIssuer": "oidc.eks.us-east-1.amazonaws.com/id/TEST",
            "kubeconfigJson": json.dumps({"clusters": [{"cluster": {"server": self.endpoint}}]}),
        }

    def control_plane(self) -> pulumi.ResourceTransformResult:
        """The control plane as it is registered: what `eks.Cluster` makes, with the transforms applied."""
        result = pulumi.ResourceTransformResult(
            props={"accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": True}},
            opts=pulumi.ResourceOptions(ignore_changes=["bootstrapSelfManagedAddons"]),
        )
        for transform in self.transforms:
            args = pulumi.ResourceTransformArgs(
                True, "aws:eks/cluster:Cluster", "lab-eksCluster", result.props, result.opts
            )
            transformed = transform(args)
            assert not isinstance(transformed, Awaitable)
            result = transformed or result
        return result


def answer(mocks: Any, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> Eks:
    """Makes `mocks` compute the outputs of EKS's components, for a cluster at `endpoint`."""
    eks = Eks(endpoint)
    mocks.outputs["eks:index:Cluster"] = eks.cluster
    mocks.outputs["eks:index:ManagedNodeGroup"] = lambda resource: {}

    # The mock engine has to read references to resources too, but in its own thread there is no program to make
    # resources in: there a reference is its URN.
    program_thread, make_resource = threading.current_thread(), rpc.deserialize_resource

    def deserialize_resource(reference: Any, keep_unknowns: bool | None = None) -> Any:
        if threading.current_thread() is program_thread:
            return make_resource(reference, keep_unknowns)
        return reference["urn"]

    monkeypatch.setattr(rpc, "deserialize_resource", deserialize_resource)
    return eks
