"""What the simulated EKS and IAM refuse, in the words of the real ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aws_server_lab import Lab, refused, running_lab


@pytest.fixture(scope="module")
def site() -> Iterator[Lab]:
    with running_lab() as lab:
        yield lab


@pytest.fixture
def lab(site: Lab) -> Iterator[Lab]:
    yield site
    site.clean()


REFUSALS: dict[str, tuple[Callable[[Lab], Any], str]] = {
    "subnets in one zone": (
        lambda lab: lab.make_cluster("b", resourcesVpcConfig={"subnetIds": lab.subnets[:1]}),
        "two different AZs",
    ),
    "a subnet that is none": (
        lambda lab: lab.make_cluster("b", resourcesVpcConfig={"subnetIds": ["subnet-0", *lab.subnets]}),
        "does not exist",
    ),
    "a security group that is none": (
        lambda lab: lab.make_cluster("b", resourcesVpcConfig={"subnetIds": lab.subnets, "securityGroupIds": ["sg-0"]}),
        "does not exist",
    ),
    "a role that EKS can't assume": (lambda lab: lab.make_cluster("b", roleArn=lab.node_role), "could not be assumed"),
    "a role that is none": (lambda lab: lab.make_cluster("b", roleArn=f"{lab.node_role}x"), "could not be assumed"),
    "a key that is none": (
        lambda lab: lab.make_cluster(
            "b", encryptionConfig=[{"resources": ["secrets"], "provider": {"keyArn": f"{lab.key[:-1]}x"}}]
        ),
        "not valid",
    ),
    "a version that is none": (lambda lab: lab.make_cluster("b", version="1.20"), "unsupported Kubernetes version"),
    "no extended support for a version that is in it": (
        lambda lab: lab.make_cluster("b", version="1.33", upgradePolicy={"supportType": "STANDARD"}),
        "cannot disable extended support",
    ),
    "to leave extended support but by an upgrade": (
        lambda lab: (
            lab.make_cluster("b", version="1.33"),
            lab.eks.update_cluster_config(name="b", upgradePolicy={"supportType": "STANDARD"}),
        ),
        "cannot disable extended support",
    ),
    "an upgrade policy that is none": (
        lambda lab: lab.eks.update_cluster_config(name="lab", upgradePolicy={"supportType": "LONG"}),
        "supportType LONG",
    ),
    "an image of another version": (
        lambda lab: lab.make_group(releaseVersion="1.35.8-20260930"),
        "Requested release version 1.35.8-20260930 is not valid for kubernetes version 1.36.",
    ),
    "an image that was never released": (lambda lab: lab.make_group(releaseVersion="1.36.4-20260925"), "is not valid"),
    "an image of tomorrow": (lambda lab: lab.make_group(releaseVersion="1.36.9-20991231"), "is not valid"),
    "a second cluster of a name": (lambda lab: lab.make_cluster(), "already exists"),
    "two versions at once": (
        lambda lab: (lab.make_cluster("b", version="1.34"), lab.eks.update_cluster_version(name="b", version="1.36")),
        "minor version update",
    ),
    "an update that changes nothing": (
        lambda lab: lab.eks.update_cluster_config(name="lab", resourcesVpcConfig={"endpointPublicAccess": True}),
        "already at the desired",
    ),
    "deletion under protection": (
        lambda lab: (
            lab.eks.update_cluster_config(name="lab", deletionProtection=True),
            lab.eks.delete_cluster(name="lab"),
        ),
        "deletion protection",
    ),
    "a node role for pods": (lambda lab: lab.make_group(nodeRole=lab.pod_role), "ec2.amazonaws.com"),
    "an instance type that is none": (lambda lab: lab.make_group(instanceTypes=["m99.large"]), "do not exist"),
    "an image of another architecture": (
        lambda lab: lab.make_group(amiType="AL2023_ARM_64_STANDARD"),
        "not a valid instance type",
    ),
    "an AMI type that is none": (lambda lab: lab.make_group(amiType="AL3_x86_64"), "AMI type"),
    "a taint effect of Kubernetes": (
        lambda lab: lab.make_group(taints=[{"key": "a", "effect": "NoSchedule"}]),
        "NO_SCHEDULE",
    ),
    "fewer nodes than the least": (
        lambda lab: lab.make_group(scalingConfig={"minSize": 3, "desiredSize": 2, "maxSize": 3}),
        "greater than desired",
    ),
    "a launch template that is none": (
        lambda lab: lab.make_group(launchTemplate={"id": "lt-0", "version": "1"}),
        "does not exist",
    ),
    "an addon that is none": (lambda lab: lab.eks.create_addon(clusterName="lab", addonName="dns"), "not supported"),
    "an addon's version for another Kubernetes": (
        lambda lab: lab.eks.create_addon(clusterName="lab", addonName="kube-proxy", addonVersion="v1.35.3-eksbuild.29"),
        "not supported",
    ),
    "a value that an addon does not have": (
        lambda lab: lab.eks.create_addon(
            clusterName="lab", addonName="coredns", configurationValues=json.dumps({"replicas": 2})
        ),
        "$.replicas: is not defined",
    ),
    "a switch of vpc-cni that is no string": (
        lambda lab: lab.eks.create_addon(
            clusterName="lab", addonName="vpc-cni", configurationValues=json.dumps({"enableNetworkPolicy": True})
        ),
        "string expected",
    ),
    "a second access entry": (
        lambda lab: lab.eks.create_access_entry(
            clusterName="lab", principalArn="arn:aws:iam::123456789012:user/rehearsal"
        ),
        "already in use",
    ),
    "a control plane in a zone that has none": (
        lambda lab: lab.make_cluster("other", resourcesVpcConfig={"subnetIds": [*lab.subnets, lab.make_subnet("e")]}),
        "Retry and choose from these availability zones: us-east-1a, us-east-1b, us-east-1c, us-east-1d, us-east-1f",
    ),
    "an SSO role without its path": (
        lambda lab: lab.eks.create_access_entry(
            clusterName="lab", principalArn="arn:aws:iam::123456789012:role/AWSReservedSSO_Admin_0123456789abcdef"
        ),
        "invalid principal",
    ),
    "an access policy that is none": (
        lambda lab: lab.eks.associate_access_policy(
            clusterName="lab",
            principalArn="arn:aws:iam::123456789012:user/rehearsal",
            policyArn="arn:aws:iam::aws:policy/AdministratorAccess",
            accessScope={"type": "cluster"},
        ),
        "no access policy",
    ),
    "a role of Pod Identity that can't be tagged": (
        lambda lab: lab.eks.create_pod_identity_association(
            clusterName="lab", namespace="a", serviceAccount="b", roleArn=lab.node_role
        ),
        "sts:TagSession",
    ),
    "a trust policy with a resource": (
        lambda lab: lab.make_role("x", "ec2.amazonaws.com", Resource="*"),
        "prohibited field Resource",
    ),
    "a trust policy without a principal": (lambda lab: lab.make_role("x", None), "Principal"),
    "an operation that is not simulated": (
        lambda lab: lab.client("iam").list_policies_granting_service_access(Arn=lab.pod_role, ServiceNamespaces=["s3"]),
        "NotImplemented",
    ),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_server_refuses(lab: Lab, what: str) -> None:
    lab.make_cluster()
    call, why = REFUSALS[what]
    assert why in refused(lambda: call(lab))
