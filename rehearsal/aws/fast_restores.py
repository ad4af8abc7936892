"""EBS fast snapshot restores, which moto lacks: which snapshots are restored at full speed, and in which zones.

A stack file names snapshots of its own account, which a rehearsal has none of: any id that is well-formed is one.
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
    """The operations; what is enabled lives and goes with moto's EC2 of the region."""

    def enable_fast_snapshot_restores(self) -> ActionResult:
        """Enables them; one that is enabled already stays so."""
        made = []
        for snapshot, zone in self._asked_for():
            at = datetime.now(UTC)
            known = {"SnapshotId": snapshot, "AvailabilityZone": zone, "OwnerId": self.current_account}
            self._enabled.setdefault((snapshot, zone), {**known, "State": "enabled", "EnabledTime": at})
            made.append({**known, "State": "enabling", "EnablingTime": at})
        return ActionResult({"Successful": made, "Unsuccessful": []})

    def disable_fast_snapshot_restores(self) -> ActionResult:
        """Disables them; each that is not enabled is an error of its own."""
        gone, failed = [], []
        for snapshot, zone in self._asked_for():
            known = self._enabled.pop((snapshot, zone), None)
            if known:
                gone.append({**known, "State": "disabling"})
            else:
                error = {"Code": "InvalidParameter", "Message": f"{snapshot} is not enabled in {zone}"}
                errors = [{"AvailabilityZone": zone, "Error": error}]
                failed.append({"SnapshotId": snapshot, "FastSnapshotRestoreStateErrors": errors})
        return ActionResult({"Successful": gone, "Unsuccessful": failed})

    def describe_fast_snapshot_restores(self) -> ActionResult:
        """Those that pass the filters `snapshot-id` and `availability-zone`."""
        keys = {"snapshot-id": "SnapshotId", "availability-zone": "AvailabilityZone", "state": "State"}
        filters = {one["Name"]: one["Values"] for one in self._get_param("Filters", [])}
        if unknown := filters.keys() - keys.keys():
            raise EC2ClientError("InvalidParameterValue", f"The filter '{min(unknown)}' is invalid")
        found = [
            one for one in self._enabled.values() if all(one[keys[name]] in values for name, values in filters.items())
        ]
        return ActionResult({"FastSnapshotRestores": found})

    @property
    def _enabled(self) -> dict[tuple[str, str], dict[str, Any]]:
        return vars(self.ec2_backend).setdefault(_KEPT, {})

    def _asked_for(self) -> Iterator[tuple[str, str]]:
        zones = {zone.name for zone in self.ec2_backend.describe_availability_zones()}
        for snapshot in self._get_param("SourceSnapshotIds", []):
            if not _SNAPSHOT.fullmatch(snapshot):
                raise EC2ClientError("InvalidSnapshotID.Malformed", f"Invalid id: '{snapshot}'")
            for zone in self._get_param("AvailabilityZones", []):
                if zone not in zones:
                    raise EC2ClientError("InvalidParameterValue", f"Invalid availability zone: [{zone}]")
                yield snapshot, zone
