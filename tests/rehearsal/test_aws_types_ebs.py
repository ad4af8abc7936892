"""EBS in the simulated AWS, and its answers about quotas and instance type offerings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from aws_support import SimulatedAws, simulated_aws

from rehearsal.providers.protocol.model import Refused

FAST_RESTORE = "aws:ebs/fastSnapshotRestore:FastSnapshotRestore"
QUOTA = "aws:servicequotas/getServiceQuota:getServiceQuota"
OFFERINGS = "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings"
INPUTS = {"snapshotId": "snap-0123456789abcdef0", "availabilityZone": "us-east-1a"}


@pytest.fixture
def aws() -> Iterator[SimulatedAws]:
    with simulated_aws() as server:
        yield server


def test_fast_restore_comes_and_goes(aws: SimulatedAws) -> None:
    made = aws.create(FAST_RESTORE, INPUTS)
    assert made.outputs["state"] == "enabled"
    assert aws.drift(made) == {}
    assert len(aws.ec2.describe_fast_snapshot_restores()["FastSnapshotRestores"]) == 1
    aws.delete(made)
    assert aws.read(made) is None
    aws.delete(made)


def test_fast_restore_that_somebody_ended_is_gone(aws: SimulatedAws) -> None:
    made = aws.create(FAST_RESTORE, INPUTS)
    aws.ec2.disable_fast_snapshot_restores(
        AvailabilityZones=[INPUTS["availabilityZone"]], SourceSnapshotIds=[INPUTS["snapshotId"]]
    )
    assert aws.drift(made) == {"gone": True}


def test_fast_restore_of_another_snapshot_is_another_one(aws: SimulatedAws) -> None:
    made = aws.create(FAST_RESTORE, INPUTS)
    assert aws.replaced_by(made, {**INPUTS, "availabilityZone": "us-east-1b"}) == {"availabilityZone"}


@pytest.mark.parametrize("changed", [{"snapshotId": "images"}, {"availabilityZone": "eu-west-1a"}])
def test_fast_restore_of_what_there_is_not(aws: SimulatedAws, changed: dict[str, Any]) -> None:
    with pytest.raises(Refused, match="Invalid"):
        aws.create(FAST_RESTORE, {**INPUTS, **changed})


def test_fast_restore_needs_both(aws: SimulatedAws) -> None:
    assert aws.refusals(FAST_RESTORE, {}).keys() == {"snapshotId", "availabilityZone"}


def test_quota_and_its_default(aws: SimulatedAws) -> None:
    found = aws.provider.invoke(QUOTA, {"serviceCode": "ec2", "quotaCode": "L-DB2E81BA"})
    assert found["value"] > found["defaultValue"] == 0
    with pytest.raises(Refused):
        aws.provider.invoke(QUOTA, {"serviceCode": "ec2", "quotaCode": "L-0"})


def test_quota_of_this_account(aws: SimulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPULAB_QUOTAS", '{"L-DB2E81BA": 7}')
    assert aws.provider.invoke(QUOTA, {"serviceCode": "ec2", "quotaCode": "L-DB2E81BA"})["value"] == 7
    assert aws.provider.invoke(QUOTA, {"serviceCode": "ec2", "quotaCode": "L-417A185B"})["value"] > 7


def test_places_of_an_instance_type(aws: SimulatedAws) -> None:
    zones = ["us-east-1a", "us-east-1f"]
    found = aws.provider.invoke(
        OFFERINGS, {"locationType": "availability-zone", "filters": [{"name": "location", "values": zones}]}
    )
    assert set(found["locations"]) == set(zones)
    places = set(zip(found["instanceTypes"], found["locations"], strict=True))
    assert ("p4d.24xlarge", "us-east-1a") in places
    assert ("p4d.24xlarge", "us-east-1f") not in places
