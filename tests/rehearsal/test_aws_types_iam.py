from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aws_support import SimulatedAws, simulated_aws

from rehearsal.providers.protocol.model import UNKNOWN, InitFailed, Properties, Refused

ROLE, POLICY = "aws:iam/role:Role", "aws:iam/policy:Policy"
ROLE_POLICY, ATTACHMENT = "aws:iam/rolePolicy:RolePolicy", "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
PROFILE, OIDC = "aws:iam/instanceProfile:InstanceProfile", "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
LINKED = "aws:iam/serviceLinkedRole:ServiceLinkedRole"
KEY, ALIAS = "aws:kms/key:Key", "aws:kms/alias:Alias"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
RULE, TARGET = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"
QUEUE, QUEUE_POLICY = "aws:sqs/queue:Queue", "aws:sqs/queuePolicy:QueuePolicy"


def trust(service: str = "ec2.amazonaws.com", **more: Any) -> str:
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole", **more}
    given = {key: value for key, value in statement.items() if value is not None}
    return json.dumps({"Version": "2012-10-17", "Statement": [given]})


def allow(action: str = "ec2:DescribeImages", **more: Any) -> str:
    statement = {"Effect": "Allow", "Action": action, "Resource": "*", **more}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedAws]:
    with simulated_aws() as aws:
        yield aws


@pytest.fixture
def aws(server: SimulatedAws) -> Iterator[SimulatedAws]:
    yield server
    server.delete_all()


EXAMPLES: dict[str, tuple[Properties, Properties]] = {
    ROLE: ({"assumeRolePolicy": trust()}, {"assumeRolePolicy": trust("eks.amazonaws.com"), "description": "x"}),
    POLICY: ({"policy": allow()}, {"policy": allow("ec2:DescribeVpcs"), "tags": {"a": "b"}}),
    PROFILE: ({}, {"tags": {"a": "b"}}),
    OIDC: (
        {"url": "https://oidc.example.com/id/1", "clientIdLists": ["sts.amazonaws.com"]},
        {"url": "https://oidc.example.com/id/1", "clientIdLists": ["sts.amazonaws.com", "other"]},
    ),
    LINKED: (
        {"awsServiceName": "spot.amazonaws.com"},
        {"awsServiceName": "spot.amazonaws.com", "description": "spot"},
    ),
    KEY: (
        {"description": "a", "enableKeyRotation": True, "deletionWindowInDays": 7},
        {"description": "b", "enableKeyRotation": False, "deletionWindowInDays": 8, "tags": {"a": "b"}},
    ),
    LOG_GROUP: ({"retentionInDays": 30}, {"retentionInDays": 90, "tags": {"a": "b"}}),
    RULE: (
        {"eventPattern": json.dumps({"source": ["aws.ec2"], "detail": {"state": ["stopped"]}})},
        {"eventPattern": json.dumps({"source": ["aws.health"]}), "description": "health", "tags": {"a": "b"}},
    ),
    QUEUE: (
        {"messageRetentionSeconds": 300, "sqsManagedSseEnabled": True},
        {"messageRetentionSeconds": 600, "sqsManagedSseEnabled": True, "tags": {"a": "b"}},
    ),
}


@pytest.mark.parametrize("token", EXAMPLES)
def test_resource_lives_without_drift_from_its_creation_to_its_end(aws: SimulatedAws, token: str) -> None:
    first, second = EXAMPLES[token]
    made = aws.create(token, first)
    assert aws.drift(made) == {}
    aws.update(made, second)
    assert aws.drift(made) == {}
    if "tagsAll" in made.inputs:
        assert made.outputs["tagsAll"] == {"Owner": "tests", **second.get("tags", {})}
    aws.delete(made)
    assert aws.drift(made) == {"gone": True}


def test_policies_of_a_role_come_and_go(aws: SimulatedAws) -> None:
    role = aws.create(ROLE, {"name": "node", "assumeRolePolicy": trust()})
    inline = aws.create(ROLE_POLICY, {"role": role.id, "policy": allow()})
    arn = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly"
    attached = aws.create(ATTACHMENT, {"role": role.id, "policyArn": arn})
    profile = aws.create(PROFILE, {"role": role.id})
    for made in (inline, attached, profile):
        assert aws.drift(made) == {}
    aws.update(inline, {"role": role.id, "policy": allow("s3:GetObject")})
    assert aws.drift(inline) == {}
    role.outputs["managedPolicyArns"] = []
    with pytest.raises(Refused, match="DeleteConflict"):
        aws.delete(role)


def test_role_with_policies_of_its_own_takes_them_along(aws: SimulatedAws) -> None:
    inputs = {"assumeRolePolicy": trust(), "inlinePolicies": [{"name": "own", "policy": allow()}]}
    role = aws.create(ROLE, inputs)
    assert aws.drift(role) == {}
    aws.update(role, {**inputs, "inlinePolicies": []})
    assert aws.drift(role) == {}


def test_a_policy_written_in_another_way_is_no_change(aws: SimulatedAws) -> None:
    made = aws.create(POLICY, {"policy": allow()})
    spaced = json.dumps(json.loads(allow()), indent=2, sort_keys=True)
    assert aws.check(POLICY, {"policy": spaced}, made.inputs)["policy"] == made.inputs["policy"]
    aws.provider.cloud().client("iam").create_policy_version(
        PolicyArn=made.id, PolicyDocument=allow("s3:*"), SetAsDefault=True
    )
    assert json.loads(aws.drift(made)["policy"])["Statement"][0]["Action"] == "s3:*"


def test_a_policy_keeps_no_more_versions_than_iam_does(aws: SimulatedAws) -> None:
    made = aws.create(POLICY, {"policy": allow()})
    for index in range(7):
        aws.update(made, {"policy": allow(f"s3:Get{index}")})
    assert len(aws.provider.cloud().client("iam").list_policy_versions(PolicyArn=made.id)["Versions"]) == 5


REFUSALS: list[tuple[str, Properties, str, str]] = [
    (ROLE, {"assumeRolePolicy": "x"}, "assumeRolePolicy", "invalid JSON"),
    (ROLE, {"assumeRolePolicy": allow("sts:AssumeRole")}, "assumeRolePolicy", "Resource"),
    (ROLE, {"assumeRolePolicy": trust(Principal=None)}, "assumeRolePolicy", "name a Principal"),
    (ROLE, {"assumeRolePolicy": trust(Resource="*")}, "assumeRolePolicy", "Resource"),
    (ROLE, {"assumeRolePolicy": trust(Action="s3:GetObject")}, "assumeRolePolicy", "only actions of sts"),
    (ROLE, {"assumeRolePolicy": trust(), "name": "x" * 65}, "name", "1 - 64"),
    (ROLE, {"assumeRolePolicy": trust(), "path": "x"}, "path", "begin and end with /"),
    (ROLE, {"assumeRolePolicy": trust(), "maxSessionDuration": 60}, "maxSessionDuration", "3600"),
    (POLICY, {"policy": allow(Principal={"Service": "a"})}, "policy", "must not specify a principal"),
    (POLICY, {"policy": allow(Effect="allow")}, "policy", "Allow or Deny"),
    (POLICY, {"policy": allow(Actions="x")}, "policy", "no element Actions"),
    (POLICY, {"policy": allow(Resource=["r" * 7000])}, "policy", "6144"),
    (POLICY, {"policy": json.dumps({"Statement": []})}, "policy", "with statements"),
    (ROLE_POLICY, {"role": "r", "policy": allow("DescribeImages")}, "policy", "not an action"),
    (ATTACHMENT, {"role": "r", "policyArn": "AmazonEKSClusterPolicy"}, "policyArn", "invalid ARN"),
    (OIDC, {"url": "http://x", "clientIdLists": []}, "url", "https"),
    (KEY, {"deletionWindowInDays": 6}, "deletionWindowInDays", "7 - 30"),
    (KEY, {"policy": allow("kms:Decrypt", Principal={"AWS": "*"})}, "policy", "will not allow you to update"),
    (ALIAS, {"name": "lab", "targetKeyId": "k"}, "name", "alias/"),
    (ALIAS, {"name": "alias/aws/lab", "targetKeyId": "k"}, "name", "alias/"),
    (LOG_GROUP, {"retentionInDays": 31}, "retentionInDays", "one of"),
    (RULE, {}, "eventPattern", "must be specified"),
    (RULE, {"eventPattern": json.dumps({"source": "aws.ec2"})}, "eventPattern", "non-empty array"),
    (RULE, {"eventPattern": "{"}, "eventPattern", "not valid JSON"),
    (RULE, {"scheduleExpression": "hourly"}, "scheduleExpression", "rate"),
    (TARGET, {"rule": "r", "arn": "queue"}, "arn", "invalid ARN"),
    (QUEUE, {"messageRetentionSeconds": 59}, "messageRetentionSeconds", "60"),
    (QUEUE, {"name": "jobs", "fifoQueue": True}, "name", ".fifo"),
    (QUEUE, {"name": "x" * 81}, "name", "80"),
    (QUEUE_POLICY, {"queueUrl": "u", "policy": allow("sqs:SendMessage")}, "policy", "Principal"),
]


@pytest.mark.parametrize(("token", "inputs", "where", "reason"), REFUSALS)
def test_preview_refuses(server: SimulatedAws, token: str, inputs: Properties, where: str, reason: str) -> None:
    assert reason in server.refusals(token, inputs)[where]


@pytest.mark.parametrize("token", EXAMPLES)
def test_preview_bears_what_it_does_not_know(server: SimulatedAws, token: str) -> None:
    server.check(token, dict.fromkeys(EXAMPLES[token][0], UNKNOWN))


def test_an_interruption_queue_takes_events(aws: SimulatedAws) -> None:
    queue = aws.create(QUEUE, {"name": "interruptions"})
    permission = allow("sqs:SendMessage", Principal={"Service": "events.amazonaws.com"}, Resource=queue.outputs["arn"])
    policy = aws.create(QUEUE_POLICY, {"queueUrl": queue.id, "policy": permission})
    rule = aws.create(RULE, {"eventPattern": json.dumps({"source": ["aws.ec2"]})})
    target = aws.create(TARGET, {"rule": rule.outputs["name"], "arn": queue.outputs["arn"], "targetId": "queue"})
    for made in (policy, rule, target):
        assert aws.drift(made) == {}
    assert aws.replaced_by(queue, {"name": "other"}) == {"name"}
    with pytest.raises(Refused, match="target"):
        aws.delete(rule)
    aws.delete(policy)
    assert aws.drift(policy) == {"gone": True}


def test_alias_follows_its_key(aws: SimulatedAws) -> None:
    first, second = aws.create(KEY, {}, "first"), aws.create(KEY, {}, "second")
    alias = aws.create(ALIAS, {"targetKeyId": first.id})
    assert alias.id.startswith("alias/lab-")
    aws.update(alias, {"targetKeyId": second.outputs["arn"]})
    assert aws.drift(alias) == {}
    assert alias.outputs["targetKeyArn"] == second.outputs["arn"]


def test_a_key_in_its_deletion_window_is_gone(aws: SimulatedAws) -> None:
    key = aws.create(KEY, {"deletionWindowInDays": 7})
    aws.delete(key)
    assert aws.drift(key) == {"gone": True}


def test_log_group_refuses_a_key_that_logs_may_not_use(aws: SimulatedAws) -> None:
    key = aws.create(KEY, {})
    with pytest.raises(Refused, match="not allowed to be used"):
        aws.create(LOG_GROUP, {"kmsKeyId": key.outputs["arn"]})


def test_names_are_taken_once(aws: SimulatedAws) -> None:
    aws.create(ROLE, {"name": "lab", "assumeRolePolicy": trust()})
    with pytest.raises(Refused, match="EntityAlreadyExists"):
        aws.create(ROLE, {"name": "lab", "assumeRolePolicy": trust()})


def test_profile_of_a_role_that_is_missing_stays_in_the_state(aws: SimulatedAws) -> None:
    with pytest.raises(InitFailed, match="NoSuchEntity") as failed:
        aws.create(PROFILE, {"name": "orphan", "role": "missing"})
    assert failed.value.id == "orphan"
    aws.provider.cloud().client("iam").delete_instance_profile(InstanceProfileName="orphan")
