"""The commands that remove what is left of a stack, and the order in which they work."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from reports import leftovers
from reports.services import LISTINGS, TYPES, in_order_of_removal
from tests.reports.account_lab import (
    CLUSTER,
    DEV,
    OTHERS,
    OURS,
    Planting,
    bucket_of_backups,
    listed,
    named,
    network,
    the_rest,
)
from tests.reports.aws_lines import CommandLine

# Kinds that `network` and `the_rest` do not make; other tests make some of them.
NOT_PLANTED = {
    "backup BackupPlansList",
    "ec2 FastSnapshotRestores",
    "ec2 FlowLogs",
    "elb LoadBalancerDescriptions",
    "rds DBSnapshots",
    "route53 HostedZones",
    "route53 ResourceRecordSets",
    "secretsmanager SecretList",
}


def test_the_lines_remove_everything_in_their_order_and_nothing_of_others(account: Planting) -> None:
    kept = f"ec2 Volumes {account.volume(OTHERS)}"
    before = {str(one) for listing in LISTINGS for one in listing.held(account.account)}
    network(account)
    the_rest(account)
    report = account.look(DEV)
    assert report.not_looked_at == []
    found = {f"{one.held.service} {one.held.kind}" for one in report.of("forgotten")}
    assert {str(listing) for listing in LISTINGS} - found == NOT_PLANTED
    CommandLine(account.account).carry_out(report.script)
    after = account.look(DEV)
    assert named(after.of("forgotten")) == []
    assert [one.held.type for one in after.of("scheduled")] == [("kms", "Keys")]
    left = {str(one) for listing in LISTINGS for one in listing.held(account.account) if not one.is_gone}
    assert kept in left
    assert before <= left


@pytest.mark.parametrize(("there_for", "status", "asked"), [(0, 0, 1), (3, 0, 4), (1000, 1, 40)])
def test_a_line_that_waits_does_so_in_any_shell_and_not_for_ever(
    there_for: int, status: int, asked: int, account: Planting, tmp_path: Path
) -> None:
    """With an `aws` that lists a mount target so many times, and a `sleep` that does not."""
    subnet = account.ec2.create_subnet(
        VpcId=account.vpc("10.40.0.0/16", OURS), CidrBlock="10.40.0.0/24", AvailabilityZone="us-east-1a"
    )["Subnet"]["SubnetId"]
    file_system = account.efs.create_file_system(CreationToken="gpulab-dev-storage", Tags=listed(OURS))["FileSystemId"]
    account.efs.create_mount_target(FileSystemId=file_system, SubnetId=subnet)
    (waiting,) = [line for line in account.look(DEV).script if "describe-mount-targets" in line]
    calls = tmp_path / "calls"
    aws = f'echo "$@" >> {calls}; if [ $(wc -l < {calls}) -gt {there_for} ]; then echo 0; else echo 1; fi'
    for name, body in (("aws", aws), ("sleep", "exit 0")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(["/bin/sh", "-c", waiting], env=environment, check=False)
    assert done.returncode == status
    said = calls.read_text(encoding="utf-8").splitlines()
    assert len(said) == asked
    assert said[0].startswith("efs describe-mount-targets --file-system-id fs-")
    assert said[0].endswith(" --query length(MountTargets) --output text --region us-east-1")


@pytest.mark.parametrize(("rounds", "fails", "status"), [(0, False, 0), (2, False, 0), (2, True, 1)])
def test_a_line_that_empties_a_bucket_does_so_in_any_shell_and_ends_where_it_may_not(
    rounds: int, fails: bool, status: int, account: Planting, tmp_path: Path
) -> None:
    """With an `aws` that lists an object so many times, and may or may not delete it."""
    account.s3.put_object(Bucket=bucket_of_backups(account), Key="one")
    (emptying,) = [line for line in account.look(DEV).script if "list-object-versions" in line]
    calls, listed_object = tmp_path / "calls", '[{"Key": "a b", "VersionId": "1"}]'
    counted = f"$(grep -c list-object-versions {calls})"
    answer = f"if [ {counted} -gt {rounds} ]; then echo '[]'; else echo '{listed_object}'; fi"
    body = f'echo "$@" >> {calls}; case "$2" in list-*) {answer} ;; *) exit {int(fails)} ;; esac'
    (tmp_path / "aws").write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    (tmp_path / "aws").chmod(0o755)
    environment = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    assert subprocess.run(["/bin/sh", "-c", emptying], env=environment, check=False).returncode == status
    deleted = [line for line in calls.read_text(encoding="utf-8").splitlines() if "delete-objects" in line]
    assert len(deleted) == (1 if fails else rounds)
    for line in deleted:
        document = line.partition("--delete ")[2].partition(" --region")[0]
        assert json.loads(document) == {"Objects": json.loads(listed_object), "Quiet": True}


def test_a_snapshot_of_aws_backup_goes_with_its_vault_and_ec2_refuses_to_delete_it(account: Planting) -> None:
    volume = account.volume(CLUSTER)
    account.backup.create_backup_vault(BackupVaultName="gpulab-dev-storage", BackupVaultTags=OURS)
    role = account.role("gpulab-dev-backup", OURS)
    made = account.backup.start_backup_job(
        BackupVaultName="gpulab-dev-storage",
        ResourceArn=f"arn:aws:ec2:us-east-1:123456789012:volume/{volume}",
        IamRoleArn=account.iam.get_role(RoleName=role)["Role"]["Arn"],
    )
    snapshot = made["RecoveryPointArn"].rpartition("/")[2]
    with pytest.raises(ClientError, match=r"InvalidParameterValue.*managed by the AWS Backup service"):
        account.ec2.delete_snapshot(SnapshotId=snapshot)
    report = account.look(DEV)
    assert not [one for one in report.found if one.held.kind == "Snapshots"]
    CommandLine(account.account).carry_out(report.script)
    assert account.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"] == []


def test_a_forgotten_database_leaves_no_snapshot_that_nobody_asks_for(account: Planting) -> None:
    account.database("gpulab-dev-keycloak", OURS)
    CommandLine(account.account).carry_out(account.look(DEV).script)
    assert account.look(DEV).found == []


def test_every_kind_can_be_removed_and_is_after_what_uses_it() -> None:
    kinds = {str(type_.listing): type_ for type_ in TYPES if type_.listing}
    assert len(kinds) == len(LISTINGS)
    assert [kind for kind, type_ in kinds.items() if type_.remove is None] == []
    order = in_order_of_removal()
    assert order[-1] == "kms Keys"
    for kind, type_ in kinds.items():
        assert all(order.index(before) < order.index(kind) for before in type_.after), kind


def test_the_actions_are_those_of_aws_and_only_read() -> None:
    clients = {"elasticfilesystem": ["efs"], "elasticloadbalancing": ["elb", "elbv2"]}
    for action in leftovers.actions():
        prefix, _, operation = action.partition(":")
        assert operation.startswith(("List", "Describe", "Get"))
        if action != "s3:ListAllMyBuckets":  # that of ListBuckets
            models = [boto3.client(one, "us-east-1").meta.service_model for one in clients.get(prefix, [prefix])]
            assert any(operation in model.operation_names for model in models), action
