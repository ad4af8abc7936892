"""What is left after a real destroy of dev: nothing; what was planted and just that; with `retain`, what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

import settings
from rehearsal.phases import REHEARSAL_DAY, Options, Rehearsal
from rehearsal.run import staged
from rehearsal.workspace import PROJECT
from reports import leftovers
from tests.reports.aws_lines import CommandLine

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
)


def look(rehearsal: Rehearsal) -> leftovers.Leftovers:
    return leftovers.look(rehearsal.account, rehearsal.settings)


def named(found: list[leftovers.Leftover]) -> list[str]:
    return sorted(str(one.held) for one in found)


def plant(rehearsal: Rehearsal) -> list[str]:
    """A volume of a claim, the load balancer of a Service, a role that Karpenter's chart might have made."""
    ec2, elbv2, iam = (rehearsal.account.client(service) for service in ("ec2", "elbv2", "iam"))
    cluster = rehearsal.settings.cluster.name
    owned = {"Key": f"kubernetes.io/cluster/{cluster}", "Value": "owned"}
    zone = rehearsal.settings.network.zones[0]
    volume = ec2.create_volume(
        AvailabilityZone=zone, Size=8, TagSpecifications=[{"ResourceType": "volume", "Tags": [owned]}]
    )["VolumeId"]
    subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]][:2]
    balancer = elbv2.create_load_balancer(Name="k8s-hub-proxy", Subnets=subnets, Type="network", Tags=[owned])
    iam.create_role(RoleName=f"{cluster}-forgotten", AssumeRolePolicyDocument=TRUST)
    return sorted(
        [
            f"ec2 Volumes {volume}",
            f"elbv2 LoadBalancers {balancer['LoadBalancers'][0]['LoadBalancerArn']}",
            f"iam Roles {cluster}-forgotten",
        ]
    )


@pytest.mark.parametrize("retain", [False, True], ids=["clean", "retain"])
def test_after_a_destroy_just_what_was_planted_or_is_kept_is_listed(retain: bool, tmp_path: Path) -> None:
    document: Any = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    document["config"].setdefault("gpulab:storage", {})["retain"] = retain
    stack_file = tmp_path / "Pulumi.dev.yaml"
    stack_file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    assert settings.check_stack_file(stack_file, "dev", REHEARSAL_DAY).storage.retain is retain
    with staged(Options(stack_file=stack_file, stack="dev"), Console(stderr=True)) as rehearsal:
        rehearsal.up()
        while_up = look(rehearsal)
        kinds = {one.held.type for one in while_up.found}
        assert while_up.is_up
        assert {("eks", "clusters"), ("rds", "DBInstances"), ("efs", "FileSystems"), ("ec2", "Vpcs")} <= kinds
        # Everything that a rehearsal sees of a stack, the report sees too.
        seen = {str(one.held) for one in while_up.found}
        made = rehearsal.account.holdings() - rehearsal.aws_before
        assert {name for name in made - seen if not _goes_by_itself(rehearsal, name)} == set()
        rehearsal.destroy()
        after = look(rehearsal)
        assert after.not_looked_at == []
        assert named(after.of("forgotten")) == []
        kept = {name.rpartition(" ")[0] for name in named(after.of("kept"))}
        data = {"backup BackupVaultList", "efs FileSystems", "kms Aliases", "kms Keys"}
        assert kept == (data if retain else set())
        assert {one.held.type for one in after.of("scheduled")} == {("kms", "Keys")}
        planted = plant(rehearsal)
        found = look(rehearsal)
        assert named(found.of("forgotten")) == planted
        assert named(found.of("kept")) == named(after.of("kept"))
        CommandLine(rehearsal.account).carry_out(found.script)
        assert named(look(rehearsal).of("forgotten")) == []


def _goes_by_itself(rehearsal: Rehearsal, name: str) -> bool:
    """A VPC's own group and route table, volumes and interfaces of instances, a database's daily snapshots."""
    ec2 = rehearsal.account.client("ec2")
    service, kind, id = name.split(" ", 2)
    match service, kind:
        case "ec2", "SecurityGroups":
            return ec2.describe_security_groups(GroupIds=[id])["SecurityGroups"][0]["GroupName"] == "default"
        case "ec2", "RouteTables":
            table = ec2.describe_route_tables(RouteTableIds=[id])["RouteTables"][0]
            return any(one.get("Main") for one in table["Associations"])
        case "ec2", "Volumes":
            return bool(ec2.describe_volumes(VolumeIds=[id])["Volumes"][0]["Attachments"])
        case "ec2", "NetworkInterfaces":
            return "Attachment" in ec2.describe_network_interfaces(NetworkInterfaceIds=[id])["NetworkInterfaces"][0]
        case "rds", "DBSnapshots":
            return id.startswith("rds:")
    return False
