"""The container images that the platform chooses, and the digests of images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from contracts.files import read


def image(name: str) -> str:
    """The container image of that name, with its tag. Raises KeyError if there is no such pin.

    The images that a chart chooses are in the chart's values.
    """
    return image_pins()[name]


@cache
def image_pins() -> Mapping[str, str]:
    """Every image that the platform chooses, by name."""
    return MappingProxyType(read("images.json")["images"])


def image_digest(reference: str) -> str | None:
    """The digest, `sha256:…`, of an image with its tag (`quay.io/keycloak/keycloak:26.8.2`); None if unknown."""
    return image_digests().get(reference)


@cache
def image_digests() -> Mapping[str, str]:
    """The known digests, by the image with its tag."""
    return MappingProxyType({tag: found["digest"] for tag, found in read("images.json")["digests"].items()})
