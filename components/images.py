"""Names of container images, and how they change when they come through a mirror."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from settings import Settings

Mirror: TypeAlias = str | Mapping[str, str] | None
"""A registry with a path if it has one, or such a one for each registry that it stands for. None: no mirror."""

DOCKER_HUB = "docker.io"


def mirror_of(settings: Settings) -> Mirror:
    """What the stack's images of notebooks and of the hub come through."""
    hub, cache = settings.running_hub, settings.image_cache
    if hub and hub.registry and hub.registry.mirror:
        return hub.registry.mirror
    return cache.mirror if cache else None


def mirrored(image: str, mirror: Mirror) -> str:
    """The image as the mirror has it: the mirror stands in the place of the image's registry.

    Without one the image stays as it is, and so does that of a registry for which there is none. Names of Docker Hub's
    own images, which have no user, get their `library/` there.
    """
    registry, _, path = image.partition("/")
    if isinstance(mirror, Mapping):
        return f"{mirror[registry]}/{path}" if registry in mirror else image
    if mirror is None:
        return image
    if not path or not (set(registry) & {".", ":"} or registry == "localhost"):
        path = image if "/" in image else f"library/{image}"
    elif registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return f"{mirror}/{path}"
