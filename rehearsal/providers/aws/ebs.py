"""EBS: fast snapshot restores."""

from __future__ import annotations

from rehearsal.providers.aws.base import AwsResource
from rehearsal.providers.aws.cloud import Cloud
from rehearsal.providers.serving import Properties, Request

_SECONDS = 600


class FastSnapshotRestore(AwsResource):
    """A snapshot that is restored at full speed in a zone; its id is `ZONE,SNAPSHOT`."""

    token = "aws:ebs/fastSnapshotRestore:FastSnapshotRestore"
    force_new = frozenset({"availabilityZone", "snapshotId"})
    longest_name = None
    unmodelled = frozenset({"timeouts"})

    def make(self, cloud: Cloud, inputs: Properties, request: Request) -> str:
        zone, snapshot = inputs["availabilityZone"], inputs["snapshotId"]
        cloud.ec2.enable_fast_snapshot_restores(AvailabilityZones=[zone], SourceSnapshotIds=[snapshot])
        return f"{zone},{snapshot}"

    def complete(self, cloud: Cloud, id: str, inputs: Properties, request: Request) -> None:
        def enabled() -> bool:
            live = self.live(cloud, id, inputs)
            return live is not None and live["state"] == "enabled"

        request.wait(enabled, seconds=_SECONDS, what=f"fast snapshot restore {id}")

    def live(self, cloud: Cloud, id: str, olds: Properties) -> Properties | None:
        zone, _, snapshot = id.partition(",")
        filters = [{"Name": "snapshot-id", "Values": [snapshot]}, {"Name": "availability-zone", "Values": [zone]}]
        for found in cloud.ec2.describe_fast_snapshot_restores(Filters=filters)["FastSnapshotRestores"]:
            return {"availabilityZone": zone, "snapshotId": snapshot, "state": found["State"]}
        return None

    def remove(self, cloud: Cloud, id: str, olds: Properties, request: Request) -> None:
        zone, _, snapshot = id.partition(",")
        cloud.ec2.disable_fast_snapshot_restores(AvailabilityZones=[zone], SourceSnapshotIds=[snapshot])
