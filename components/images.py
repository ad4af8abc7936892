"""Names of container images, and how they change when they come through a mirror."""

from __future__ import annotations

DOCKER_HUB = "docker.io"


def mirrored(image: str, mirror: str | None) -> str:
    """The image as the mirror has it: the mirror stands in the place of the image's registry.

    `mirror` is a registry with a path if it has one; without one the image stays as it is. Names of Docker Hub's own
    images, which have no user, get their `library/` there.
    """
    if mirror is None:
        return image
    registry, _, path = image.partition("/")
    if not path or not (set(registry) & {".", ":"} or registry == "localhost"):
        path = image if "/" in image else f"library/{image}"
    elif registry == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return f"{mirror}/{path}"
