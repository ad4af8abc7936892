"""RDS in the aws stand-in: each type lives without drift, and refuses what RDS refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from aws_support import Made, SimulatedAws, simulated_aws
from botocore.exceptions import ClientError

from rehearsal.cloud import rds, server
from rehearsal.node.databases import REWRITES
from rehearsal.providers.aws import functions
from rehearsal.providers.protocol.model import Refused

INSTANCE, SUBNETS = "aws:rds/instance:Instance", "aws:rds/subnetGroup:SubnetGroup"
PARAMETERS, SNAPSHOT = "aws:rds/parameterGroup:ParameterGroup", "aws:rds/snapshot:Snapshot"
PASSWORD = "a-password-of-the-tests"
FORCE_SSL = {"name": "rds.force_ssl", "value": "1", "applyMethod": "immediate"}


@pytest.fixture(scope="module")
def account() -> Iterator[SimulatedAws]:
    with simulated_aws() as aws:
        yield aws


@pytest.fixture
def aws(account: SimulatedAws) -> Iterator[SimulatedAws]:
    """An account that is empty again after each test."""
    yield account
    server.start_over()
    account.made.clear()


@pytest.fixture
def network(aws: SimulatedAws) -> dict[str, Any]:
    """A VPC with two subnets and a security group."""
    vpc = aws.create("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"})
    subnets = [
        aws.create("aws:ec2/subnet:Subnet", {"vpcId": vpc.id, "cidrBlock": cidr, "availabilityZone": zone}, name=zone)
        for cidr, zone in (("10.0.0.0/24", "us-east-1a"), ("10.0.1.0/24", "us-east-1b"))
    ]
    group = aws.create("aws:ec2/securityGroup:SecurityGroup", {"vpcId": vpc.id, "description": "x"})
    return {"vpc": vpc, "subnets": subnets, "group": group}


@pytest.fixture
def groups(aws: SimulatedAws, network: dict[str, Any]) -> dict[str, Made]:
    """The groups that an instance is in."""
    ids = [subnet.id for subnet in network["subnets"]]
    return {
        "subnets": aws.create(SUBNETS, {"subnetIds": ids, "tags": {"a": "b"}}),
        "parameters": aws.create(PARAMETERS, {"family": "postgres17", "parameters": [FORCE_SSL]}),
    }


def inputs(network: dict[str, Any], groups: dict[str, Made], **changes: Any) -> dict[str, Any]:
    given = {
        "identifier": "lab-keycloak",
        "engine": "postgres",
        "engineVersion": "17",
        "instanceClass": "db.t4g.small",
        "allocatedStorage": 20,
        "maxAllocatedStorage": 100,
        "storageType": "gp3",
        "storageEncrypted": True,
        "dbName": "keycloak",
        "username": "keycloak",
        "password": PASSWORD,
        "port": 5432,
        "multiAz": False,
        "backupRetentionPeriod": 7,
        "backupWindow": "03:00-04:00",
        "maintenanceWindow": "sun:04:30-sun:05:30",
        "dbSubnetGroupName": groups["subnets"].outputs["name"],
        "parameterGroupName": groups["parameters"].outputs["name"],
        "vpcSecurityGroupIds": [network["group"].id],
        "deletionProtection": False,
        "skipFinalSnapshot": True,
        **changes,
    }
    return {name: value for name, value in given.items() if value is not None}


def test_an_instance_lives_without_drift_from_its_creation_to_its_end(
    aws: SimulatedAws, network: dict[str, Any], groups: dict[str, Made]
) -> None:
    made = aws.create(INSTANCE, inputs(network, groups))
    assert aws.drift(made) == {}
    assert made.outputs["engineVersion"] == "17"
    assert made.outputs["engineVersionActual"].startswith("17.")
    assert made.outputs["endpoint"].endswith(":5432")
    # What runs its database in a container takes the same account as the instance.
    (known,) = rds.databases()
    assert known["identifier"] == made.outputs["identifier"]
    assert known["password"] == PASSWORD
    name, endpoint = next(iter(REWRITES)), made.outputs["address"]
    assert re.sub(name, r"\1", endpoint) == known["identifier"]

    changed = inputs(network, groups, multiAz=True, backupRetentionPeriod=14, allocatedStorage=40, tags={"x": "y"})
    aws.update(made, changed)
    assert aws.drift(made) == {}
    assert made.outputs["multiAz"] is True

    aws.delete(made)
    assert aws.drift(made) == {"gone": True}
    for group in groups.values():
        assert aws.drift(group) == {}
        aws.delete(group)
        assert aws.drift(group) == {"gone": True}


def test_a_change_behind_the_states_back_is_found(
    aws: SimulatedAws, network: dict[str, Any], groups: dict[str, Made]
) -> None:
    made = aws.create(INSTANCE, inputs(network, groups))
    rds = aws.provider.cloud().client("rds")
    rds.modify_db_instance(DBInstanceIdentifier="lab-keycloak", BackupRetentionPeriod=1, ApplyImmediately=True)
    assert aws.drift(made)["backupRetentionPeriod"] == 1
    rds.modify_db_parameter_group(
        DBParameterGroupName=groups["parameters"].id,
        Parameters=[{"ParameterName": "rds.force_ssl", "ParameterValue": "0", "ApplyMethod": "immediate"}],
    )
    assert aws.drift(groups["parameters"])["parameters"] == [{**FORCE_SSL, "value": "0"}]


REFUSED = [
    ({"password": "has a space in it"}, "password"),
    ({"password": "short"}, "password"),
    ({"password": None}, "password"),
    ({"identifier": "Lab_Keycloak"}, "identifier"),
    ({"finalSnapshotIdentifier": "ends-with-"}, "finalSnapshotIdentifier"),
    ({"maxAllocatedStorage": 21}, "maxAllocatedStorage"),
    ({"backupRetentionPeriod": 36}, "backupRetentionPeriod"),
    ({"storageType": "gp4"}, "storageType"),
    ({"instanceClass": "t4g.small"}, "instanceClass"),
    ({"engine": "mariadb"}, "engine"),
    ({"nonsense": 1}, "nonsense"),
    ({"restoreToPointInTime": {"useLatestRestorableTime": True}}, "restoreToPointInTime"),
]


def test_a_preview_refuses_what_rds_would(
    aws: SimulatedAws, network: dict[str, Any], groups: dict[str, Made], subtests: pytest.Subtests
) -> None:
    for changes, about in REFUSED:
        with subtests.test(**changes):
            assert about in aws.refusals(INSTANCE, inputs(network, groups, **changes))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("db.m7g.larg", r"Invalid DB Instance class: db.m7g.larg \(InvalidParameterValue\)"),
        ("db.m4.large", r"DBInstanceClass=db.m4.large, Engine=postgres, EngineVersion=17.*InvalidParameterCombination"),
        # Ireland has it, Northern Virginia has not.
        ("db.x2idn.16xlarge", r"DBInstanceClass=db.x2idn.16xlarge.*InvalidParameterCombination"),
    ],
)
def test_a_class_that_rds_has_not_is_refused_as_rds_does(
    aws: SimulatedAws, network: dict[str, Any], groups: dict[str, Made], name: str, message: str
) -> None:
    with pytest.raises(Refused, match=message):
        aws.create(INSTANCE, inputs(network, groups, instanceClass=name))
    made = aws.create(INSTANCE, inputs(network, groups))
    with pytest.raises(Refused, match=message):
        aws.update(made, inputs(network, groups, instanceClass=name))


def test_what_replaces_an_instance(aws: SimulatedAws, network: dict[str, Any], groups: dict[str, Made]) -> None:
    made = aws.create(INSTANCE, inputs(network, groups))
    for change in ({"username": "other"}, {"dbName": "other"}, {"storageEncrypted": False}):
        assert aws.replaced_by(made, inputs(network, groups, **change)) == {*change}
    assert aws.replaced_by(made, inputs(network, groups, password="another-password", multiAz=True)) == set()


def test_a_protected_instance_stays_and_a_last_snapshot_is_asked_for(
    aws: SimulatedAws, network: dict[str, Any], groups: dict[str, Made]
) -> None:
    made = aws.create(INSTANCE, inputs(network, groups, deletionProtection=True))
    with pytest.raises(Refused, match="deletion protection"):
        aws.delete(made)
    aws.update(made, inputs(network, groups, skipFinalSnapshot=False))
    with pytest.raises(Refused, match="finalSnapshotIdentifier is required"):
        aws.delete(made)
    with pytest.raises(ClientError, match="FinalDBSnapshotIdentifier is required"):
        aws.provider.cloud().client("rds").delete_db_instance(DBInstanceIdentifier="lab-keycloak")
    aws.update(made, inputs(network, groups, skipFinalSnapshot=False, finalSnapshotIdentifier="lab-final-1"))
    aws.delete(made)
    found = aws.provider.cloud().client("rds").describe_db_snapshots()["DBSnapshots"]
    assert [one["DBSnapshotIdentifier"] for one in found] == ["lab-final-1"]
    again = aws.create(
        INSTANCE, inputs(network, groups, skipFinalSnapshot=False, finalSnapshotIdentifier="lab-final-1")
    )
    with pytest.raises(Refused, match="DBSnapshotAlreadyExists"):
        aws.delete(again)


def test_what_an_instance_uses_cannot_go_before_it(
    aws: SimulatedAws, network: dict[str, Any], groups: dict[str, Made]
) -> None:
    made = aws.create(INSTANCE, inputs(network, groups))
    for needed in (*groups.values(), network["group"], network["subnets"][0]):
        with pytest.raises(Refused):
            aws.delete(needed)
    aws.delete(made)
    for needed in (*groups.values(), network["group"], *network["subnets"], network["vpc"]):
        aws.delete(needed)
        assert aws.drift(needed) == {"gone": True}


def test_references_that_dangle_or_do_not_fit_are_refused(
    aws: SimulatedAws, network: dict[str, Any], groups: dict[str, Made]
) -> None:
    other = aws.create("aws:ec2/vpc:Vpc", {"cidrBlock": "10.9.0.0/16"}, name="other")
    stranger = aws.create("aws:ec2/securityGroup:SecurityGroup", {"vpcId": other.id, "description": "x"}, name="other")
    old = aws.create(PARAMETERS, {"family": "postgres16"}, name="old")
    for changes, said in (
        ({"vpcSecurityGroupIds": [stranger.id]}, "different VPCs"),
        ({"dbSubnetGroupName": "nobody"}, "not found"),
        ({"parameterGroupName": "nobody"}, "not found"),
        ({"parameterGroupName": old.id}, "postgres16"),
        ({"engineVersion": "3"}, "Cannot find version 3"),
    ):
        with pytest.raises(Refused, match=said):
            aws.create(INSTANCE, inputs(network, groups, **changes))
    with pytest.raises(Refused, match="Availability Zone"):
        aws.create(SUBNETS, {"subnetIds": [network["subnets"][0].id]}, name="narrow")


def test_a_snapshot_lives_without_drift(aws: SimulatedAws, network: dict[str, Any], groups: dict[str, Made]) -> None:
    aws.create(INSTANCE, inputs(network, groups))
    given = {"dbInstanceIdentifier": "lab-keycloak", "dbSnapshotIdentifier": "lab-before-1", "tags": {"a": "b"}}
    made = aws.create(SNAPSHOT, given)
    assert aws.drift(made) == {}
    assert made.outputs["encrypted"] is True
    assert aws.replaced_by(made, {**given, "dbSnapshotIdentifier": "lab-before-2"}) == {"dbSnapshotIdentifier"}
    aws.delete(made)
    assert aws.drift(made) == {"gone": True}
    with pytest.raises(Refused, match="DBInstanceNotFound"):
        aws.create(SNAPSHOT, {**given, "dbInstanceIdentifier": "nobody"})


def test_parameters_come_and_go(aws: SimulatedAws) -> None:
    made = aws.create(PARAMETERS, {"family": "postgres17", "parameters": [FORCE_SSL]})
    other = {"name": "log_statement", "value": "ddl", "applyMethod": "immediate"}
    aws.update(made, {"family": "postgres17", "parameters": [other], "tags": {"x": "y"}})
    assert aws.drift(made) == {}
    assert made.outputs["parameters"] == [other]


def test_a_secrets_value_is_its_current_version(aws: SimulatedAws) -> None:
    secret = aws.provider.cloud().client("secretsmanager").create_secret(Name="gpulab/mail", SecretString="first")
    token = "aws:secretsmanager/getSecretVersion:getSecretVersion"
    assert functions.call(aws.provider, token, {"secretId": secret["ARN"]})["secretString"] == "first"
    value = json.dumps({"password": "second"})
    aws.provider.cloud().client("secretsmanager").put_secret_value(SecretId="gpulab/mail", SecretString=value)
    assert functions.call(aws.provider, token, {"secretId": secret["ARN"]})["secretString"] == value
    with pytest.raises(Refused, match="ResourceNotFound"):
        functions.call(aws.provider, token, {"secretId": f"{secret['ARN'][:-12]}nobody-AbCdEf"})
