"""What the tests of the simulated AWS's server start from: a network, roles and a key, by boto3."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import boto3
import pytest
from botocore.exceptions import ClientError

from rehearsal.cloud import server

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAREHEARSAL0000000",
    "AWS_SECRET_ACCESS_KEY": "rehearsal",
    "AWS_DEFAULT_REGION": "us-east-1",
    "GPULAB_TODAY": "2026-11-30",
}


class Lab:
    """A network in three zones, and what a cluster needs in addition. Its methods fill in what a call needs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.ec2, self.eks = self.client("ec2"), self.client("eks")
        vpc = self.ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
        self.subnets = [
            self.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.40.{i}.0/24", AvailabilityZone=f"us-east-1{zone}")[
                "Subnet"
            ]["SubnetId"]
            for i, zone in enumerate("abc")
        ]
        self.role = self.make_role("cluster", "eks.amazonaws.com")
        self.node_role = self.make_role("node", "ec2.amazonaws.com")
        self.pod_role = self.make_role("pod", "pods.eks.amazonaws.com", Action=["sts:AssumeRole", "sts:TagSession"])
        self.key = self.client("kms").create_key()["KeyMetadata"]["Arn"]

    def client(self, service: str, **options: Any) -> Any:
        """A client of the server."""
        return boto3.client(service, endpoint_url=self.url, region_name="us-east-1", **options)  # type: ignore[call-overload]

    def make_subnet(self, letter: str) -> str:
        """One more subnet of the VPC, in the zone of that letter; its id."""
        zone = f"us-east-1{letter}"
        vpc = self.ec2.describe_subnets(SubnetIds=self.subnets[:1])["Subnets"][0]["VpcId"]
        made = self.ec2.create_subnet(VpcId=vpc, CidrBlock="10.40.100.0/24", AvailabilityZone=zone)
        return made["Subnet"]["SubnetId"]

    def make_role(self, name: str, service: str | None, **statement: Any) -> str:
        """A role that `service` may assume; its ARN."""
        principal = {"Principal": {"Service": service}} if service else {}
        trust = {"Effect": "Allow", "Action": "sts:AssumeRole", **principal, **statement}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        return self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]

    def make_cluster(self, name: str = "lab", **given: Any) -> dict[str, Any]:
        """A cluster as EKS describes it."""
        defaults = {
            "roleArn": self.role,
            "version": "1.36",
            "resourcesVpcConfig": {"subnetIds": self.subnets, "endpointPublicAccess": True},
            "accessConfig": {"authenticationMode": "API"},
        }
        return self.eks.create_cluster(name=name, **{**defaults, **given})["cluster"]

    def make_template(self) -> dict[str, str]:
        """A launch template with a disk of 50 GiB, one hop to the metadata service, and tags."""
        disk = {"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 50, "VolumeType": "gp3", "Encrypted": True}}
        made = self.ec2.create_launch_template(
            LaunchTemplateName="system",
            LaunchTemplateData={
                "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
                "BlockDeviceMappings": [disk],
                "TagSpecifications": [{"ResourceType": "instance", "Tags": [{"Key": "Team", "Value": "ml"}]}],
            },
        )["LaunchTemplate"]
        return {"id": made["LaunchTemplateId"], "version": "1"}

    def make_group(self, **given: Any) -> dict[str, Any]:
        """The node group `system` as EKS describes it."""
        defaults = {
            "nodeRole": self.node_role,
            "subnets": self.subnets,
            "instanceTypes": ["m7i.large"],
            "scalingConfig": {"minSize": 2, "desiredSize": 2, "maxSize": 2},
        }
        made = self.eks.create_nodegroup(clusterName="lab", nodegroupName="system", **{**defaults, **given})
        return made["nodegroup"]

    def clean(self) -> None:
        """Deletes clusters with what is in them, and launch templates."""
        for name in self.eks.list_clusters()["clusters"]:
            for group in self.eks.list_nodegroups(clusterName=name)["nodegroups"]:
                self.eks.delete_nodegroup(clusterName=name, nodegroupName=group)
            if self.eks.describe_cluster(name=name)["cluster"]["deletionProtection"]:
                self.eks.update_cluster_config(name=name, deletionProtection=False)
            self.eks.delete_cluster(name=name)
        for template in self.ec2.describe_launch_templates()["LaunchTemplates"]:
            self.ec2.delete_launch_template(LaunchTemplateId=template["LaunchTemplateId"])

    def instances(self) -> list[dict[str, Any]]:
        """The instances that run."""
        running = [{"Name": "instance-state-name", "Values": ["running"]}]
        reservations = self.ec2.describe_instances(Filters=running)["Reservations"]
        return [instance for reservation in reservations for instance in reservation["Instances"]]


@contextmanager
def running_lab() -> Iterator[Lab]:
    """A server with a lab, for a module's tests: starting one takes a second or two."""
    with mock.patch.dict(os.environ, ENVIRONMENT), server.running() as url:
        yield Lab(url)


def refused(call: Callable[[], Any]) -> str:
    """What AWS answers to a call that it refuses."""
    with pytest.raises(ClientError) as error:
        call()
    return str(error.value)
