"""Breaks what a rehearsal checks, so that every finding really depends on the stack."""

from __future__ import annotations

from pathlib import Path

import pytest
from labs import lab, small_stack

from rehearsal.machine.toolchain import Toolchain
from rehearsal.phases import Options

pytestmark = pytest.mark.seconds(80)


def test_drift_a_leftover_and_a_missing_tag_are_all_seen(toolchain: Toolchain, tmp_path: Path) -> None:
    with lab(Options(stack_file=small_stack(tmp_path), stack="dev")) as rehearsal:
        rehearsal.up()
        ec2 = rehearsal.account.client("ec2")
        (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "tag:Owner", "Values": ["*"]}])["Vpcs"]
        ec2.delete_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "Owner"}])
        ec2.modify_vpc_attribute(VpcId=vpc["VpcId"], EnableDnsHostnames={"Value": False})
        (node, *_) = rehearsal.plane.request("GET", "/api/v1/nodes")["items"]
        rehearsal.plane.request("DELETE", f"/api/v1/nodes/{node['metadata']['name']}")
        rehearsal.refresh()
        assert any("Vpc" in change for change in rehearsal.report.refresh_changes)
        rehearsal.check()
        failed = {check.name for check in rehearsal.report.checks if check.ok is False}
        assert failed == {"tags on every AWS resource", "system nodes exist"}
        rehearsal.second_preview()
        assert any("Vpc" in change for change in rehearsal.report.second_preview_changes)

        volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
        rehearsal.plane.request(
            "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "forgotten"}}
        )
        rehearsal.destroy()
        rehearsal.look_for_leftovers()
        assert rehearsal.report.left
        assert rehearsal.report.left.state == []
        assert rehearsal.report.left.aws == [f"ec2 Volumes {volume}"]
        assert "Namespace forgotten" in rehearsal.report.left.kubernetes
