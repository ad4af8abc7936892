"""Chooses the zones of the control plane from those of the network.

In a few zones EKS does not accept a control plane's subnet; it names these zones by their ids ("Amazon EKS networking
requirements for VPC and subnets", EKS user guide). Which name a zone has differs between accounts, so only AWS knows
it. The program asks before it makes anything: EKS itself would refuse when VPC and NAT gateways exist already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

import contracts

# EKS needs at least two zones, and never accepts subnets of other zones than its first ones ("Amazon EKS VPC and subnet
# requirements", EKS user guide). If it had all zones, a network could not get another one.
CONTROL_PLANE_ZONES = 2


class ZoneError(pulumi.RunError):
    """A cluster can't run in the zones of the stack file. The message names the key and says what to do."""


def control_plane_zones(zones: Sequence[str], region: str, opts: pulumi.InvokeOptions) -> list[str]:
    """The zones of the control plane: the first two of the stack file that EKS accepts.

    Raises ZoneError if this account does not have a zone, if fewer than two are left, or if AWS does not answer.
    """
    try:
        # Without the Local Zones and Wavelength Zones that the account has opted in to.
        only = aws.GetAvailabilityZonesFilterArgs(name="zone-type", values=["availability-zone"])
        found = aws.get_availability_zones(filters=[only], opts=opts)
    except Exception as error:  # an invoke's errors have no specific type
        raise ZoneError(
            f"Cannot look up the zones of {region} (ec2:DescribeAvailabilityZones), which decide where the control "
            f"plane goes: {error}"
        ) from None
    return chosen_zones(zones, dict(zip(found.names, found.zone_ids, strict=True)))


def chosen_zones(zones: Sequence[str], ids: Mapping[str, str]) -> list[str]:
    """The same as `control_plane_zones`, from the account's zone ids by name."""
    unknown = [zone for zone in zones if zone not in ids]
    if unknown:
        raise ZoneError(
            f"gpulab:network.zones names {', '.join(unknown)}, which this account does not have: use zones of "
            f"{', '.join(sorted(ids))}."
        )
    without = contracts.zones_without_control_plane()
    usable = [zone for zone in zones if ids[zone] not in without]
    if len(usable) < CONTROL_PLANE_ZONES:
        left_out = ", ".join(f"{zone} ({ids[zone]})" for zone in zones if zone not in usable)
        others = [zone for zone, id in sorted(ids.items()) if id not in without and zone not in zones]
        advice = f"Add one of {', '.join(others)}" if others else "It has no other: take another region (aws:region)"
        raise ZoneError(
            f"gpulab:network.zones has {len(usable)} zone for the control plane, which needs {CONTROL_PLANE_ZONES}: "
            f"EKS can't use {left_out} of this account. {advice}."
        )
    return usable[:CONTROL_PLANE_ZONES]
