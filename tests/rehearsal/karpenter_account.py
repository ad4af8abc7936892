"""The simulated account of a lab in which Karpenter buys nodes: what the stack would have made there."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from components.ground.network import DISCOVERY_TAG
from components.ground.pod_identity import trust_policy
from components.iam import policy_document
from components.nodes.karpenter import INTERRUPTION_EVENTS, NAMESPACE, SERVICE_ACCOUNT
from components.nodes.karpenter_permissions import CONTROLLER_POLICIES, PolicyScope

REGION = "us-east-1"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
CLUSTER = "gpulab-dev"
NODE_ROLE, _CONTROLLER = "node", "controller"


def make_account(client: Callable[[str], Any]) -> None:
    """A network as the stack's discovery tags find it, a cluster in it, the nodes' role, and what Karpenter needs."""
    ec2 = client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.40.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.40.{number}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for number, zone in enumerate(ZONES)
    ]
    group = ec2.create_security_group(VpcId=vpc, GroupName="nodes", Description="nodes")["GroupId"]
    ec2.create_tags(Resources=[*subnets, group], Tags=[{"Key": DISCOVERY_TAG, "Value": CLUSTER}])
    roles = {
        name: client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=_trust(service))["Role"]["Arn"]
        for name, service in (("cluster", "eks.amazonaws.com"), (NODE_ROLE, "ec2.amazonaws.com"))
    }
    cluster = client("eks").create_cluster(
        name=CLUSTER,
        roleArn=roles["cluster"],
        version="1.36",
        resourcesVpcConfig={"subnetIds": subnets},
        accessConfig={"authenticationMode": "API"},
    )["cluster"]
    _make_controllers_role(client, cluster["arn"], roles[NODE_ROLE], _make_queue(client))


def _make_queue(client: Callable[[str], Any]) -> str:
    """The interruption queue with its rules, as the stack makes them; returns its ARN."""
    sqs, events = client("sqs"), client("events")
    url = sqs.create_queue(QueueName=CLUSTER)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    for event, pattern in INTERRUPTION_EVENTS.items():
        events.put_rule(Name=event, EventPattern=json.dumps(pattern))
        events.put_targets(Rule=event, Targets=[{"Id": "queue", "Arn": arn}])
    return arn


def _make_controllers_role(client: Callable[[str], Any], cluster: str, node_role: str, queue: str) -> None:
    """The role that Karpenter's service account gets by Pod Identity, with the stack's policies."""
    iam = client("iam")
    scope = PolicyScope(
        partition="aws",
        region=REGION,
        account_id=cluster.split(":")[4],
        cluster_name=CLUSTER,
        node_role_arn=node_role,
        queue_arn=queue,
    )
    trust = trust_policy(cluster, NAMESPACE, SERVICE_ACCOUNT)
    role = iam.create_role(RoleName=_CONTROLLER, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    for name, statements in CONTROLLER_POLICIES.items():
        document = policy_document(*statements(scope))
        iam.put_role_policy(RoleName=_CONTROLLER, PolicyName=name, PolicyDocument=document)
    client("eks").create_pod_identity_association(
        clusterName=CLUSTER, namespace=NAMESPACE, serviceAccount=SERVICE_ACCOUNT, roleArn=role
    )


def _trust(service: str) -> str:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
