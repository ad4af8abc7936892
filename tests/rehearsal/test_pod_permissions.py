"""What a pod may do on the simulated AWS: only what the policies of its Pod Identity's role allow."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any
from unittest import mock

import boto3
import pytest
from aws_server_lab import Lab, refused, running_lab

from components.iam import policy_document
from components.nodes.karpenter_permissions import CONTROLLER_POLICIES, PolicyScope
from rehearsal.checks.checking import DoesNotHold, aws_calls
from rehearsal.checks.permissions import pods_are_admitted
from rehearsal.cloud import api_server
from rehearsal.cloud.policies import Demand, allows

ACCOUNT = "123456789012"
OURS = {"kubernetes.io/cluster/lab": "owned", "eks:eks-cluster-name": "lab", "karpenter.sh/nodepool": "gpu"}


def reviewed(method: str, path: str, body: Any = None, **_: Any) -> str:
    """The API server's review of a token, which is the account's name here; nothing for any other call."""
    if not path.endswith("/tokenreviews"):
        return ""
    token = body["spec"]["token"]
    return json.dumps({"status": {"user": {"username": f"system:serviceaccount:kube-system:{token}"}}})


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A cluster in which the service account karpenter has the role `pod`, with the stack's policies."""
    with running_lab() as made, mock.patch.object(api_server, "call", reviewed):
        made.make_cluster()
        iam = made.client("iam")
        scope = PolicyScope(
            partition="aws",
            region="us-east-1",
            account_id=ACCOUNT,
            cluster_name="lab",
            node_role_arn=made.node_role,
            queue_arn=f"arn:aws:sqs:us-east-1:{ACCOUNT}:lab",
        )
        for name, statements in CONTROLLER_POLICIES.items():
            document = policy_document(*statements(scope))
            arn = iam.create_policy(PolicyName=name, PolicyDocument=document)["Policy"]["Arn"]
            iam.attach_role_policy(RoleName="pod", PolicyArn=arn)
        made.eks.create_pod_identity_association(
            clusterName="lab", namespace="kube-system", serviceAccount="karpenter", roleArn=made.pod_role
        )
        for name in ("lab", "other"):
            made.client("sqs").create_queue(QueueName=name)
        yield made


def credentials(lab: Lab, token: str) -> dict[str, str]:
    """What Pod Identity's agent answers to a pod with this token."""
    request = urllib.request.Request(f"{lab.url}/gpulab/pod-credentials", headers={"Authorization": token})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def pod(lab: Lab) -> boto3.Session:
    """The pod's own session."""
    given = credentials(lab, "karpenter")
    return boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["Token"], region_name="us-east-1")


def client(lab: Lab, pod: boto3.Session, service: str) -> Any:
    """A client with the pod's credentials."""
    return pod.client(service, endpoint_url=lab.url)  # type: ignore[call-overload]


def tags(kind: str, **more: str) -> list[dict[str, Any]]:
    """The tags that Karpenter gives to what it makes."""
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": one} for key, one in {**OURS, **more}.items()]}]


def test_account_without_an_association_gets_nothing(lab: Lab) -> None:
    assert credentials(lab, "default")["code"] == "AccessDeniedException"


def test_pod_reads_what_its_role_may(lab: Lab, pod: boto3.Session) -> None:
    assert client(lab, pod, "eks").describe_cluster(name="lab")
    assert client(lab, pod, "ec2").describe_subnets()["Subnets"]
    assert client(lab, pod, "sqs").get_queue_url(QueueName="lab")
    assert "AccessDenied" in refused(lambda: client(lab, pod, "sqs").get_queue_url(QueueName="other"))
    assert "UnauthorizedOperation" in refused(client(lab, pod, "ec2").describe_volumes)
    assert "AccessDenied" in refused(client(lab, pod, "iam").list_roles)
    assert "AccessDenied" in refused(client(lab, pod, "eks").list_clusters)
    assert lab.ec2.describe_volumes()["Volumes"] == [], "the rehearsal's own key is the administrator's"


def test_pod_makes_only_what_carries_the_clusters_tags(lab: Lab, pod: boto3.Session) -> None:
    ec2 = client(lab, pod, "ec2")

    def make(**given: Any) -> str:
        data = {"ImageId": "ami-1", "InstanceType": "m7i.large"}
        made = ec2.create_launch_template(LaunchTemplateName="one", LaunchTemplateData=data, **given)
        return made["LaunchTemplate"]["LaunchTemplateId"]

    assert "ec2:CreateLaunchTemplate" in refused(make)
    other = tags("launch-template", **{"eks:eks-cluster-name": "other"})
    assert "ec2:CreateLaunchTemplate" in refused(lambda: make(TagSpecifications=other))
    id = make(TagSpecifications=tags("launch-template"))
    fleet = {
        "Type": "instant",
        "LaunchTemplateConfigs": [
            {
                "LaunchTemplateSpecification": {"LaunchTemplateName": "one", "Version": "$Latest"},
                "Overrides": [{"InstanceType": "m7i.large", "SubnetId": lab.subnets[0]}],
            }
        ],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": "on-demand"},
    }
    assert "ec2:CreateFleet" in refused(lambda: ec2.create_fleet(**fleet))
    whole = [*tags("instance"), *tags("volume"), *tags("fleet")]
    (launched,) = ec2.create_fleet(**fleet, TagSpecifications=whole)["Instances"]
    (instance,) = launched["InstanceIds"]
    ec2.create_tags(Resources=[instance], Tags=[{"Key": "Name", "Value": "node"}])
    assert "ec2:CreateTags" in refused(lambda: ec2.create_tags(Resources=[instance], Tags=[{"Key": "a", "Value": "b"}]))
    others = lab.ec2.run_instances(ImageId="ami-1", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    assert "ec2:TerminateInstances" in refused(lambda: ec2.terminate_instances(InstanceIds=[others]))
    ec2.terminate_instances(InstanceIds=[instance])
    ec2.delete_launch_template(LaunchTemplateId=id)


def test_pod_hands_on_the_nodes_role_only(lab: Lab, pod: boto3.Session) -> None:
    iam = client(lab, pod, "iam")
    own = {**OURS, "topology.kubernetes.io/region": "us-east-1", "karpenter.k8s.aws/ec2nodeclass": "gpu"}
    given = [{"Key": key, "Value": value} for key, value in own.items()]
    assert "iam:CreateInstanceProfile" in refused(lambda: iam.create_instance_profile(InstanceProfileName="lab_1"))
    iam.create_instance_profile(InstanceProfileName="lab_1", Path="/karpenter/", Tags=given)
    add = iam.add_role_to_instance_profile
    assert "iam:PassRole" in refused(lambda: add(InstanceProfileName="lab_1", RoleName="cluster"))
    add(InstanceProfileName="lab_1", RoleName="node")
    lab.client("iam").create_instance_profile(InstanceProfileName="anothers")
    assert "AccessDenied" in refused(lambda: iam.delete_instance_profile(InstanceProfileName="anothers"))
    iam.remove_role_from_instance_profile(InstanceProfileName="lab_1", RoleName="node")
    iam.delete_instance_profile(InstanceProfileName="lab_1")


def test_refused_calls_are_reported(lab: Lab, pod: boto3.Session) -> None:
    assert client(lab, pod, "ec2").describe_subnets()["Subnets"]
    calls = aws_calls(lab.url)
    assert pods_are_admitted({**calls, "refused": {}}).endswith(" calls by pod")
    refused(client(lab, pod, "iam").list_users)
    with pytest.raises(DoesNotHold, match="iam:ListUsers"):
        pods_are_admitted(aws_calls(lab.url))


@pytest.mark.parametrize(
    ("condition", "context", "allowed"),
    [
        ({"StringEquals": {"aws:RequestTag/a": "b"}}, {"aws:RequestTag/a": ["b"]}, True),
        ({"StringEquals": {"aws:RequestTag/a": "*"}}, {"aws:RequestTag/a": ["b"]}, False),
        ({"StringLike": {"aws:RequestTag/a": "*"}}, {"aws:RequestTag/a": ["b"]}, True),
        ({"StringLike": {"aws:RequestTag/a": "*"}}, {}, False),
        ({"StringEqualsIfExists": {"aws:RequestTag/a": "b"}}, {}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:TagKeys": ["a"]}, True),
        ({"ForAllValues:StringEquals": {"aws:TagKeys": ["a", "b"]}}, {"aws:TagKeys": ["a", "c"]}, False),
        ({"StringNotEquals": {"aws:RequestedRegion": "a"}}, {"aws:RequestedRegion": ["b"]}, True),
    ],
)
def test_conditions_are_those_of_iam(condition: dict[str, Any], context: dict[str, list[str]], allowed: bool) -> None:
    allow = {"Effect": "Allow", "Action": "ec2:*", "Resource": "arn:aws:ec2:*:*:instance/*", "Condition": condition}
    demand = Demand("ec2:RunInstances", "arn:aws:ec2:us-east-1:1:instance/i-1", context)
    assert allows([allow], demand) == allowed
    deny = {"Effect": "Deny", "Action": "ec2:RunInstances", "Resource": "*"}
    assert not allows([allow, deny], demand)
    assert not allows([allow], Demand("ec2:RunInstances", "arn:aws:ec2:us-east-1:1:volume/v", context))
