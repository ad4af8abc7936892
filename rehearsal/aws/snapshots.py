"""Whose snapshots are listed, which moto does not ask: its EC2 has over a thousand of Amazon's own images."""

from __future__ import annotations

from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response


class OwnedSnapshots(EC2Response):
    """moto's listing of snapshots, which honors `OwnerIds`."""

    def describe_snapshots(self) -> Any:
        """Those of the owners that are asked for (`self` or account ids); of all owners where none is named."""
        asked_for = self._get_param("OwnerIds", [])
        if not asked_for:
            return super().describe_snapshots()
        if "amazon" in asked_for:
            raise NotImplementedError("the simulated EC2 knows the owners of snapshots by account id, not as amazon")
        owners = {self.current_account if owner == "self" else owner for owner in asked_for}
        found = self.ec2_backend.describe_snapshots(
            snapshot_ids=self._get_param("SnapshotIds", []), filters=self._filters_from_querystring()
        )
        return ActionResult({"Snapshots": [snapshot for snapshot in found if snapshot.owner_id in owners]})
