"""What EC2 is out of. A test or a check takes something away, as AWS does without a warning, and gives it back."""

from __future__ import annotations

from typing import Any

SPOT, ON_DEMAND, RESERVED = "spot", "on-demand", "reserved"
# EC2's codes for a launch beyond the account's quota of vCPUs, by capacity type.
QUOTA_CODES = {SPOT: "MaxSpotInstanceCountExceeded", ON_DEMAND: "VcpuLimitExceeded"}
INSUFFICIENT = "InsufficientInstanceCapacity"

_out: set[str] = set()


def change(given: dict[str, Any]) -> dict[str, Any]:
    """Makes EC2 be out of the capacity types `out`, and of nothing else."""
    _out.clear()
    _out.update(given["out"])
    return {"out": sorted(_out)}


def restore() -> None:
    """Gives back what was taken away."""
    _out.clear()


def shortage(capacity_type: str, instance_type: str, zone: str) -> tuple[str, str] | None:
    """EC2's code and message for a launch that finds no machine; None where there is one."""
    if capacity_type not in _out:
        return None
    message = f"There is no Spot capacity available that matches your request: {instance_type} in {zone}."
    if capacity_type != SPOT:
        message = f"We currently do not have sufficient {instance_type} capacity in {zone}."
    return INSUFFICIENT, message
