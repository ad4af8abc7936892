"""Checks that moto's snapshots lack: whose are listed, and which can't be deleted.

moto's EC2 has over a thousand snapshots of Amazon's images.
"""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

SOURCE_TAG = "aws:backup:source-resource"
"""The tag of a snapshot that AWS Backup took, with the ARN of the volume."""


class OwnedSnapshots(EC2Response):
    """moto's snapshots. The listing honors `OwnerIds`, and only AWS Backup can delete its recovery points."""

    def delete_snapshot(self) -> Any:
        """Refuses a recovery point of AWS Backup."""
        id = self._get_param("SnapshotId")
        if SOURCE_TAG in {tag["key"] for tag in self.ec2_backend.describe_tags({"resource-id": [id]})}:
            raise EC2ClientError(
                "InvalidParameterValue",
                "This snapshot is managed by the AWS Backup service and cannot be deleted via EC2 APIs. If you wish to "
                "delete this snapshot, please do so via the Backup console.",
            )
        return super().delete_snapshot()

    def describe_snapshots(self) -> Any:
        """The snapshots of the requested owners (`self` or account ids), or of all owners."""
        requested = self._get_param("OwnerIds", [])
        if not requested:
            return super().describe_snapshots()
        if "amazon" in requested:
            raise NotImplementedError("the simulated EC2 knows snapshots' owners only by account id, not as amazon")
        owners = {self.current_account if owner == "self" else owner for owner in requested}
        found = self.ec2_backend.describe_snapshots(
            snapshot_ids=self._get_param("SnapshotIds", []), filters=self._filters_from_querystring()
        )
        return ActionResult({"Snapshots": [snapshot for snapshot in found if snapshot.owner_id in owners]})
