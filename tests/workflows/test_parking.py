"""A lab is parked and started again: on a simulated account, with a cluster that answers like Karpenter's."""

from __future__ import annotations

import copy
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from step_bench import Bench

import settings
from ci import destroy, drift, park, parking, sleepers, unpark
from ci.actions import StepFailed
from ci.parking import OPEN_LIMITS, Parking

REGION = "us-east-1"
NAMED = {"clusterName": "gpulab-dev", "nodegroupName": "gpulab-dev-system-1a2b3c4"}
TAGS = {"Project": "gpulab", "Stack": "dev", "Name": "gpulab-dev-nat"}


class Karpenter:
    """Pools with limits, two nodes that end once they can't be replaced, and notebooks."""

    def __init__(self) -> None:
        self.pools: dict[str, dict[str, Any]] = {
            "cpu": {"metadata": {"name": "cpu"}, "spec": {"limits": {"cpu": "64", "memory": "512Gi"}}},
            "gpu": {
                "metadata": {"name": "gpu", "annotations": {"a": "b"}},
                "spec": {"limits": {"nvidia.com/gpu": "8"}},
            },
        }
        self.claims = ["cpu-1", "gpu-1"]
        self.notebooks = 3
        self.stuck = False

    def list(self, plural: str) -> list[dict[str, Any]]:
        if plural == "nodepools":
            return copy.deepcopy(list(self.pools.values()))
        return [{"metadata": {"name": name}} for name in self.claims]

    def patch(self, plural: str, name: str, body: dict[str, Any]) -> None:
        assert plural == "nodepools"
        self.pools[name] = merged(self.pools[name], body)

    def delete(self, plural: str, name: str) -> None:
        closed = all(pool["spec"]["limits"]["cpu"] == "0" for pool in self.pools.values())
        assert (plural, closed, self.notebooks) == ("nodeclaims", True, 0)
        if not self.stuck:
            self.claims.remove(name)

    def end_pods(self, namespace: str, selector: str) -> int:
        assert namespace.startswith("team-")
        ended, self.notebooks = self.notebooks, 0
        return ended


def merged(value: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """RFC 7386."""
    result = dict(value)
    for key, one in patch.items():
        if one is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key) or {}, one) if isinstance(one, dict) else one
    return result


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    """An account with dev's cluster, database and NAT instance, and with what is not dev's."""
    for key in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(key, raising=False)
    with mock_aws():
        session = boto3.Session("test", "test", region_name=REGION)
        eks, rds, ec2 = session.client("eks"), session.client("rds"), session.client("ec2")
        services = ["eks.amazonaws.com", "ec2.amazonaws.com"]
        allow = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": services}}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        role = session.client("iam").create_role(RoleName="nodes", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        subnets = [one["SubnetId"] for one in ec2.describe_subnets()["Subnets"]][:2]
        eks.create_cluster(name="gpulab-dev", roleArn=role, resourcesVpcConfig={"subnetIds": subnets})
        size = {"minSize": 2, "desiredSize": 2, "maxSize": 2}
        eks.create_nodegroup(**NAMED, nodeRole=role, subnets=subnets, scalingConfig=size)
        for name in ("gpulab-dev-keycloak", "gpulab-dev2-keycloak"):
            rds.create_db_instance(DBInstanceIdentifier=name, DBInstanceClass="db.t4g.small", Engine="postgres")
        for tags in (TAGS, {**TAGS, "Stack": "other"}):
            given = [{"ResourceType": "instance", "Tags": [{"Key": key, "Value": one} for key, one in tags.items()]}]
            ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1, TagSpecifications=given)
        yield session


@pytest.fixture
def karpenter() -> Karpenter:
    return Karpenter()


@pytest.fixture
def lab(account: boto3.Session, karpenter: Karpenter, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Parking:
    """The parking of dev, which the steps get as well."""
    stack = settings.on_eks(settings.check_stack_file(Path("Pulumi.dev.yaml"), "dev", datetime.date.min))
    made = Parking(stack, account, lambda: karpenter, say=lambda text: None, sleep=lambda seconds: None)
    monkeypatch.setattr(parking, "parking", lambda name: made)
    monkeypatch.setattr(parking, "is_parked", lambda name: made.is_parked())
    return made


def states(session: boto3.Session) -> dict[str, Any]:
    """How large the system node group is, and what runs."""
    of_stacks = [{"Name": "tag-key", "Values": ["Stack"]}]
    ec2 = session.client("ec2").describe_instances(Filters=of_stacks)["Reservations"]
    return {
        "nodes": session.client("eks").describe_nodegroup(**NAMED)["nodegroup"]["scalingConfig"]["desiredSize"],
        "databases": {
            one["DBInstanceIdentifier"]: one["DBInstanceStatus"]
            for one in session.client("rds").describe_db_instances()["DBInstances"]
        },
        "machines": {
            next(tag["Value"] for tag in one["Tags"] if tag["Key"] == "Stack"): one["State"]["Name"]
            for group in ec2
            for one in group["Instances"]
        },
    }


AWAKE = {
    "nodes": 2,
    "databases": {"gpulab-dev-keycloak": "available", "gpulab-dev2-keycloak": "available"},
    "machines": {"dev": "running", "other": "running"},
}
ASLEEP = {
    "nodes": 0,
    "databases": {"gpulab-dev-keycloak": "stopped", "gpulab-dev2-keycloak": "available"},
    "machines": {"dev": "stopped", "other": "running"},
}


def test_a_lab_sleeps_and_wakes_as_it_was(lab: Parking, account: boto3.Session, karpenter: Karpenter) -> None:
    before = copy.deepcopy(karpenter.pools)
    assert states(account) == AWAKE
    lab.park()
    assert states(account) == ASLEEP
    assert (karpenter.claims, karpenter.notebooks) == ([], 0)
    assert lab.is_parked()
    lab.park()
    lab.wake()
    assert states(account) == AWAKE
    assert karpenter.pools == {**before, "cpu": {**before["cpu"], "metadata": {"name": "cpu", "annotations": {}}}}
    lab.wake()
    assert not lab.is_parked()


def test_nodes_that_stay_keep_the_system_nodes(lab: Parking, account: boto3.Session, karpenter: Karpenter) -> None:
    karpenter.stuck = True
    with pytest.raises(StepFailed, match=r"still exist after 20 minutes: cpu-1, gpu-1.*ci\.unpark"):
        lab.park()
    # Without Karpenter nobody would ever take the instances away.
    assert states(account) == AWAKE
    lab.wake()
    assert OPEN_LIMITS not in karpenter.pools["gpu"]["metadata"]["annotations"]
    assert karpenter.pools["gpu"]["spec"]["limits"] == {"nvidia.com/gpu": "8"}


def test_a_database_that_rds_started_by_itself_is_stopped_again(lab: Parking, account: boto3.Session) -> None:
    lab.park()
    account.client("rds").start_db_instance(DBInstanceIdentifier="gpulab-dev-keycloak")
    lab.park()
    assert states(account) == ASLEEP


def test_production_is_never_parked(account: boto3.Session, karpenter: Karpenter, bench: Bench) -> None:
    stack = settings.on_eks(settings.check_stack_file(Path("Pulumi.prod.yaml"), "prod", datetime.date.min))
    with pytest.raises(StepFailed, match="prod is not a lab"):
        Parking(stack, account, lambda: karpenter).park()


def test_what_sleeps_is_not_compared(lab: Parking, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "dev")
    bench.has_state("dev")
    lab.park()
    assert drift.main() == 0
    assert "dev: parked" in bench.summary
    assert [command for command in bench.commands("pulumi") if not command.startswith("stack export")] == []


def test_a_destroy_wakes_what_sleeps(lab: Parking, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "dev")
    monkeypatch.setenv("CONFIRM", "dev")
    bench.has_state("dev")
    bench.answer("pulumi", "destroy", code=1)
    monkeypatch.setattr(destroy, "leftovers", lambda stack: destroy.subprocess.CompletedProcess([], 0, "", ""))
    lab.park()
    assert destroy.main() == 1
    assert not lab.is_parked()


def test_labs_that_say_so_sleep_at_night(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STACK", raising=False)
    path = Path("Pulumi.dev.yaml")
    assert sleepers.main() == 0
    assert json.loads(bench.outputs["stacks"]) == []
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("kind: lab", "kind: lab\n    parkAtNight: true"), encoding="utf-8")
    assert sleepers.main() == 0
    assert json.loads(bench.outputs["stacks"]) == ["dev"]
    monkeypatch.setenv("STACK", "prod")
    assert sleepers.main() == 0
    assert json.loads(bench.outputs["stacks"]) == ["prod"]


@pytest.mark.parametrize("step", [park, unpark])
def test_by_hand_the_steps_say_what_they_do_and_what_they_need(
    step: Any, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("STACK", raising=False)
    with pytest.raises(SystemExit) as end:
        step.main(["--help"])
    assert end.value.code == 0
    with pytest.raises(SystemExit) as end:
        step.main([])
    assert end.value.code == 2
    said = capsys.readouterr()
    assert "[STACK]" in said.out
    assert "name the lab, or set STACK" in said.err
