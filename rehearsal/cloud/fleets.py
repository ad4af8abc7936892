"""Instant fleets, by which Karpenter launches instances: the cheapest override that EC2 has a machine for.

moto's fleets take the first override, and give an instance neither the profile, the disks nor the security groups of
its launch template.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from moto.core.responses import ActionResult
from moto.ec2.responses import EC2Response

from rehearsal.cloud import capacity, capacity_reservations, instance_types, quotas

# Strategies that take the override of the lowest priority number; all others take the lowest price.
_PRIORITIZED = ("prioritized", "capacity-optimized-prioritized")
_RESERVATIONS_ONLY = "capacity-reservations-only"


@dataclass(frozen=True)
class _Choice:
    """A launch template and one of its overrides, with the names that the answer repeats."""

    specification: Mapping[str, Any]
    data: Mapping[str, Any]
    override: Mapping[str, Any]

    @property
    def reservation(self) -> str | None:
        """The capacity reservation that the template names, where it takes nothing else."""
        wanted = self.data.get("CapacityReservationSpecification", {})
        only = wanted.get("CapacityReservationPreference") == _RESERVATIONS_ONLY
        return wanted["CapacityReservationTarget"]["CapacityReservationId"] if only else None

    @property
    def named(self) -> dict[str, Any]:
        """What an answer says of the choice."""
        return {"LaunchTemplateSpecification": self.specification, "Overrides": self.override}


class Fleets(EC2Response):
    """moto's EC2 with instant fleets."""

    def create_fleet(self) -> ActionResult:
        """Launches as many instances as are asked for, or says for each override why it has none."""
        if self._get_param("Type") != "instant":
            return super().create_fleet()
        self.error_on_dryrun()
        target = self._get_param("TargetCapacitySpecification")
        spot = target["DefaultTargetCapacityType"] == capacity.SPOT
        strategy = self._get_param("SpotOptions" if spot else "OnDemandOptions", {}).get("AllocationStrategy")
        lifecycle = capacity.SPOT if spot else capacity.ON_DEMAND
        errors, launched = [], []
        for choice in sorted(self._choices(), key=lambda one: _rank(one.override, strategy)):
            if why := self._shortage(choice, lifecycle, target["TotalTargetCapacity"]):
                said = {"ErrorCode": why[0], "ErrorMessage": why[1]}
                errors.append({"LaunchTemplateAndOverrides": choice.named, "Lifecycle": lifecycle, **said})
                continue
            ids = [one.id for one in self._launch(choice, target["TotalTargetCapacity"], spot=spot)]
            launched.append(
                {
                    "LaunchTemplateAndOverrides": choice.named,
                    "Lifecycle": lifecycle,
                    "InstanceIds": ids,
                    "InstanceType": choice.override["InstanceType"],
                }
            )
            break
        return ActionResult({"FleetId": f"fleet-{secrets.token_hex(18)}", "Errors": errors, "Instances": launched})

    def _choices(self) -> Iterator[_Choice]:
        for config in self._get_param("LaunchTemplateConfigs"):
            named = config["LaunchTemplateSpecification"]
            ids = [named["LaunchTemplateId"]] if "LaunchTemplateId" in named else None
            (template,) = self.ec2_backend.describe_launch_templates(
                template_ids=ids, template_names=[named.get("LaunchTemplateName")]
            )
            specification = {
                "LaunchTemplateId": template.id,
                "LaunchTemplateName": template.name,
                "Version": str(template.latest_version_number),
            }
            for override in config["Overrides"]:
                yield _Choice(specification, template.latest_version().data, override)

    def _shortage(self, choice: _Choice, lifecycle: str, count: int) -> tuple[str, str] | None:
        """EC2's code and message, where it has no such machine or the account may not have one more."""
        instance_type, zone = choice.override["InstanceType"], choice.override.get("AvailabilityZone", "")
        if choice.reservation:
            return capacity_reservations.shortage(self.ec2_backend, choice.reservation, count)
        return capacity.shortage(lifecycle, instance_type, zone) or quotas.shortage(
            self.ec2_backend, lifecycle, instance_type, count
        )

    def _launch(self, choice: _Choice, count: int, *, spot: bool) -> Sequence[Any]:
        data, override = choice.data, choice.override
        interfaces = data.get("NetworkInterfaces") or [{}]
        groups = data.get("SecurityGroupIds") or interfaces[0].get("Groups", [])
        tags = _tags(self._get_param("TagSpecifications", []))
        launched = self.ec2_backend.run_instances(
            override.get("ImageId") or data["ImageId"],
            count,
            data.get("UserData"),
            [],
            instance_type=override["InstanceType"],
            is_instance_type_default=False,
            region_name=self.region,
            subnet_id=override.get("SubnetId") or interfaces[0].get("SubnetId"),
            security_group_ids=list(groups),
            block_device_mappings=data.get("BlockDeviceMappings") or [],
            metadata_options=data.get("MetadataOptions", {}),
            tags=tags,
            lifecycle="spot" if spot else None,
        ).instances
        for instance in launched:
            self._complete(instance, choice, spot=spot)
        return launched

    def _complete(self, instance: Any, choice: _Choice, *, spot: bool) -> None:
        """Gives an instance what moto leaves out."""
        if spot:
            instance.spot_instance_request_id = f"sir-{secrets.token_hex(4)}"
        if choice.reservation:
            instance.capacity_reservation_id = choice.reservation
            instance.capacity_reservation_specification = choice.data["CapacityReservationSpecification"]
        zone_id = self.ec2_backend.get_subnet(instance.subnet_id).availability_zone_id
        instance.placement.availability_zone_id = zone_id
        template = choice.specification
        instance.add_tags(
            {
                "aws:ec2launchtemplate:id": template["LaunchTemplateId"],
                "aws:ec2launchtemplate:version": template["Version"],
            }
        )
        of_interfaces = _tags(choice.data.get("TagSpecifications", [])).get("network-interface", {})
        for interface in instance.nics.values():
            interface.delete_on_termination = True
            interface.add_tags(of_interfaces)
        profile = choice.data.get("IamInstanceProfile", {}).get("Name")
        if profile:
            self.ec2_backend.associate_iam_instance_profile(instance_id=instance.id, iam_instance_profile_name=profile)


def _rank(override: Mapping[str, Any], strategy: str | None) -> float:
    if strategy in _PRIORITIZED:
        return float(override.get("Priority", 0))
    # Spot costs the same share of every type's price.
    return instance_types.on_demand_price(override["InstanceType"]) or float("inf")


def _tags(specifications: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    return {one["ResourceType"]: {tag["Key"]: tag["Value"] for tag in one.get("Tags", [])} for one in specifications}
