"""Which ground a stack stands on: the one place that asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi

from components.ground.eks import EksGround, permissions_boundary_transform
from settings import EksSettings

if TYPE_CHECKING:
    from settings import Settings


def platform_options(settings: Settings) -> pulumi.ResourceOptions:
    """The options of the platform, which hold for everything in it."""
    if isinstance(settings, EksSettings) and settings.permissions_boundary:
        return pulumi.ResourceOptions(transforms=[permissions_boundary_transform(settings.permissions_boundary)])
    return pulumi.ResourceOptions()


def make_ground(name: str, settings: Settings, platform: pulumi.Resource) -> EksGround:
    """Makes or finds the cluster; what is made is a child of the platform."""
    if not isinstance(settings, EksSettings):
        message = f"stack {settings.stack}: gpulab:ground.kind existing can't be deployed yet; use eks"
        raise pulumi.RunError(message)
    return EksGround(name, settings, platform)
