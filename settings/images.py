"""`gpulab:images`: whether images come through a cache in the account's own registry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StrictBool

from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import matching

UPSTREAMS: Mapping[str, str] = {"quay.io": "quay", "registry.k8s.io": "k8s"}
"""The registries that are cached, each with the last part of its prefix in the cache.

ECR caches them without credentials. It could cache public.ecr.aws too, but neither the hub nor notebooks have images
there. It cannot cache nvcr.io ("Sync an upstream registry with an Amazon ECR private registry", ECR user guide). For
docker.io and ghcr.io it needs an account there.
"""
# The parts of a tag that say which build it is: a version, a date, a build number or a commit. `b200` is a GPU and not
# a build: where two images share a folder, the packages of one hide those of the other.
_BUILD = re.compile(r"(v|r|rc|rev|build)?\d|b\d{4,}$|[0-9a-f]{7,40}$")
# A rule's prefix has 30 characters at most (CreatePullThroughCacheRule, ECR API reference).
_LONGEST_NAMESPACE = 30 - 1 - max(map(len, UPSTREAMS.values()))
_HASH_CHARACTERS = 6


class Images(Section):
    """Where the images of notebooks and of the hub come from."""

    cache: StrictBool = Field(
        default=False,
        description=f"Whether images of {' and '.join(UPSTREAMS)} come through a cache in ECR, so that pulling them "
        "does not pass a NAT gateway. See docs/costs.md.",
    )
    account: Annotated[str, matching(r"[0-9]{12}", "the number of an AWS account")] | None = Field(
        default=None, description="The stack's account, in quotes; by default that of cluster.administrators."
    )

    @rule
    def _account_of_a_cache(self, facts: Facts) -> Findings:
        if self.account is not None and not self.cache:
            yield ("account",), "has no effect without cache: set cache: true, or leave it out"


@dataclass(frozen=True, kw_only=True)
class ImageCache:
    """A cluster's cache, in one account and region. The names of its repositories begin with `namespace`."""

    account: str
    region: str
    namespace: str

    @property
    def mirror(self) -> Mapping[str, str]:
        """The cache's address for each registry."""
        domain = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        registry = f"{self.account}.dkr.ecr.{self.region}.{domain}"
        return {upstream: f"{registry}/{self.prefix(upstream)}" for upstream in UPSTREAMS}

    def prefix(self, upstream: str) -> str:
        """The first part of the names of an upstream registry's repositories."""
        return f"{self.namespace}/{UPSTREAMS[upstream]}"

    def repositories(self, images: Iterable[str]) -> list[str]:
        """The repositories that hold these images, each once; images of other registries have none."""
        found = []
        for image in images:
            upstream, _, path = without_version(image).partition("/")
            if upstream in UPSTREAMS:
                found.append(f"{self.prefix(upstream)}/{path}")
        return sorted(set(found))


def cache_namespace(cluster_name: str) -> str:
    """The first part of the names of a cluster's repositories: its own name, shortened where ECR would refuse it."""
    name = re.sub(r"-+", "-", cluster_name)
    if name == cluster_name and len(name) <= _LONGEST_NAMESPACE:
        return name
    unique = hashlib.sha256(cluster_name.encode()).hexdigest()[:_HASH_CHARACTERS]
    return f"{name[: _LONGEST_NAMESPACE - _HASH_CHARACTERS - 1].rstrip('-')}-{unique}"


def without_version(image: str) -> str:
    """An image's name without its tag and digest."""
    name = image.partition("@")[0]
    head, colon, tag = name.rpartition(":")
    return head if colon and "/" not in tag else name


def image_line(image: str) -> str:
    """What the builds of an image have in common, as a path: its name, and its tag without version and date.

    `quay.io/jupyter/pytorch-notebook:cuda12-2026-08-03` is in the line quay.io/jupyter/pytorch-notebook-cuda12.
    """
    name = without_version(image)
    tag = image.partition("@")[0].removeprefix(name).removeprefix(":")
    kind = (part for part in re.split("[-_.+]", tag) if part and not _BUILD.match(part))
    # A path of searches has colons between its entries, and a registry has one before its port.
    return "-".join((name, *kind)).replace(":", "-")
