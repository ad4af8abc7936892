"""Supply chain: images, charts and addons have a fixed version."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.reading import helm
from policies.reading.added_containers import containers_in, holds_containers
from policies.reading.pods import containers, pod_spec
from policies.reading.profiles import profiles
from policies.reading.resources import NotDecided, Resource, at, either, is_kind, is_type, items, mappings
from policies.rules import MEDIUM, Found, Limits, best_practices, karpenter_docs, resource_policy

_IMAGES = best_practices("Security: Image security")
_MOVING = ("latest", "main", "master", "stable", "edge", "nightly", "dev")
# With one of these keys, a chart builds the image's name from several values.
_PARTS = frozenset({"repository", "registry", "version", "tag", "imageTag"})
_EXACT = re.compile(r"v?[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?")


def is_pinned(image: str) -> bool:
    """Whether an image has a digest, or a tag that does not move."""
    if "@sha256:" in image:
        return True
    _, colon, tag = image.rpartition("/")[2].partition(":")
    return bool(colon) and tag not in _MOVING and not tag.startswith("latest")


@resource_policy(
    "unpinned-image",
    "A container's image has a version or a digest",
    fix="Add a fixed tag or a digest to image (image.tag in a chart's values)",
    severity=MEDIUM,
    concerns=either(
        helm.RELEASES,
        is_kind("Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "ConfigMap"),
    ),
    framework=_IMAGES,
)
def unpinned_image(resource: Resource, _limits: Limits) -> Iterator[Found]:
    """`latest` can be another program tomorrow, and two nodes may run different ones."""
    if helm.is_release(resource):
        values = helm.values(resource)
        yield from _in_values(values)
        yield from _in_texts(values)
    else:
        for place, container in containers(pod_spec(resource) or {}):
            yield from _image(f"{place} has the image", str(container.get("image")))
    for profile in profiles(resource):
        if profile.image:
            yield from _image(f"profile {profile.name} has the image", profile.image)
        if not helm.is_release(resource):
            for place, container in profile.added_containers():
                yield from _image(f"{place}.image of profile {profile.name} is", str(container["image"]))
        for option in profile.typed_images:
            yield NotDecided(f"the image of profile {profile.name}: people type it in the option {option}")


def _image(place: str, image: str) -> Iterator[Found]:
    if "{{" in image:
        yield NotDecided(f"{place} {image}: the chart renders it")
    elif not is_pinned(image):
        yield f"{place} {image}"


def _in_values(values: Mapping[str, Any]) -> Iterator[Found]:
    for path, mapping in mappings(values, "values"):
        if path.endswith(".kubespawner_override"):
            continue  # examined as profiles
        keys = set(mapping)
        name = next((key for key in ("repository", "name") if key in keys), None)
        if path.endswith(("image", "Image")) and name and "tag" in keys:
            tag = str(mapping["tag"])
            if (tag in _MOVING or tag.startswith("latest")) and not mapping.get("digest"):
                yield f"{path} has the tag {tag}"
        image = mapping["image"] if "image" in keys else None
        if isinstance(image, str) and image and (":" in image or not keys & _PARTS):
            yield from _image(f"{path}.image is", image)


def _in_texts(values: Mapping[str, Any]) -> Iterator[Found]:
    """Charts also take containers as texts, which `_in_values` does not read."""
    for path, mapping in mappings(values, "values"):
        for key in mapping:
            if holds_containers(key) and isinstance(mapping[key], str):
                for place, container in containers_in(mapping[key], f"{path}.{key}"):
                    yield from _image(f"{place}.image is", str(container["image"]))


@resource_policy(
    "unpinned-chart",
    "A Helm release names the chart's exact version",
    fix="Set version to one version of the chart, such as 1.2.3",
    severity=MEDIUM,
    concerns=helm.RELEASES,
    framework=_IMAGES,
)
def unpinned_chart(release: Resource, _limits: Limits) -> Iterator[Found]:
    """Without a version, each `up` may install another one. A chart in a folder or an archive has one version."""
    chart, version = str(release.props.get("chart")), release.props.get("version")
    is_local = chart.endswith(".tgz") or chart.startswith((".", "/", "~"))
    if not is_local and not (isinstance(version, str) and _EXACT.fullmatch(version)):
        yield f"the version of {helm.chart_name(release)} is not exact: {version or 'the newest'}"


@resource_policy(
    "unpinned-node-image",
    "Nodes use a fixed version of their image",
    fix="Name a version in spec.amiSelectorTerms[].alias, such as al2023@v20260930; or give the id of an image and"
    " spec.amiFamily, which is the only way for Windows",
    severity=MEDIUM,
    concerns=is_kind("EC2NodeClass"),
    framework=karpenter_docs("NodeClasses: spec.amiSelectorTerms"),
)
def unpinned_node_image(node_class: Resource, _limits: Limits) -> Iterator[Found]:
    """Otherwise every node drifts on the day AWS publishes a new image."""
    for term in items(at(node_class.props, "spec.amiSelectorTerms")):
        alias, parameter = str(term.get("alias") or ""), str(term.get("ssmParameter") or "")
        if alias.endswith("@latest") or (alias and "@" not in alias):
            yield f"the alias {alias} has no fixed version"
        elif re.search(r"/(latest|recommended)(/|$)", parameter):
            yield f"the parameter {parameter} has no fixed version"
        elif not alias and not term.get("id"):
            selector = f"the parameter {parameter}" if parameter else "its selector (name, tags, owner)"
            yield NotDecided(f"which image {node_class.name} uses: {selector} may select another one tomorrow")


@resource_policy(
    "unpinned-addon",
    "An EKS addon has a fixed version",
    fix="Set addonVersion",
    severity=MEDIUM,
    concerns=is_type("aws:eks/addon:Addon"),
    framework=best_practices("Cluster upgrades: add-ons"),
)
def unpinned_addon(addon: Resource, _limits: Limits) -> Iterator[Found]:
    """Otherwise EKS chooses a version, and another cluster may get another one."""
    if "addonVersion" not in set(addon.props):
        yield f"EKS chooses the version of {addon.props.get('addonName')}"
