"""Karpenter changes only its own cluster's nodes, gets every interruption, and outlives what it made."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import contracts
from components.ground.node_role import node_trust_policy
from components.ground.system_nodes import SYSTEM_TAINT
from components.iam import Statement, policy_document
from components.nodes.karpenter import NAMESPACE, SERVICE_ACCOUNT, Karpenter, KarpenterArgs, karpenter_values
from components.nodes.karpenter_permissions import CONTROLLER_POLICIES, PolicyScope
from settings.cluster import NAME_LIMIT

ARGS = KarpenterArgs(
    cluster_name="lab",
    cluster_endpoint="https://example.eks.amazonaws.com",
    region="us-east-1",
    partition="aws",
    account_id="123456789012",
)
SCOPE = PolicyScope(
    partition="aws",
    region="us-east-1",
    account_id="123456789012",
    cluster_name="lab",
    node_role_arn="arn:aws:iam::123456789012:role/lab-karpenter-node",
    queue_arn="arn:aws:sqs:us-east-1:123456789012:lab-karpenter",
)

VALUES: dict[str, Any] = {
    "region": "us-east-1",
    "cluster_name": "lab",
    "cluster_endpoint": "https://e",
    "queue_name": "q",
    "isolated_vpc": False,
}

# Characters without white space ("IAM and AWS STS quotas", IAM user guide).
MANAGED_POLICY_LIMIT = 6144
POLICIES_PER_ROLE = 10
# The longest name that EKS takes for a cluster.
LONGEST_CLUSTER_NAME = "c" * 100

RELEASE = "kubernetes:helm.sh/v3:Release"
ROLE = "aws:iam/role:Role"
POLICY = "aws:iam/policy:Policy"
ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
ENTRY = "aws:eks/accessEntry:AccessEntry"
ASSOCIATION = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
QUEUE = "aws:sqs/queue:Queue"
QUEUE_POLICY = "aws:sqs/queuePolicy:QueuePolicy"
RULE = "aws:cloudwatch/eventRule:EventRule"
TARGET = "aws:cloudwatch/eventTarget:EventTarget"
PROFILE = "aws:iam/instanceProfile:InstanceProfile"


@pytest.fixture
def deploy(mocks) -> Callable[..., Karpenter]:
    mocks.outputs[QUEUE] = lambda queue: {"url": f"https://sqs.us-east-1.amazonaws.com/123456789012/{queue.name}"}
    return lambda **changes: mocks.deploy(lambda: Karpenter("lab-karpenter", replace(ARGS, **changes)))


def statements() -> Iterator[Statement]:
    for make in CONTROLLER_POLICIES.values():
        yield from make(SCOPE)


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def reads_only(statement: Statement) -> bool:
    verbs = [action.split(":")[1] for action in listed(statement["Action"])]
    return all(verb.startswith(("Describe", "Get", "List")) for verb in verbs)


def values_of(release) -> dict[str, Any]:
    return release.inputs["values"]


# What the controller may do.


def test_whatever_changes_something_is_bound_to_the_cluster_or_to_one_resource() -> None:
    exact = {SCOPE.node_role_arn, SCOPE.queue_arn}
    # What a launch refers to: images, subnets and the like are not made by Karpenter, so they carry no tag of the
    # cluster; the instance in the same call has to.
    referred_to = "AllowScopedEC2InstanceAccessActions"
    for statement in statements():
        if reads_only(statement) or statement["Sid"] == referred_to:
            continue
        if set(listed(statement["Resource"])) <= exact:
            continue
        conditions = statement["Condition"]["StringEquals"]
        tags = {f"aws:{kind}/kubernetes.io/cluster/{SCOPE.cluster_name}" for kind in ("ResourceTag", "RequestTag")}
        assert any(conditions.get(tag) == "owned" for tag in tags), statement["Sid"]


def test_nothing_that_a_launch_refers_to_can_be_made_or_deleted() -> None:
    (statement,) = (s for s in statements() if s["Sid"] == "AllowScopedEC2InstanceAccessActions")
    kinds = {resource.rsplit(":", 1)[1].split("/")[0] for resource in statement["Resource"]}
    assert kinds.isdisjoint({"instance", "volume", "network-interface", "launch-template", "fleet"})


def test_only_the_nodes_role_can_be_passed_and_only_to_ec2() -> None:
    passing = [s for s in statements() if "iam:PassRole" in listed(s["Action"])]
    assert [s["Resource"] for s in passing] == [SCOPE.node_role_arn]
    services = passing[0]["Condition"]["StringEquals"]["iam:PassedToService"]
    assert all(service.startswith("ec2.") for service in services)


def test_no_action_is_a_wildcard() -> None:
    assert not [action for s in statements() for action in listed(s["Action"]) if "*" in action]


@pytest.mark.parametrize("purpose", CONTROLLER_POLICIES)
def test_a_policy_fits_even_with_the_longest_names(purpose: str) -> None:
    scope = replace(
        SCOPE,
        partition="aws-us-gov",
        region="ap-southeast-99",
        cluster_name=LONGEST_CLUSTER_NAME,
        node_role_arn=f"arn:aws-us-gov:iam::123456789012:role/{'r' * 64}",
        queue_arn=f"arn:aws-us-gov:sqs:ap-southeast-99:123456789012:{'q' * 80}",
    )
    written = policy_document(*CONTROLLER_POLICIES[purpose](scope))
    assert len("".join(written.split())) <= MANAGED_POLICY_LIMIT


@pytest.mark.parametrize("partition", ["aws-cn", "aws-us-gov"])
def test_another_partitions_arns_are_its_own(partition: str) -> None:
    role, queue = (arn.replace("arn:aws:", f"arn:{partition}:") for arn in (SCOPE.node_role_arn, SCOPE.queue_arn))
    scope = replace(SCOPE, partition=partition, node_role_arn=role, queue_arn=queue)
    assert "arn:aws:" not in "".join(policy_document(*make(scope)) for make in CONTROLLER_POLICIES.values())


def test_in_china_the_nodes_role_trusts_chinas_ec2() -> None:
    def service(partition: str) -> str:
        return json.loads(node_trust_policy(partition))["Statement"][0]["Principal"]["Service"]

    assert service("aws-cn") == "ec2.amazonaws.com.cn"
    assert service("aws-us-gov") == service("aws") == "ec2.amazonaws.com"


def test_every_policy_reaches_the_controllers_role(mocks, deploy) -> None:
    deploy()
    role = mocks.one(ROLE, "lab-karpenter-controller")
    attached = [a.inputs["policyArn"] for a in mocks.all(ATTACHMENT) if a.inputs["role"] == role.outputs["name"]]
    assert sorted(attached) == sorted(policy.outputs["arn"] for policy in mocks.all(POLICY))
    assert len(attached) <= POLICIES_PER_ROLE


@pytest.mark.parametrize("type_", [ROLE, RULE])
def test_names_fit_in_the_longest_cluster(mocks, type_: str) -> None:
    """Roles and rules have 64 characters, of which Pulumi's random suffix takes 8."""
    mocks.deploy(lambda: Karpenter(f"{'c' * NAME_LIMIT}-karpenter", ARGS))
    assert max(len(resource.name) for resource in mocks.all(type_)) + 8 <= 64


# Who the controller is.


def test_the_service_account_of_the_chart_is_the_one_that_has_the_role(mocks, deploy) -> None:
    deploy()
    association = mocks.one(ASSOCIATION)
    release = mocks.one(RELEASE, "lab-karpenter")
    assert values_of(release)["serviceAccount"]["name"] == association.inputs["serviceAccount"]
    assert release.inputs["namespace"] == association.inputs["namespace"]
    assert association.inputs["roleArn"] == mocks.one(ROLE, "lab-karpenter-controller").outputs["arn"]
    assert association.inputs["clusterName"] == ARGS.cluster_name


def test_the_role_admits_that_service_account_of_that_cluster_alone(mocks, deploy) -> None:
    deploy()
    (trust,) = json.loads(mocks.one(ROLE, "lab-karpenter-controller").inputs["assumeRolePolicy"])["Statement"]
    assert trust["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert set(trust["Action"]) == {"sts:AssumeRole", "sts:TagSession"}
    assert trust["Condition"]["StringEquals"] == {
        "aws:RequestTag/eks-cluster-arn": SCOPE.cluster_arn,
        "aws:RequestTag/kubernetes-namespace": NAMESPACE,
        "aws:RequestTag/kubernetes-service-account": SERVICE_ACCOUNT,
    }


# The nodes.


def test_the_nodes_role_may_join_the_cluster(mocks, deploy) -> None:
    karpenter = deploy()
    role = mocks.one(ROLE, "lab-karpenter-node")
    entry = mocks.one(ENTRY)
    assert entry.inputs["type"] == "EC2_LINUX"
    assert entry.inputs["principalArn"] == role.outputs["arn"] == mocks.value(karpenter.node_role_arn)
    assert mocks.value(karpenter.node_role_name) == role.outputs["name"]


def test_the_controller_may_pass_the_role_that_the_nodes_get(mocks, deploy) -> None:
    karpenter = deploy()
    policy = json.loads(mocks.one(POLICY, "lab-karpenter-iam-integration").inputs["policy"])
    (passing,) = (s for s in policy["Statement"] if s["Action"] == "iam:PassRole")
    assert passing["Resource"] == mocks.value(karpenter.node_role_arn)


def test_a_node_can_join_pull_images_and_be_reached(mocks, deploy) -> None:
    deploy(partition="aws-us-gov")
    role = mocks.one(ROLE, "lab-karpenter-node")
    attached = {a.inputs["policyArn"] for a in mocks.all(ATTACHMENT) if a.inputs["role"] == role.outputs["name"]}
    needed = (
        "AmazonEKSWorkerNodePolicy",
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonSSMManagedInstanceCore",
        "AmazonEKS_CNI_Policy",
    )
    assert attached == {f"arn:aws-us-gov:iam::aws:policy/{policy}" for policy in needed}


def test_an_isolated_vpc_has_its_instance_profile_made_from_outside(mocks, deploy) -> None:
    """IAM has no endpoint in a VPC, so the controller could not make one (Karpenter, "Private clusters")."""
    karpenter = deploy(isolated_vpc=True)
    profile = mocks.one(PROFILE)
    assert profile.inputs["role"] == mocks.value(karpenter.node_role_name)
    assert mocks.value(karpenter.instance_profile_name) == profile.outputs["name"]
    assert values_of(mocks.one(RELEASE, "lab-karpenter"))["settings"]["isolatedVPC"] is True


def test_elsewhere_instance_profiles_are_left_to_karpenter(mocks, deploy) -> None:
    assert deploy().instance_profile_name is None
    assert not mocks.all(PROFILE)


# The interruption queue.


def test_every_rule_feeds_the_queue_that_the_controller_reads(mocks, deploy) -> None:
    karpenter = deploy()
    queue = mocks.one(QUEUE)
    rules = mocks.all(RULE)
    targets = mocks.all(TARGET)
    assert {target.inputs["rule"] for target in targets} == {rule.outputs["name"] for rule in rules}
    assert {target.inputs["arn"] for target in targets} == {queue.outputs["arn"]}
    settings = values_of(mocks.one(RELEASE, "lab-karpenter"))["settings"]
    assert settings["interruptionQueue"] == queue.outputs["name"] == mocks.value(karpenter.queue_name)
    read = json.loads(mocks.one(POLICY, "lab-karpenter-interruption").inputs["policy"])["Statement"]
    assert [statement["Resource"] for statement in read] == [queue.outputs["arn"]]


def test_the_controller_hears_of_all_that_can_take_a_node_away(mocks, deploy) -> None:
    deploy()
    patterns = [json.loads(rule.inputs["eventPattern"]) for rule in mocks.all(RULE)]
    heard = {(source, event) for p in patterns for source in p["source"] for event in p["detail-type"]}
    assert heard == {
        ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
        ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
        ("aws.ec2", "EC2 Instance State-change Notification"),
        ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"),
        ("aws.health", "AWS Health Event"),
    }


def test_the_queue_takes_messages_of_these_rules_only_and_over_tls(mocks, deploy) -> None:
    deploy()
    queue = mocks.one(QUEUE)
    assert queue.inputs["sqsManagedSseEnabled"] is True
    policy = json.loads(mocks.one(QUEUE_POLICY).inputs["policy"])["Statement"]
    assert {statement["Resource"] for statement in policy} == {queue.outputs["arn"]}
    (denied,) = (statement for statement in policy if statement["Effect"] == "Deny")
    assert (denied["Principal"], denied["Action"]) == ("*", "sqs:*")
    assert denied["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    allowed = {s["Principal"]["Service"]: s for s in policy if s["Effect"] == "Allow"}
    assert set(allowed) == {"events.amazonaws.com", "sqs.amazonaws.com"}
    assert all(statement["Action"] == "sqs:SendMessage" for statement in allowed.values())
    sources = allowed["events.amazonaws.com"]["Condition"]["ArnEquals"]["aws:SourceArn"]
    assert sorted(sources) == sorted(rule.outputs["arn"] for rule in mocks.all(RULE))
    assert allowed["sqs.amazonaws.com"]["Condition"]["StringEquals"] == {"aws:SourceAccount": ARGS.account_id}


# The releases.


def known_keys(values: dict[str, Any], defaults: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, value in values.items():
        if key not in defaults:
            yield f"{path}{key}"
        elif isinstance(value, dict) and defaults[key]:
            yield from known_keys(value, defaults[key], f"{path}{key}.")


def test_the_chart_knows_every_value_that_is_set() -> None:
    values = karpenter_values(**VALUES)
    assert list(known_keys(values, dict(contracts.chart("karpenter").values))) == []


def test_two_controllers_run_on_system_nodes_and_apart() -> None:
    values = karpenter_values(**VALUES)
    effective = {**contracts.chart("karpenter").values, **values}
    assert SYSTEM_TAINT["key"] in {toleration["key"] for toleration in effective["tolerations"]}
    affinity = effective["affinity"]
    terms = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert all({"key": "karpenter.sh/nodepool", "operator": "DoesNotExist"} in t["matchExpressions"] for t in terms)
    assert affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert effective["replicas"] == 2


def test_the_controller_knows_its_region_without_the_metadata_service(mocks, deploy) -> None:
    deploy(region="eu-west-1")
    environment = values_of(mocks.one(RELEASE, "lab-karpenter"))["controller"]["env"]
    assert {"name": "AWS_REGION", "value": "eu-west-1"} in environment


def test_shared_gpus_can_be_announced(mocks, deploy) -> None:
    deploy()
    assert values_of(mocks.one(RELEASE, "lab-karpenter"))["settings"]["featureGates"]["nodeOverlay"] is True


def test_the_crds_have_one_owner(mocks, deploy) -> None:
    deploy()
    crds, karpenter = mocks.one(RELEASE, "lab-karpenter-crd"), mocks.one(RELEASE, "lab-karpenter")
    assert karpenter.inputs["skipCrds"] is True
    assert crds.inputs["version"] == karpenter.inputs["version"]
    assert crds.inputs["chart"] == f"{karpenter.inputs['chart']}-crd"


@pytest.mark.parametrize("type_", [ENTRY, ASSOCIATION, ATTACHMENT, POLICY, ROLE, QUEUE, QUEUE_POLICY, RULE, TARGET])
def test_what_the_controller_and_its_nodes_use_outlives_the_controller(mocks, deploy, type_: str) -> None:
    deploy()
    release = mocks.one(RELEASE, "lab-karpenter")
    assert all(mocks.needs(release, resource) for resource in mocks.all(type_))


def test_crds_and_instance_profile_outlive_the_controller(mocks, deploy) -> None:
    deploy(isolated_vpc=True)
    release = mocks.one(RELEASE, "lab-karpenter")
    assert mocks.needs(release, mocks.one(RELEASE, "lab-karpenter-crd"))
    assert mocks.needs(release, mocks.one(PROFILE))
