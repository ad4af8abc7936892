"""Whether the images of a stack's pools are for its version of Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping

from contracts import node_images
from settings.language.section import Findings
from settings.pools.node_pools import NodePool


def version_findings(pools: Mapping[str, NodePool], kubernetes: str) -> Findings:
    """Images that are older than the version: Karpenter would find none and start no node. Paths are the stack's."""
    for name, pool in pools.items():
        images, system = node_images(), pool.ami.family.lower()
        if not images.is_for(pool.ami.alias, kubernetes):
            yield (
                ("nodePools", name, "ami", "alias"),
                f"has no image for Kubernetes {kubernetes} (cluster.version): "
                f"take {system}@{images.kubernetes[system][kubernetes]} or later",
            )
