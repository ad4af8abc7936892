"""EBS fast snapshot restores, which moto lacks: the snapshots that are restored at full speed, and their zones.

A stack file names snapshots of its account, which a rehearsal lacks. So every well-formed id is accepted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

_SNAPSHOT = re.compile(r"snap-([0-9a-f]{8}|[0-9a-f]{17})")
_KEPT = "_gpulab_fast_restores"


class FastRestores(EC2Response):
    """The operations. What is enabled is part of moto's EC2 of the region, and is reset with it."""

    def enable_fast_snapshot_restores(self) -> ActionResult:
        """Enables restores; those that are enabled already stay so."""
        made = []
        for snapshot, zone in self._requested():
            at = datetime.now(UTC)
            known = {"SnapshotId": snapshot, "AvailabilityZone": zone, "OwnerId": self.current_account}
            self._enabled.setdefault((snapshot, zone), {**known, "State": "enabled", "EnabledTime": at})
            made.append({**known, "State": "enabling", "EnablingTime": at})
        return ActionResult({"Successful": made, "Unsuccessful": []})

    def disable_fast_snapshot_restores(self) -> ActionResult:
        """Disables restores; each one that is not enabled is a separate error."""
        gone, failed = [], []
        for snapshot, zone in self._requested():
            known = self._enabled.pop((snapshot, zone), None)
            if known:
                gone.append({**known, "State": "disabling"})
            else:
                error = {"Code": "InvalidParameter", "Message": f"{snapshot} is not enabled in {zone}"}
                errors = [{"AvailabilityZone": zone, "Error": error}]
                failed.append({"SnapshotId": snapshot, "FastSnapshotRestoreStateErrors": errors})
        return ActionResult({"Successful": gone, "Unsuccessful": failed})

    def describe_fast_snapshot_restores(self) -> ActionResult:
        """The restores that match the filters `snapshot-id`, `availability-zone` and `state`."""
        keys = {"snapshot-id": "SnapshotId", "availability-zone": "AvailabilityZone", "state": "State"}
        filters = {item["Name"]: item["Values"] for item in self._get_param("Filters", [])}
        if unknown := filters.keys() - keys.keys():
            raise EC2ClientError("InvalidParameterValue", f"The filter '{min(unknown)}' is invalid")
        found = [
            restore
            for restore in self._enabled.values()
            if all(restore[keys[name]] in values for name, values in filters.items())
        ]
        return ActionResult({"FastSnapshotRestores": found})

    @property
    def _enabled(self) -> dict[tuple[str, str], dict[str, Any]]:
        return vars(self.ec2_backend).setdefault(_KEPT, {})

    def _requested(self) -> Iterator[tuple[str, str]]:
        zones = {zone.name for zone in self.ec2_backend.describe_availability_zones()}
        for snapshot in self._get_param("SourceSnapshotIds", []):
            if not _SNAPSHOT.fullmatch(snapshot):
                raise EC2ClientError("InvalidSnapshotID.Malformed", f"Invalid id: '{snapshot}'")
            for zone in self._get_param("AvailabilityZones", []):
                if zone not in zones:
                    raise EC2ClientError("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
                yield snapshot, zone
