"""A stack on a cluster that exists: what its file says under `gpulab:`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from settings.ground import ExistingGround, on_eks_only
from settings.language.section import Facts
from settings.pools.fixed_pools import FixedPool
from settings.pools.node_pools import PoolName
from settings.site_ingress import SiteIngress
from settings.site_storage import SiteStorage
from settings.stack import Settings, StackSettings


class ExistingStack(StackSettings):
    """What a stack file has under `gpulab:` for a cluster that exists."""

    kind = "existing"
    elsewhere = on_eks_only(
        network="the cluster has its own",
        cluster="ground names the cluster (context, distribution)",
        tags="there are no AWS resources to tag",
        images="a registry of the site serves in its place (hub.registry)",
        permissionsBoundary="there are no roles of IAM",
    )

    ground: ExistingGround = Field(description="The cluster: kind, kubeconfig, context, distribution.")
    node_pools: dict[PoolName, FixedPool] = Field(
        description="Nodes that are there, by the pool's name, at least one pool: selector or nodes, and gpus.",
        json_schema_extra={"minProperties": 1, "additionalProperties": False},
    )
    storage: SiteStorage = Field(
        default=SiteStorage(), description="Homes and shared volumes: homes, homeClass, volumes."
    )
    ingress: SiteIngress = Field(
        default=SiteIngress(), description="How users reach the platform: access, domain, class."
    )

    def settings(self, facts: Facts, sections: Mapping[str, Any]) -> ExistingSettings:
        """The settings."""
        return ExistingSettings(stack=facts.stack or "", **sections)


@dataclass(frozen=True, kw_only=True)
class ExistingSettings(Settings):
    """Everything that a stack on an existing cluster is made from."""

    ground: ExistingGround
    node_pools: dict[str, FixedPool]
    storage: SiteStorage
    """With the writers that the teams name."""
    ingress: SiteIngress

    @property
    def name(self) -> str:
        """That of the stack: the cluster has a name that others gave it."""
        return f"gpulab-{self.stack}"

    def summary(self) -> Iterator[str]:
        """What it comes to, a line each."""
        yield f"Stack {self.stack}, on the {self.ground.distribution} cluster of context {self.ground.context}"
        for name, pool in self.node_pools.items():
            which = ", ".join(pool.nodes or (f"{key}={value}" for key, value in pool.selector.items()))
            yield f"  pool {name}: nodes {which}"
