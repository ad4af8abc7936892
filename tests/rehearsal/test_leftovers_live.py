"""What is left after a real destroy of a lab: nothing, or only what the test added, or with `retain` what is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from rehearsal.machine.toolchain import Toolchain
from rehearsal.phases import Options, Rehearsal
from reports import leftovers
from tests.rehearsal.labs import changed, lab, small_stack
from tests.reports.aws_lines import CommandLine

pytestmark = pytest.mark.seconds(150)

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


@pytest.fixture(scope="module")
def shared(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A small lab with all that holds data; each test brings it up and down."""
    stack_file = small_stack(tmp_path_factory.mktemp("stack"), people=True)
    with lab(Options(stack_file=stack_file, stack="dev")) as rehearsal:
        yield rehearsal


@pytest.mark.parametrize("retain", [False, True], ids=["clean", "retain"])
def test_after_a_destroy_just_what_was_planted_or_is_kept_is_listed(shared: Rehearsal, retain: bool) -> None:
    rehearsal = changed(shared, "gpulab:storage", retain=retain)
    assert rehearsal.settings.storage.retain is retain
    rehearsal.up()
    while_up = look(rehearsal)
    kinds = {one.held.type for one in while_up.found}
    assert while_up.is_up
    # Of the cluster's nodes too: none is stuck on its way.
    assert (while_up.not_looked_at, while_up.stuck) == ([], [])
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
