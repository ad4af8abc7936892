"""Capacity reservations, which moto lacks: those that the account has before the stack, whose file names them by id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response

EXCEEDED = "ReservationCapacityExceeded"


@dataclass(frozen=True)
class _Reservation:
    """A machine of one type in one zone that is kept for the account."""

    id: str
    instance_type: str
    zone: str


_reservations: dict[str, _Reservation] = {}


def reserve(id: str, instance_type: str, zone: str) -> None:
    """Makes a reservation of one machine."""
    _reservations[id] = _Reservation(id, instance_type, zone)


def forget() -> None:
    """Removes all reservations."""
    _reservations.clear()


def shortage(ec2: Any, id: str, count: int) -> tuple[str, str] | None:
    """EC2's code and message for a launch into a reservation that has no room for it; None where it has."""
    if id not in _reservations:
        return "InvalidCapacityReservationId.NotFound", f"The capacity reservation '{id}' does not exist."
    if _available(ec2, _reservations[id]) < count:
        return EXCEEDED, f"The capacity reservation {id} does not have sufficient capacity for your request."
    return None


class CapacityReservations(EC2Response):
    """moto's EC2 with capacity reservations."""

    def describe_capacity_reservations(self) -> ActionResult:
        """Those with the given ids, or all."""
        ids = set(self._get_param("CapacityReservationIds", []))
        ids |= set(self._filters_from_querystring().get("capacity-reservation-id", []))
        found = [one for one in _reservations.values() if not ids or one.id in ids]
        return ActionResult({"CapacityReservations": [self._described(one) for one in found]})

    def _described(self, one: _Reservation) -> dict[str, Any]:
        return {
            "CapacityReservationId": one.id,
            "InstanceType": one.instance_type,
            "AvailabilityZone": one.zone,
            "OwnerId": self.current_account,
            "TotalInstanceCount": 1,
            "AvailableInstanceCount": _available(self.ec2_backend, one),
            "InstanceMatchCriteria": "targeted",
            "ReservationType": "default",
            "State": "active",
            "Tenancy": "default",
            "EndDateType": "unlimited",
        }


def _available(ec2: Any, one: _Reservation) -> int:
    used = sum(getattr(instance, "capacity_reservation_id", None) == one.id for instance in ec2.all_running_instances())
    return 1 - used
