"""`gpulab:images`: whether images come through a cache in the account's own registry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StrictBool

from settings.section import Facts, Findings, Section, rule
from settings.values import matching

UPSTREAMS: Mapping[str, str] = {"quay.io": "quay", "registry.k8s.io": "k8s"}
"""The registries that the cache stands for, with the end of its prefix for each.

ECR serves them without credentials, as it does public.ecr.aws, of which the hub and its notebooks have no image. It
does not know nvcr.io ("Sync an upstream registry with an Amazon ECR private registry", ECR user guide); for docker.io
and ghcr.io it asks for an account there.
"""
# A rule's prefix has 30 characters at most (CreatePullThroughCacheRule, ECR API reference).
_LONGEST_NAMESPACE = 30 - 1 - max(map(len, UPSTREAMS.values()))
_HASH_CHARACTERS = 6


class Images(Section):
    """Where the images of notebooks and of the hub come from."""

    cache: StrictBool = Field(
        default=False,
        description=f"Whether images of {' and '.join(UPSTREAMS)} come through a cache in ECR, so that their layers "
        "take no NAT gateway. See docs/costs.md.",
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
    """The cache of a cluster, in one account and region. `namespace` is what its repositories' names begin with."""

    account: str
    region: str
    namespace: str

    @property
    def mirror(self) -> Mapping[str, str]:
        """What stands in the place of each registry."""
        domain = "amazonaws.com.cn" if self.region.startswith("cn-") else "amazonaws.com"
        registry = f"{self.account}.dkr.ecr.{self.region}.{domain}"
        return {upstream: f"{registry}/{self.prefix(upstream)}" for upstream in UPSTREAMS}

    def prefix(self, upstream: str) -> str:
        """What the names of the repositories of an upstream registry begin with."""
        return f"{self.namespace}/{UPSTREAMS[upstream]}"

    def repositories(self, images: Iterable[str]) -> list[str]:
        """The repositories that hold these images, each once; none for those of other registries."""
        found = []
        for image in images:
            upstream, _, path = without_version(image).partition("/")
            if upstream in UPSTREAMS:
                found.append(f"{self.prefix(upstream)}/{path}")
        return sorted(set(found))


def cache_namespace(cluster_name: str) -> str:
    """What the names of a cluster's repositories begin with: its own name, cut where ECR would not take all of it."""
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
