"""AWS types that are described by their calls: the parameters of the calls, and the properties from the answers."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import boto3
import pytest

from rehearsal.providers.aws.api_call import Call, as_property
from rehearsal.providers.aws.base import TYPES, AwsResource
from rehearsal.providers.aws.clients import Cloud
from rehearsal.providers.aws.described import DescribedResource
from rehearsal.providers.aws.eks_access import AccessEntry, AccessPolicyAssociation
from rehearsal.providers.aws.iam import RolePolicy, RolePolicyAttachment
from rehearsal.providers.aws.provider import AwsProvider
from rehearsal.providers.aws.rds_groups import SubnetGroup
from rehearsal.providers.aws.wafv2 import WebAclAssociation
from rehearsal.providers.protocol.model import Request

REQUEST = cast("Request", None)
"""The types under test do not use it."""


class FakeCloud:
    """Records the calls to it; each action has one answer."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def client(self, service: str) -> Any:
        actions = {action: self._action(f"{service}.{action}", action) for action in self.answers}
        return SimpleNamespace(meta=boto3.client(cast("Any", service), region_name="us-east-1").meta, **actions)

    def _action(self, shown: str, action: str) -> Any:
        def call(**parameters: Any) -> Any:
            self.calls.append((shown, parameters))
            return self.answers[action]

        return call

    def __call__(self) -> Cloud:
        return cast("Cloud", self)


def parameters_of(call: Call, service: str, properties: dict[str, Any], **api_names: str) -> dict[str, Any]:
    cloud = FakeCloud(**{call.action: {}})
    call.answer(cloud(), service, properties, api_names)
    return cloud.calls[0][1]


@pytest.mark.parametrize(
    ("parameter", "sent"),
    [
        ("default", {"RoleName": "default"}),
        ("{name}", {"RoleName": "lab"}),
        ("{missing}", {}),
        ("{nested.status}", {"RoleName": "ENABLED"}),
        ("{missing || name}", {"RoleName": "lab"}),
        ("{number}", {"RoleName": "3"}),
        ("{force || `false`}", {"RoleName": "false"}),
    ],
)
def test_parameters_take_the_values_of_properties(parameter: Any, sent: dict[str, Any]) -> None:
    properties = {"name": "lab", "nested": {"status": "ENABLED"}, "number": 3}
    assert parameters_of(Call("get_role", RoleName=parameter), "iam", properties) == sent


def test_parameters_of_the_same_name_get_the_apis_case_at_any_depth() -> None:
    user = {"uid": 1, "gid": 2, "secondaryGids": [3]}
    properties = {"fileSystemId": "fs-1", "posixUser": user, "rootDirectory": None}
    sent = parameters_of(Call("create_access_point", "fileSystemId posixUser rootDirectory"), "efs", properties)
    assert sent == {"FileSystemId": "fs-1", "PosixUser": {"Uid": 1, "Gid": 2, "SecondaryGids": [3]}}


@pytest.mark.parametrize(
    ("call", "service", "sent"),
    [
        (Call("tag_role", "tags"), "iam", {"Tags": [{"Key": "a", "Value": "b"}]}),
        (Call("tag_resource", "tags"), "kms", {"Tags": [{"TagKey": "a", "TagValue": "b"}]}),
        (Call("tag_resource", "tags"), "eks", {"tags": {"a": "b"}}),
        (Call("delete_tags", Tags="{tagKeys}"), "ec2", {"Tags": [{"Key": "c"}]}),
        (Call("untag_role", "tagKeys"), "iam", {"TagKeys": ["c"]}),
    ],
)
def test_tags_get_the_form_of_the_service(call: Call, service: str, sent: dict[str, Any]) -> None:
    assert parameters_of(call, service, {"tags": {"a": "b"}, "tagKeys": ["c"]}) == sent


def test_a_name_of_the_api_is_used_only_where_the_property_has_no_parameter_of_its_own() -> None:
    call, names = Call("create_launch_template", "name launchTemplateData"), {"name": "LaunchTemplateName"}
    sent = parameters_of(
        call, "ec2", {"name": "lab", "launchTemplateData": {"iamInstanceProfile": {"name": "n"}}}, **names
    )
    assert sent == {"LaunchTemplateName": "lab", "LaunchTemplateData": {"IamInstanceProfile": {"Name": "n"}}}


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        ("integer", "30", 30),
        ("boolean", "true", True),
        ("string", True, "true"),
        ("string", {"a": 1}, '{"a": 1}'),
        (["map", "string"], [{"TagKey": "a", "TagValue": "b"}], {"a": "b"}),
        (["list", "string"], "a", ["a"]),
        (
            ["object", "efs.AccessPointPosixUser"],
            {"Uid": 1, "SecondaryGids": [2], "New": 3},
            {"uid": 1, "secondaryGids": [2]},
        ),
        (["object", "efs.AccessPointPosixUser"], [], None),
    ],
)
def test_properties_get_the_form_of_the_contract(kind: Any, value: Any, shown: Any) -> None:
    assert as_property(kind, value, {}) == shown


def test_an_id_is_made_of_properties_and_gives_them_back() -> None:
    cloud = FakeCloud(put_role_policy={}, get_role_policy={"PolicyDocument": {"Statement": []}}, delete_role_policy={})
    kind = RolePolicy()
    id = kind.make(cloud(), {"role": "nodes", "name": "logs", "policy": "{}"}, REQUEST)
    assert id == "nodes:logs"
    live = kind.live(cloud(), id, {})
    assert live == {"role": "nodes", "name": "logs", "policy": '{"Statement": []}'}
    kind.remove(cloud(), id, {}, REQUEST)
    assert cloud.calls[1:] == [
        ("iam.get_role_policy", {"RoleName": "nodes", "PolicyName": "logs"}),
        ("iam.delete_role_policy", {"RoleName": "nodes", "PolicyName": "logs"}),
    ]


def test_what_the_answer_does_not_hold_is_gone() -> None:
    role, policy, other = "nodes", "arn:aws:iam::aws:policy/A", "arn:aws:iam::aws:policy/B"
    cloud = FakeCloud(list_attached_role_policies={"AttachedPolicies": [{"PolicyArn": policy}]})
    kind = RolePolicyAttachment()
    assert kind.live(cloud(), f"{role}/{policy}", {}) == {"role": role, "policyArn": policy}
    assert kind.live(cloud(), f"{role}/{other}", {}) is None


@pytest.mark.parametrize(
    ("answer", "there"), [({"WebACL": {"ARN": "acl"}}, True), ({"WebACL": {"ARN": "x"}}, False), ({}, False)]
)
def test_a_web_acl_is_found_by_its_arn(answer: dict[str, Any], there: bool) -> None:
    live = WebAclAssociation().live(FakeCloud(get_web_acl_for_resource=answer)(), "acl,balancer", {})
    assert live == ({"webAclArn": "acl", "resourceArn": "balancer"} if there else None)


def test_times_are_text() -> None:
    at = datetime(2026, 11, 30, tzinfo=UTC)
    found = {"policyArn": "p", "accessScope": {"type": "cluster"}, "associatedAt": at, "modifiedAt": at}
    cloud = FakeCloud(list_associated_access_policies={"associatedAccessPolicies": [{"policyArn": "q"}, found]})
    live = AccessPolicyAssociation().live(cloud(), "lab#me#p", {})
    assert live is not None
    assert live["associatedAt"] == "2026-11-30T00:00:00+00:00"


def test_a_change_goes_to_the_object_that_the_id_names() -> None:
    cloud = FakeCloud(update_access_entry={})
    AccessEntry().change(cloud(), "lab:me", {"clusterName": "lab"}, {}, changed={"kubernetesGroups"}, request=REQUEST)
    expected = {"clusterName": "lab", "principalArn": "me", "kubernetesGroups": []}
    assert cloud.calls == [("eks.update_access_entry", expected)]


def test_tags_are_read_by_a_call_of_their_own_where_there_is_one() -> None:
    group = {
        "DBSubnetGroupDescription": "d",
        "Subnets": [{"SubnetIdentifier": "subnet-1"}],
        "DBSubnetGroupArn": "arn:group",
        "VpcId": "vpc-1",
    }
    answers = {
        "describe_db_subnet_groups": {"DBSubnetGroups": [group]},
        "list_tags_for_resource": {"TagList": [{"Key": "a", "Value": "b"}]},
    }
    cloud = FakeCloud(**answers)
    live = SubnetGroup().live(cloud(), "lab", {})
    assert live == {
        "name": "lab",
        "description": "d",
        "subnetIds": ["subnet-1"],
        "arn": "arn:group",
        "vpcId": "vpc-1",
        "supportedNetworkTypes": ["IPV4"],
        "tags": {"a": "b"},
    }
    assert cloud.calls[1] == ("rds.list_tags_for_resource", {"ResourceName": "arn:group"})


@pytest.fixture(scope="module")
def types() -> list[AwsResource]:
    """All types of the stand-in."""
    AwsProvider()
    return list(TYPES.values())


def test_every_call_is_one_of_the_services_api(types: list[AwsResource]) -> None:
    names = ("create_call", "read_call", "delete_call", "read_tags_call", "tag_call", "untag_call")
    clients: dict[str, Any] = {}
    for kind in types:
        calls = [getattr(kind, name, None) for name in names]
        calls += (getattr(kind, "updates", None) or {}).values()
        for call in calls:
            if call is None:
                continue
            if kind.service not in clients:
                clients[kind.service] = boto3.client(cast("Any", kind.service), region_name="us-east-1")
            meta = clients[kind.service].meta
            shape = meta.service_model.operation_model(meta.method_to_api_mapping[call.action]).input_shape
            accepted = {name.lower() for name in shape.members}
            given = {*call.names, *call.parameters}
            api_names = getattr(kind, "api_names", {})
            wrong = {name for name in given if not {name.lower(), api_names.get(name, name).lower()} & accepted}
            assert not wrong, f"{kind.token}: {call.action}"


def test_every_output_is_in_the_contract(types: list[AwsResource]) -> None:
    for kind in types:
        if isinstance(kind, DescribedResource):
            assert kind.outputs.keys() <= kind.shape.inputs.keys() | kind.shape.outputs.keys(), kind.token


def test_what_has_tags_can_change_them(types: list[AwsResource]) -> None:
    tagged = [kind for kind in types if "tags" in kind.shape.inputs and type(kind).retag is AwsResource.retag]
    assert tagged
    assert [kind.token for kind in tagged if not (hasattr(kind, "tag_call") and hasattr(kind, "untag_call"))] == []
