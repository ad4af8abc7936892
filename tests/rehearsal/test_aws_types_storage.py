"""EFS and AWS Backup in the stand-in: a read returns what was made, and it refuses what AWS refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aws_support import SimulatedAws, simulated_aws

from rehearsal.providers.protocol.model import Refused

FILE_SYSTEM = "aws:efs/fileSystem:FileSystem"
MOUNT_TARGET = "aws:efs/mountTarget:MountTarget"
ACCESS_POINT = "aws:efs/accessPoint:AccessPoint"
POLICY = "aws:efs/fileSystemPolicy:FileSystemPolicy"
BACKUP_POLICY = "aws:efs/backupPolicy:BackupPolicy"
VAULT = "aws:backup/vault:Vault"
PLAN = "aws:backup/plan:Plan"
SELECTION = "aws:backup/selection:Selection"


@pytest.fixture
def aws() -> Iterator[SimulatedAws]:
    with simulated_aws() as made:
        yield made


def make_network(aws: SimulatedAws, *cidrs: str) -> list[Any]:
    vpc = aws.create("aws:ec2/vpc:Vpc", {"cidrBlock": "10.0.0.0/16"})
    return [
        aws.create(
            "aws:ec2/subnet:Subnet",
            {"vpcId": vpc.id, "cidrBlock": cidr, "availabilityZone": f"us-east-1{'ab'[number % 2]}"},
            name=f"subnet-{number}",
        )
        for number, cidr in enumerate(cidrs)
    ]


def rule(**lifecycle: int) -> dict[str, Any]:
    return {
        "ruleName": "daily",
        "targetVaultName": "vault",
        "schedule": "cron(0 3 * * ? *)",
        **({"lifecycle": lifecycle} if lifecycle else {}),
    }


def make_backup(aws: SimulatedAws, force: bool = False) -> tuple[Any, Any, Any, Any]:
    file_system = aws.create(FILE_SYSTEM, {})
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "backup.amazonaws.com"}}
        ],
    }
    role = aws.create("aws:iam/role:Role", {"assumeRolePolicy": json.dumps(trust)})
    vault = aws.create(VAULT, {"name": "vault", "forceDestroy": force})
    plan = aws.create(PLAN, {"name": "plan", "rules": [rule(deleteAfter=120, coldStorageAfter=30)]})
    selection = aws.create(
        SELECTION,
        {"planId": plan.id, "iamRoleArn": role.outputs["arn"], "resources": [file_system.outputs["arn"]]},
    )
    return file_system, vault, plan, selection


def test_a_file_system_reads_back_as_it_was_made(aws: SimulatedAws) -> None:
    key = aws.create("aws:kms/key:Key", {})
    wanted = {
        "encrypted": True,
        "kmsKeyId": key.outputs["arn"],
        "throughputMode": "provisioned",
        "provisionedThroughputInMibps": 64,
        "lifecyclePolicies": [
            {"transitionToIa": "AFTER_30_DAYS"},
            {"transitionToPrimaryStorageClass": "AFTER_1_ACCESS"},
        ],
        "tags": {"Name": "homes"},
    }
    file_system = aws.create(FILE_SYSTEM, wanted)
    assert aws.drift(file_system) == {}
    aws.update(file_system, {**wanted, "throughputMode": "elastic", "provisionedThroughputInMibps": None})
    assert aws.drift(file_system) == {}
    assert aws.replaced_by(file_system, {**wanted, "encrypted": False, "kmsKeyId": None}) >= {"encrypted"}

    efs = aws.provider.cloud().client("efs")
    efs.update_file_system(FileSystemId=file_system.id, ThroughputMode="bursting")
    assert aws.drift(file_system)["throughputMode"] == "bursting"


@pytest.mark.parametrize(
    ("inputs", "property"),
    [
        ({"throughputMode": "quick"}, "throughputMode"),
        ({"throughputMode": "provisioned"}, "provisionedThroughputInMibps"),
        ({"throughputMode": "elastic", "provisionedThroughputInMibps": 8}, "provisionedThroughputInMibps"),
        ({"throughputMode": "provisioned", "provisionedThroughputInMibps": 5000}, "provisionedThroughputInMibps"),
        ({"kmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/none"}, "encrypted"),
        ({"lifecyclePolicies": [{"transitionToIa": "AFTER_10_DAYS"}]}, "lifecyclePolicies[0].transitionToIa"),
        (
            {
                "lifecyclePolicies": [
                    {"transitionToIa": "AFTER_7_DAYS", "transitionToPrimaryStorageClass": "AFTER_1_ACCESS"}
                ]
            },
            "lifecyclePolicies[0]",
        ),
        ({"quota": 5}, "quota"),
    ],
)
def test_a_preview_refuses_a_file_system_that_efs_would(aws: SimulatedAws, inputs: dict, property: str) -> None:
    assert property in aws.refusals(FILE_SYSTEM, inputs)


def test_a_file_system_needs_a_key_that_is_there(aws: SimulatedAws) -> None:
    with pytest.raises(Refused, match="does not exist"):
        aws.create(FILE_SYSTEM, {"encrypted": True, "kmsKeyId": "arn:aws:kms:us-east-1:123456789012:key/none"})


def test_a_zone_has_one_mount_target_and_a_file_system_outlives_them_all(aws: SimulatedAws) -> None:
    one, other, same_zone = make_network(aws, "10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24")
    file_system = aws.create(FILE_SYSTEM, {})
    targets = [
        aws.create(MOUNT_TARGET, {"fileSystemId": file_system.id, "subnetId": subnet.id}, name=subnet.name)
        for subnet in (one, other)
    ]
    for target in targets:
        assert aws.drift(target) == {}
    assert aws.drift(file_system) == {}
    with pytest.raises(Refused, match="MountTargetConflict"):
        aws.create(MOUNT_TARGET, {"fileSystemId": file_system.id, "subnetId": same_zone.id}, name="third")
    with pytest.raises(Refused, match="FileSystemInUse"):
        aws.delete(file_system)
    with pytest.raises((Refused, TimeoutError)):
        aws.delete(one)
    for target in targets:
        aws.delete(target)
    aws.delete(one)
    aws.delete(file_system)
    assert aws.read(file_system) is None


def test_a_mount_target_needs_its_groups_and_changes_them_in_place(aws: SimulatedAws) -> None:
    (subnet,) = make_network(aws, "10.0.0.0/24")
    file_system = aws.create(FILE_SYSTEM, {})
    given = {"fileSystemId": file_system.id, "subnetId": subnet.id}
    with pytest.raises(Refused, match="SecurityGroup"):
        aws.create(MOUNT_TARGET, {**given, "securityGroups": ["sg-0123456789abcdef0"]}, name="no-group")
    target = aws.create(MOUNT_TARGET, given)
    vpc = subnet.inputs["vpcId"]
    group = aws.create("aws:ec2/securityGroup:SecurityGroup", {"vpcId": vpc})
    aws.update(target, {**given, "securityGroups": [group.id]})
    assert aws.drift(target) == {}


def test_an_access_point_is_a_directory_and_a_user(aws: SimulatedAws) -> None:
    file_system = aws.create(FILE_SYSTEM, {})
    given = {
        "fileSystemId": file_system.id,
        "posixUser": {"uid": 1000, "gid": 100},
        "rootDirectory": {
            "path": "/teams/a",
            "creationInfo": {"ownerUid": 1000, "ownerGid": 100, "permissions": "2775"},
        },
    }
    point = aws.create(ACCESS_POINT, given)
    assert aws.drift(point) == {}
    assert aws.replaced_by(point, {**given, "posixUser": {"uid": 0, "gid": 0}})
    with pytest.raises(Refused, match="does not exist"):
        aws.create(ACCESS_POINT, {"fileSystemId": "fs-0123456789abcdef0"}, name="astray")
    info = {"ownerUid": 1000, "ownerGid": 100, "permissions": "0999"}
    refused = aws.refusals(ACCESS_POINT, {**given, "rootDirectory": {"path": "teams", "creationInfo": info}})
    assert refused.keys() == {"rootDirectory.path", "rootDirectory.creationInfo.permissions"}


def test_a_file_systems_policy_is_about_that_file_system(aws: SimulatedAws) -> None:
    file_system = aws.create(FILE_SYSTEM, {})
    statement = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "elasticfilesystem:ClientMount"}

    def policy(**more: Any) -> str:
        return json.dumps({"Version": "2012-10-17", "Statement": [{**statement, **more}]})

    made = aws.create(POLICY, {"fileSystemId": file_system.id, "policy": policy(Resource=file_system.outputs["arn"])})
    assert aws.drift(made) == {}
    with pytest.raises(Refused, match="is for arn:aws:s3"):
        aws.create(POLICY, {"fileSystemId": file_system.id, "policy": policy(Resource="arn:aws:s3:::bucket")}, name="b")
    unaddressed = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*"}]})
    assert "Principal" in aws.refusals(POLICY, {"fileSystemId": file_system.id, "policy": unaddressed})["policy"]
    aws.delete(made)
    assert aws.read(made) is None


def test_efs_own_backups_are_on_or_off(aws: SimulatedAws) -> None:
    file_system = aws.create(FILE_SYSTEM, {})
    made = aws.create(BACKUP_POLICY, {"fileSystemId": file_system.id, "backupPolicy": {"status": "DISABLED"}})
    assert aws.drift(made) == {}
    aws.provider.cloud().client("efs").put_backup_policy(
        FileSystemId=file_system.id, BackupPolicy={"Status": "ENABLED"}
    )
    assert aws.drift(made)["backupPolicy"] == {"status": "ENABLED"}
    assert aws.refusals(BACKUP_POLICY, {"fileSystemId": "fs-1", "backupPolicy": {"status": "ON"}})


def test_backups_read_back_as_they_were_made(aws: SimulatedAws) -> None:
    _, vault, plan, selection = make_backup(aws)
    for made in (vault, plan, selection):
        assert aws.drift(made) == {}
    aws.update(plan, {"name": "plan", "rules": [rule(deleteAfter=7)]})
    assert aws.drift(plan) == {}
    assert aws.replaced_by(selection, {**selection.inputs, "resources": ["*"]})


def test_a_selection_by_tags_reads_back_as_it_was_made(aws: SimulatedAws) -> None:
    *_, plan, selection = make_backup(aws)
    conditions = [
        {
            "stringEquals": [{"key": "aws:ResourceTag/team", "value": "ml"}],
            "stringLikes": [{"key": "aws:ResourceTag/home", "value": "home-*"}],
        }
    ]
    volumes = {"resources": ["arn:aws:ec2:*:*:volume/*"], "conditions": conditions}
    by_tags = aws.create(
        SELECTION, {"planId": plan.id, "iamRoleArn": selection.inputs["iamRoleArn"], **volumes}, name="by-tags"
    )
    assert aws.drift(by_tags) == {}
    backup = aws.provider.cloud().client("backup")
    found = backup.get_backup_selection(BackupPlanId=plan.id, SelectionId=by_tags.id)["BackupSelection"]
    assert found["Conditions"] == {
        "StringEquals": [{"ConditionKey": "aws:ResourceTag/team", "ConditionValue": "ml"}],
        "StringLike": [{"ConditionKey": "aws:ResourceTag/home", "ConditionValue": "home-*"}],
    }


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"lifecycle": {"deleteAfter": 100, "coldStorageAfter": 30}}, "90 days apart"),
        ({"lifecycle": {"deleteAfter": 0}}, "1 to 36500"),
        ({"schedule": "0 3 * * *"}, "cron"),
        ({"startWindow": 30}, "startWindow"),
    ],
)
def test_a_preview_refuses_a_rule_that_aws_backup_would(aws: SimulatedAws, changed: dict, says: str) -> None:
    assert says in str(aws.refusals(PLAN, {"name": "plan", "rules": [{**rule(), **changed}]}))


def test_a_plan_goes_after_its_selection_and_needs_its_vault(aws: SimulatedAws) -> None:
    _, _, plan, selection = make_backup(aws)
    with pytest.raises(Refused, match="selections must be deleted"):
        aws.delete(plan)
    aws.delete(selection)
    aws.delete(plan)
    assert aws.read(plan) is None
    with pytest.raises(Refused, match="does not exist"):
        aws.create(PLAN, {"name": "other", "rules": [{**rule(), "targetVaultName": "nowhere"}]}, name="other")


@pytest.mark.parametrize("force", [False, True])
def test_a_vault_with_backups_goes_by_force_alone(aws: SimulatedAws, force: bool) -> None:
    file_system, vault, _, selection = make_backup(aws, force=force)
    backup = aws.provider.cloud().client("backup")
    backup.start_backup_job(
        BackupVaultName="vault", ResourceArn=file_system.outputs["arn"], IamRoleArn=selection.inputs["iamRoleArn"]
    )
    assert aws.drift(vault) == {}
    if force:
        aws.delete(vault)
        assert aws.read(vault) is None
    else:
        with pytest.raises(Refused, match="contains recovery points"):
            aws.delete(vault)
