"""Names of container images: which images the platform runs, their digests, and their names in a mirror."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import contracts

if TYPE_CHECKING:
    from settings import ChartSource, Settings

Mirror: TypeAlias = str | Mapping[str, str] | None
"""A registry with an optional path, or a mapping from registries to their mirrors. None: no mirror."""

DOCKER_HUB = "docker.io"


@dataclass(frozen=True)
class ChartImage:
    """Where a chart's values name an image: in the mapping at `path`.

    The values of the keys `name`, joined with slashes, are its name; the value of the key `tag` is its tag. If they are
    left out, the name is `repository`, and the tag is what `version` returns for the chart.
    """

    path: str
    name: tuple[str, ...] = ("repository",)
    tag: str = "tag"
    repository: str = ""
    version: Callable[[contracts.Chart], str] = lambda chart: chart.app_version or chart.version


def _of_the_operator(part: str) -> ChartImage:
    return ChartImage(part, name=("repository", "image"), tag="version", version=lambda chart: chart.version)


_NFD = "registry.k8s.io/nfd/node-feature-discovery"


def _nfd_version(chart: contracts.Chart) -> str:
    return f"v{chart.dependencies['node-feature-discovery']}"


CHART_IMAGES: Mapping[str, Sequence[ChartImage]] = {
    "aws-load-balancer-controller": (ChartImage("image"),),
    "cloudnative-pg": (ChartImage("image"),),
    "gpu-operator": (
        *map(_of_the_operator, ("operator", "validator", "devicePlugin", "gfd", "dcgmExporter", "migManager")),
        ChartImage("node-feature-discovery.image", repository=_NFD, version=_nfd_version),
    ),
    "nvidia-device-plugin": (
        ChartImage("image", version=lambda chart: f"v{chart.app_version}"),
        ChartImage("nfd.image", repository=_NFD, version=_nfd_version),
    ),
    # Its helper functions name it: the values are null.
    "traefik": (ChartImage("image", name=(), repository="docker.io/traefik"),),
    "jupyterhub": tuple(
        ChartImage(path, ("name",)) for path in ("hub.image", "proxy.chp.image", "prePuller.pause.image")
    ),
}
"""The images that our values make each chart run. Karpenter's chart has its own digest; we choose Keycloak's image."""


def pinned(name: str, *, by_digest: bool) -> str:
    """An image that the platform chooses, NAME:TAG. `by_digest` adds the digest, if contracts has one."""
    return _with_digest(contracts.image(name), by_digest=by_digest)


def pinned_of_chart(chart: str, path: str, *, by_digest: bool) -> str:
    """The image that a chart names at this path of its values, at the version of its contract, as `pinned` does it."""
    (reference,) = (reference for image, reference in chart_images(chart).items() if image.path == path)
    return _with_digest(reference, by_digest=by_digest)


def _with_digest(reference: str, *, by_digest: bool) -> str:
    digest = contracts.image_digest(reference) if by_digest else None
    return f"{reference}@{digest}" if digest else reference


def name_and_tag(reference: str) -> tuple[str, str]:
    """`quay.io/x/y:1.2@sha256:…` as `quay.io/x/y` and `1.2@sha256:…`, which charts join again."""
    name, at, digest = reference.partition("@")
    name, _, tag = name.rpartition(":")
    return name, f"{tag}{at}{digest}"


def chart_images(chart: str) -> dict[ChartImage, str]:
    """The images of a chart at its contract's version, NAME:TAG."""
    contract = contracts.chart(chart)
    return {image: _reference(contract, image) for image in CHART_IMAGES.get(chart, ())}


def with_digests(
    chart: str, values: Mapping[str, Any], sources: Mapping[str, ChartSource], *, by_digest: bool
) -> dict[str, Any]:
    """The values of a release, with the digest after the tag of each image for which contracts has one.

    The name in the values stays: a mirror's image has the same digest. A chart at a path (`sources` is the stack file's
    `gpulab:charts`) may have another version, so it keeps its own images.
    """
    source = sources.get(chart)
    wanted = dict(values)
    if not by_digest or (source is not None and source.path is not None):
        return wanted
    for image, reference in chart_images(chart).items():
        if digest := contracts.image_digest(reference):
            _, tag = name_and_tag(f"{reference}@{digest}")
            wanted = _with(wanted, [*image.path.split("."), image.tag], tag)
    return wanted


def mirror_of(settings: Settings) -> Mirror:
    """The mirror of the stack's notebook and hub images."""
    hub, cache = settings.running_hub, settings.image_cache
    if hub and hub.registry and hub.registry.mirror:
        return hub.registry.mirror
    return cache.mirror if cache else None


def mirrored(image: str, mirror: Mirror) -> str:
    """The image's name in the mirror, which replaces the image's registry.

    Without a mirror for its registry, the name stays as it is. Docker Hub's official images, which have no user in
    their name, get `library/`.
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


def _reference(chart: contracts.Chart, image: ChartImage) -> str:
    found: Any = chart.values
    for key in image.path.split("."):
        found = found.get(key) or {}
    name = "/".join(str(found[key]) for key in image.name if key in found) or image.repository
    return f"{name}:{found.get(image.tag) or image.version(chart)}"


def _with(values: Mapping[str, Any], path: Sequence[str], value: str) -> dict[str, Any]:
    key, *rest = path
    return {**values, key: _with(values.get(key) or {}, rest, value) if rest else value}
