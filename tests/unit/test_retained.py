"""What a destroy must keep, separated from leftovers."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from rehearsal.checks.leftovers import Left
from rehearsal.checks.retained import Retained, all_there, kept_and_left, retained
from rehearsal.report import Check, Report

FILE_SYSTEM = Retained("aws:efs/fileSystem:FileSystem", "homes", "fs-1")
POLICY = Retained("aws:efs/fileSystemPolicy:FileSystemPolicy", "homes", "fs-1")


def resource(name: str, **given: Any) -> dict[str, Any]:
    type_ = "aws:efs/fileSystem:FileSystem"
    return {"type": type_, "urn": f"urn:pulumi:dev::gpulab::{type_}::{name}", "id": "fs-1", "custom": True, **given}


def account(policy: Any) -> Any:
    efs = mock.Mock()
    efs.describe_file_system_policy.side_effect = [policy]
    return mock.Mock(client=lambda service: efs)


def test_the_program_says_what_is_kept() -> None:
    component = resource("storage", custom=False, retainOnDelete=True)
    assert retained([resource("scratch"), component, resource("homes", retainOnDelete=True)]) == [FILE_SYSTEM]


def test_what_is_kept_is_not_left_over_and_nothing_else_is_excused() -> None:
    found = {"efs FileSystems fs-1", "efs FileSystems fs-12", "kms Keys fs-1-key", "ec2 Volumes vol-1"}
    kept, left = kept_and_left(found, [FILE_SYSTEM, POLICY])
    assert kept == ["efs FileSystems fs-1"]
    assert left == ["ec2 Volumes vol-1", "efs FileSystems fs-12", "kms Keys fs-1-key"]
    assert kept_and_left(found, []) == ([], sorted(found))


def test_kept_data_that_is_gone_is_a_finding() -> None:
    policy = {"Policy": "{}"}
    assert all_there(account(policy), ["efs FileSystems fs-1"], [FILE_SYSTEM, POLICY]).ok
    lost = all_there(account(policy), [], [FILE_SYSTEM])
    assert not lost.ok
    assert "fs-1" in lost.detail


def test_a_file_system_without_its_policy_is_open_and_so_a_finding() -> None:
    gone = ClientError({"Error": {"Code": "PolicyNotFound"}}, "DescribeFileSystemPolicy")
    found = all_there(account(gone), ["efs FileSystems fs-1"], [FILE_SYSTEM, POLICY])
    assert not found.ok
    assert "fileSystemPolicy" in found.detail


@pytest.mark.parametrize("ok", [True, False])
def test_a_report_is_good_with_what_is_kept_if_that_is_there(ok: bool) -> None:
    report = Report(stack="prod", resources_created=1, left=Left(), retained=["efs FileSystems fs-1"])
    report.checks.append(Check("retained resources are kept", ok, "fs-1"))
    assert report.ok is ok
    assert report.as_json()["retained"] == ["efs FileSystems fs-1"]
