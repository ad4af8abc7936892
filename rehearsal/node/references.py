"""The images that pods of a stack name.

All that the platform may run are always there, so that all stacks share them.
"""

from __future__ import annotations

from components.images import chart_images, mirror_of, mirrored
from contracts.images import image_digest, image_pins
from settings import Settings

from .addons import COREDNS
from .containers import PAUSE

_CHARTS = ("cloudnative-pg", "jupyterhub", "nvidia-device-plugin", "traefik")
# Of the chart's hook before an upgrade, which the platform has turned off, and of EKS only.
_UNUSED = ("image-awaiter", "kubectl")


def of_stack(stack_settings: Settings) -> list[str]:
    """Each image once, by the name under which a node finds it."""
    of_charts = [reference for chart in _CHARTS for reference in chart_images(chart).values()]
    of_people = [profile.image for profile in stack_settings.profiles.values()]
    found = [PAUSE, COREDNS, *image_pins().values(), *of_charts, *of_people]
    mirror = mirror_of(stack_settings)
    # In production the platform names an image by its digest too, where that is known.
    found += [f"{one}@{digest}" for one in found if (digest := image_digest(one))]
    names = [*found, *(mirrored(one, mirror) for one in found)]
    return [name for name in dict.fromkeys(names) if not any(part in name for part in _UNUSED)]
