"""EC2's refusals of volume changes, which moto lacks.

A disk cannot shrink, and can be changed at most four times in 24 hours ("ModifyVolume", EC2 API reference; until
January 2026 it was once in six hours).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from moto.ec2.exceptions import EC2ClientError
from moto.ec2.responses import EC2Response

CHANGES, PERIOD = 4, timedelta(hours=24)


class VolumeChanges(EC2Response):
    """moto's volumes, with checks of changes."""

    def modify_volume(self) -> Any:
        """Refuses a smaller size, and too many changes."""
        volume, size = self.ec2_backend.get_volume(self._get_param("VolumeId")), self._get_param("Size")
        if size is not None and int(size) < volume.size:
            raise EC2ClientError("InvalidParameterValue", "New size cannot be smaller than existing size")
        since = datetime.now(UTC) - PERIOD
        if sum(modification.start_time.replace(tzinfo=UTC) > since for modification in volume.modifications) >= CHANGES:
            raise EC2ClientError(
                "VolumeModificationRateExceeded",
                "You've reached the maximum modification rate per volume limit: you can modify a volume up to four "
                "times within a rolling 24-hour period.",
            )
        return super().modify_volume()
