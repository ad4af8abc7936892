"""EBS: fast snapshot restores."""

from __future__ import annotations

from rehearsal.providers.aws.api_call import Call
from rehearsal.providers.aws.described import DescribedResource, fields

_WHICH = {"AvailabilityZones": ["{availabilityZone}"], "SourceSnapshotIds": ["{snapshotId}"]}


class FastSnapshotRestore(DescribedResource):
    """A snapshot that can be restored at full speed in a zone. Its id is `ZONE,SNAPSHOT`."""

    token = "aws:ebs/fastSnapshotRestore:FastSnapshotRestore"
    force_new = frozenset({"availabilityZone", "snapshotId"})
    unmodelled = frozenset({"timeouts"})
    service, id_form = "ec2", "{availabilityZone},{snapshotId}"
    create_call = Call("enable_fast_snapshot_restores", **_WHICH)
    read_call = Call(
        "describe_fast_snapshot_restores",
        Filters=[
            {"Name": "snapshot-id", "Values": ["{snapshotId}"]},
            {"Name": "availability-zone", "Values": ["{availabilityZone}"]},
        ],
    )
    found, outputs = "FastSnapshotRestores[0]", fields("state")
    ready, wait_seconds = "State=='enabled'", 600
    delete_call = Call("disable_fast_snapshot_restores", **_WHICH)
