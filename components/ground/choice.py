"""Which ground a stack stands on: the one place that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from components.ground.eks import EksGround, permissions_boundary_transform
from components.ground.existing.ground import ExistingGround
from components.ground.existing.labels import stack_labels_transform
from settings import EksSettings, ExistingSettings

if TYPE_CHECKING:
    from components.seam import Ground
    from settings import Settings


def platform_options(settings: Settings) -> pulumi.ResourceOptions:
    """The options of the platform, which hold for everything in it."""
    match settings:
        case ExistingSettings():
            return pulumi.ResourceOptions(transforms=[stack_labels_transform(settings)])
        case EksSettings(permissions_boundary=str(arn)):
            return pulumi.ResourceOptions(transforms=[permissions_boundary_transform(arn)])
        case _:
            return pulumi.ResourceOptions()


def make_ground(name: str, settings: Settings, platform: pulumi.Resource) -> Ground:
    """Makes or finds the cluster; what is made is a child of the platform."""
    match settings:
        case EksSettings():
            return EksGround(name, settings, platform)
        case ExistingSettings():
            return ExistingGround(name, settings, platform)
        case _:
            raise TypeError(f"{type(settings).__name__} has no ground")
