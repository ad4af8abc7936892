"""The zones of the network as this account has them: which of them EKS can put its control plane in.

EKS takes no subnet of a control plane in a few zones, which it names by their ids ("Amazon EKS networking requirements
for VPC and subnets", EKS user guide). Which zone has which name differs from account to account, so that only AWS can
say it. A program asks before it makes anything: EKS itself says so when VPC and NAT gateways are there already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi
import pulumi_aws as aws

import contracts

# EKS asks for two zones at least, and never takes subnets of another zone than those it began with ("Amazon EKS VPC and
# subnet requirements", EKS user guide): with every zone's, a network could not get one more.
CONTROL_PLANE_ZONES = 2


class ZoneError(pulumi.RunError):
    """The zones of the stack file can't carry a cluster. The message names the key and says what to do."""


def control_plane_zones(zones: Sequence[str], region: str, opts: pulumi.InvokeOptions) -> list[str]:
    """The zones of the stack file that get the control plane: the first two that EKS takes.

    Raises ZoneError: this account has no zone of a name, too few are left, or AWS does not answer.
    """
    try:
        # Without the Local Zones and Wavelength Zones that the account has opted in to.
        only = aws.GetAvailabilityZonesFilterArgs(name="zone-type", values=["availability-zone"])
        found = aws.get_availability_zones(filters=[only], opts=opts)
    except Exception as error:  # what an invoke raises has no type of its own
        raise ZoneError(
            f"Cannot look up the zones of {region} (ec2:DescribeAvailabilityZones), which decide where the control "
            f"plane goes: {error}"
        ) from None
    return chosen_zones(zones, dict(zip(found.names, found.zone_ids, strict=True)))


def chosen_zones(zones: Sequence[str], ids: Mapping[str, str]) -> list[str]:
    """The same of the account's zones, id by name."""
    unknown = [zone for zone in zones if zone not in ids]
    if unknown:
        raise ZoneError(
            f"gpulab:network.zones names {', '.join(unknown)}, which this account does not have: take zones of "
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
            f"EKS has none in {left_out} of this account. {advice}."
        )
    return usable[:CONTROL_PLANE_ZONES]
