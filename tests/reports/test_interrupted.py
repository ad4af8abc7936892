"""What an interrupted `pulumi up` made but did not record, found again and added to the state."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import pytest

from rehearsal.cloud import server
from rehearsal.providers.aws import base
from rehearsal.providers.aws.provider import AwsProvider
from reports import interrupted
from reports.account import Account

PROJECT = Path(__file__).parents[2]
STACK_FILE = str(PROJECT / "Pulumi.dev.yaml")
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAREHEARSAL0000000", "AWS_SECRET_ACCESS_KEY": "rehearsal"}
VPC = "aws:ec2/vpc:Vpc"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with mock.patch.dict(os.environ, CREDENTIALS), server.running() as one:
        yield one


@pytest.fixture(scope="module")
def account(url: str) -> Account:
    return Account(boto3.Session(region_name="us-east-1"), url)


@pytest.fixture
def tags(request: pytest.FixtureRequest) -> dict[str, str]:
    """The resources of only this test: all tests share the account."""
    return {"Project": "gpulab", "Stack": "dev", "Name": request.node.name}


def resource(kind: str, logical_name: str = "one", /, **inputs: Any) -> dict[str, Any]:
    return {"urn": f"urn:pulumi:dev::gpulab::{kind}::{logical_name}", "type": kind, "custom": True, "inputs": inputs}


def state(*pending: dict[str, Any], noted: tuple[dict[str, Any], ...] = (), type: str = "creating") -> dict[str, Any]:
    operations = [{"resource": one, "type": type} for one in pending]
    return {"manifest": {}, "resources": list(noted), "pending_operations": operations}


def make_vpc(account: Account, wanted: dict[str, str]) -> str:
    listed = [{"Key": key, "Value": value} for key, value in wanted.items()]
    specification = [{"ResourceType": "vpc", "Tags": listed}]
    return account.client("ec2").create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=specification)["Vpc"]["VpcId"]


def ids(deployment: dict[str, Any]) -> dict[str, str]:
    return {one["urn"].rpartition("::")[2]: one["id"] for one in deployment["resources"]}


def test_what_has_the_tags_and_is_not_in_the_state_is_taken(account: Account, tags: dict[str, str]) -> None:
    make_vpc(account, {**tags, "Stack": "dev-2"})
    first, second = make_vpc(account, tags), make_vpc(account, tags)
    noted = {**resource(VPC, "noted", tagsAll=tags), "id": first}
    deployment, (finding,) = interrupted.repaired(state(resource(VPC, tagsAll=tags), noted=(noted,)), account)
    assert ids(deployment) == {"noted": first, "one": second}
    assert deployment["pending_operations"] == []
    assert finding.id == second
    # Else the provider's answer to the refresh would be an import's, with inputs that the program does not give.
    assert deployment["resources"][-1]["outputs"] == {"tagsAll": tags}


@pytest.mark.parametrize(
    ("given", "found"), [({}, True), ({"creationToken": "mine"}, True), ({"creationToken": "x"}, False)]
)
def test_a_name_counts_where_one_was_given(
    account: Account, tags: dict[str, str], given: dict[str, str], found: bool
) -> None:
    """Without a token of the program's, EFS's own provider chooses one when it makes the file system."""
    efs = account.client("efs")
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    id = efs.create_file_system(CreationToken="mine", Tags=listed)["FileSystemId"]
    try:
        pending = resource("aws:efs/fileSystem:FileSystem", tagsAll=tags, **given)
        assert ids(interrupted.repaired(state(pending), account)[0]) == ({"one": id} if found else {})
    finally:
        efs.delete_file_system(FileSystemId=id)


def test_what_was_not_made_is_made_anew(account: Account, tags: dict[str, str]) -> None:
    deployment, (finding,) = interrupted.repaired(state(resource(VPC, tagsAll=tags)), account)
    assert deployment["resources"] == deployment["pending_operations"] == []
    assert str(finding) == f"{VPC} one: was not made; the next update makes it"


def test_two_that_could_be_it_are_both_named_and_nothing_is_guessed(account: Account, tags: dict[str, str]) -> None:
    both = make_vpc(account, tags), make_vpc(account, tags)
    with pytest.raises(interrupted.UnclearError) as error:
        interrupted.repaired(state(resource(VPC, tagsAll=tags)), account)
    assert all(id in str(error.value) for id in both)


@pytest.mark.parametrize(
    ("pending", "id"),
    [
        (resource("aws:eks/nodeGroup:NodeGroup", clusterName="lab", nodeGroupName="system"), "lab:system"),
        (resource("aws:iam/role:Role", name="lab-1234567"), "lab-1234567"),
        (resource("kubernetes:core/v1:Namespace", metadata={"name": "team"}), "team"),
        (resource("kubernetes:core/v1:Secret", metadata={"name": "key", "namespace": "team"}), "team/key"),
        (resource("kubernetes:helm.sh/v3:Release", name="hub", namespace="team", chart="jupyterhub"), "team/hub"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_called_as_its_inputs_say_is_taken_for_the_refresh_to_look_at(
    account: Account, pending: dict[str, Any], id: str
) -> None:
    deployment, _ = interrupted.repaired(state(pending), account)
    assert ids(deployment) == {"one": id}


@pytest.mark.parametrize("given", [{"name": "alias/lab-data"}, {"namePrefix": "alias/lab-"}])
def test_an_alias_is_that_of_its_key(account: Account, given: dict[str, str]) -> None:
    kms = account.client("kms")
    key, other = (kms.create_key()["KeyMetadata"]["KeyId"] for _ in range(2))
    names = {key: "alias/lab-data", other: "alias/lab-other"}
    try:
        for id, name in names.items():
            kms.create_alias(AliasName=name, TargetKeyId=id)
        pending = resource("aws:kms/alias:Alias", targetKeyId=key, **given)
        assert ids(interrupted.repaired(state(pending), account)[0]) == {"one": "alias/lab-data"}
    finally:
        for name in names.values():
            kms.delete_alias(AliasName=name)


def test_a_name_of_the_providers_choice_is_told_by_how_it_begins(account: Account, tags: dict[str, str]) -> None:
    iam, listed = account.client("iam"), [{"Key": key, "Value": value} for key, value in tags.items()]
    statement = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    names = ("lab-20261122", "lap-20261122")
    for name in names:
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, Tags=listed)
    try:
        pending = resource("aws:iam/role:Role", namePrefix="lab-", tagsAll=tags)
        assert ids(interrupted.repaired(state(pending), account)[0]) == {"one": "lab-20261122"}
    finally:
        for name in names:
            iam.delete_role(RoleName=name)


def test_what_can_not_be_looked_up_is_said_to_be_untold(account: Account) -> None:
    pending = resource("aws:cloudwatch/logGroup:LogGroup", namePrefix="lab-")
    deployment, (finding,) = interrupted.repaired(state(pending), account)
    assert deployment["resources"] == []
    assert "its id cannot be found" in str(finding)


def test_what_was_to_take_the_place_of_another_is_not_made_a_third_time(account: Account, tags: dict[str, str]) -> None:
    old, new = make_vpc(account, tags), make_vpc(account, tags)
    noted = {**resource(VPC, tagsAll=tags), "id": old}
    with pytest.raises(interrupted.UnclearError, match=new):
        interrupted.repaired(state(resource(VPC, tagsAll=tags), noted=(noted,)), account)
    account.client("ec2").delete_vpc(VpcId=new)
    _, (finding,) = interrupted.repaired(state(resource(VPC, tagsAll=tags), noted=(noted,)), account)
    assert finding.why == "is in the state now"


def test_what_was_deleted_for_its_replacement_gives_it_its_place(account: Account, tags: dict[str, str]) -> None:
    """A Job has a fixed name, so the engine deletes the old one first, and remembers it until then."""
    metadata = {"name": "realm", "namespace": "identity"}
    job = resource("kubernetes:batch/v1:Job", metadata=metadata, spec={"backoffLimit": 10})
    old = {**job, "inputs": {"metadata": metadata}, "id": "identity/realm", "pendingReplacement": True}
    after = {**resource("kubernetes:core/v1:ConfigMap", "after"), "id": "identity/after", "dependencies": [job["urn"]]}
    deployment, (finding,) = interrupted.repaired(state(job, noted=(old, after)), account)
    assert finding.id == "identity/realm"
    assert deployment["resources"] == [{**job, "id": "identity/realm", "outputs": {}}, after]

    remembered = {**resource(VPC, tagsAll=tags), "id": "vpc-0", "pendingReplacement": True}
    wanted = resource(VPC, tagsAll=tags)
    deployment, (finding,) = interrupted.repaired(state(wanted, noted=(remembered,)), account)
    assert (finding.id, deployment["resources"]) == (None, [remembered]), "it was not made yet"
    made = make_vpc(account, tags)
    deployment, _ = interrupted.repaired(state(wanted, noted=(remembered,)), account)
    assert ids(deployment) == {"one": made}


@pytest.mark.parametrize(
    "kind", ["random:index/randomPassword:RandomPassword", "kubernetes:core/v1:ServiceAccountPatch"]
)
def test_what_can_be_made_twice_is(account: Account, kind: str) -> None:
    deployment, (finding,) = interrupted.repaired(state(resource(kind, metadata={"name": "one"})), account)
    assert deployment["resources"] == []
    assert finding.id is None


@pytest.mark.parametrize("operation", ["updating", "deleting", "reading"])
def test_what_was_there_before_is_left_to_the_refresh(account: Account, operation: str) -> None:
    noted = {**resource(VPC), "id": "vpc-1"}
    deployment, findings = interrupted.repaired(state(noted, noted=(noted,), type=operation), account)
    assert deployment["resources"] == [noted]
    assert findings == []


def test_every_kind_of_the_platforms_is_decided_on() -> None:
    """A new type needs an `AwsType` in reports/services/ that says how to find its id, or that it cannot be found."""
    AwsProvider()
    assert sorted(kind for kind in base.TYPES if not interrupted.is_decided(kind)) == []


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(text: str, url: str, encoding: str = "utf-8") -> int:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode(encoding)), encoding="utf-8"))
        return interrupted.main([STACK_FILE, "--endpoint-url", url])

    return run


def test_a_state_goes_through_the_pipe(
    account: Account, tags: dict[str, str], url: str, piped: Any, capsys: Any
) -> None:
    vpc = make_vpc(account, tags)
    assert piped(json.dumps({"version": 3, "deployment": state(resource(VPC, tagsAll=tags))}), url) == 0
    printed = capsys.readouterr()
    written = json.loads(printed.out)
    assert written["version"] == 3
    assert ids(written["deployment"]) == {"one": vpc}
    assert f"taken as {vpc}" in printed.err


def test_a_second_range_is_that_of_its_vpc(account: Account, tags: dict[str, str]) -> None:
    ec2, (first, second) = account.client("ec2"), (make_vpc(account, tags) for _ in range(2))
    made = {}
    for vpc in (first, second):
        answer = ec2.associate_vpc_cidr_block(VpcId=vpc, CidrBlock="100.64.0.0/16")
        made[vpc] = answer["CidrBlockAssociation"]["AssociationId"]
    token = "aws:ec2/vpcIpv4CidrBlockAssociation:VpcIpv4CidrBlockAssociation"
    pending = resource(token, vpcId=second, cidrBlock="100.64.0.0/16")
    assert ids(interrupted.repaired(state(pending), account)[0]) == {"one": made[second]}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_state_comes_as_shells_write_it(encoding: str, url: str, piped: Any, capsys: Any) -> None:
    assert piped(f"A new version is out.\n{json.dumps({'deployment': state()})}\n", url, encoding) == 0
    assert json.loads(capsys.readouterr().out)["deployment"]["resources"] == []


@pytest.mark.parametrize("text", ["", "no state", "[]", "{}"])
def test_what_is_no_state_is_refused_and_nothing_is_written(text: str, url: str, piped: Any, capsys: Any) -> None:
    assert piped(text, url) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "pulumi stack export" in printed.err


def test_an_unclear_state_is_not_written(
    account: Account, tags: dict[str, str], url: str, piped: Any, capsys: Any
) -> None:
    for _ in range(2):
        make_vpc(account, tags)
    assert piped(json.dumps({"version": 3, "deployment": state(resource(VPC, tagsAll=tags))}), url) == 1
    assert capsys.readouterr().out == ""
