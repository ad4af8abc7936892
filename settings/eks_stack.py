"""A stack on EKS: what its file says under `gpulab:`, and its region."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from settings.address_need import address_findings
from settings.cluster import Cluster
from settings.ground import EksGround, on_existing_only
from settings.images import UPSTREAMS, ImageCache, Images, cache_namespace
from settings.ingress import Ingress
from settings.kubernetes_versions import notice
from settings.language.section import Facts, Findings, Mistake, SettingsError, rule
from settings.language.values import Check, tag_value
from settings.network import Network
from settings.notebooks.findings import fallback_findings, profile_findings, suitable_types
from settings.people.findings import oidc_findings, reach_findings, team_findings
from settings.pools.gpu_shares import strategy_findings
from settings.pools.node_images import version_findings
from settings.pools.node_pools import NodePool, PoolName
from settings.stack import PROJECT, Settings, StackSettings
from settings.storage import Storage
from settings.system_findings import system_findings

OWN_TAGS = ("Name", "Owner", "CostCenter", "Project", "Stack", "Lifecycle", "Expires")
"""The tags that the platform sets itself, so the stack file must not."""

# AWS takes 50 tags on a resource; the platform, Karpenter and controllers add theirs.
_FREE_TAGS_LIMIT = 40
_RESERVED_TAGS = ("aws:", "eks:", "kubernetes.io/", "karpenter.sh/", "karpenter.k8s.aws/", "gpulab.dev/")

REGION_PATTERN = r"[a-z]{2}(-[a-z]+)+-[1-9]"
"""What names of AWS regions look like. Which ones exist changes every year, so that is not checked."""


def _policy_arn(arn: str) -> str:
    if not re.fullmatch(r"arn:aws(-[a-z]+)*:iam::([0-9]{12}|aws):policy/[!-~]*[A-Za-z0-9_+=,.@-]", arn):
        example = "arn:aws:iam::123456789012:policy/gpulab-bootstrap/gpulab-boundary"
        raise ValueError(f"must be the ARN of an IAM policy, such as {example}")
    return arn


def _tag_key(key: str) -> str:
    if not 1 <= len(key) <= 128:
        raise ValueError(f"has {len(key)} characters: a tag's key has 1 to 128")
    if key.lower().startswith(_RESERVED_TAGS):
        raise ValueError(f"is reserved: a tag's key must not begin with {', '.join(_RESERVED_TAGS)}")
    if key.lower() in [own.lower() for own in OWN_TAGS]:
        raise ValueError(f"is set by the platform, as are all of {', '.join(OWN_TAGS)}: leave it out")
    return tag_value(key)


class EksStack(StackSettings):
    """What a stack file has under `gpulab:` for a new EKS cluster."""

    kind = "eks"
    in_a_region = True
    elsewhere = on_existing_only(gpu="the GPU Operator gives GPUs to pods, and nodePools.NAME.gpu says how")
    more_gpus = "raise limits.gpus of a pool"
    needed = (
        *StackSettings.needed,
        *("lifecycle.expires", "lifecycle.unlock", "lifecycle.park_at_night"),
        *("cluster.name", "cluster.system_nodes.count", "ingress.domain"),
    )

    ground: EksGround = Field(default=EksGround(), description="What the platform stands on: kind.")
    tags: dict[Annotated[str, Check(_tag_key)], Annotated[str, Check(tag_value)]] = Field(
        default={}, description="Your own tags, set on every AWS resource."
    )
    network: Network = Field(description="The VPC: at least cidr and zones.")
    cluster: Cluster = Field(description="The EKS cluster: at least version and administrators.")
    node_pools: dict[PoolName, NodePool] = Field(
        description="The node pools by name, at least one: categories or families, limits, and gpus for GPU pools.",
        json_schema_extra={"minProperties": 1, "additionalProperties": False},
    )
    storage: Storage = Field(
        default=Storage(),
        description="Homes, shared volumes and their backups: homes, efs, gp3, backup, volumes, retain.",
    )
    ingress: Ingress = Field(
        default=Ingress(), description="How users reach the platform: access, and a domain for a load balancer."
    )
    images: Images = Field(default=Images(), description="Where images of notebooks and of the hub come from: cache.")
    permissions_boundary: Annotated[str, Check(_policy_arn)] | None = Field(
        default=None,
        description="ARN of the IAM policy that bounds every role of the stack; bootstrap/ makes one. None by default.",
    )

    @rule
    def _pools_that_share_gpus_in_one_way(self, facts: Facts) -> Findings:
        yield from strategy_findings(self.node_pools)

    @rule
    def _images_of_the_version(self, facts: Facts) -> Findings:
        yield from version_findings(self.node_pools, self.cluster.version)

    @rule
    def _profiles_that_pools_can_run(self, facts: Facts) -> Findings:
        yield from profile_findings(self.profiles, self.node_pools)

    @rule
    def _teams_that_can_use_what_they_have(self, facts: Facts) -> Findings:
        yield from team_findings(
            self.teams, self.node_pools, self.profiles, lambda profile, pool: bool(suitable_types(profile, pool))
        )

    @rule
    def _nothing_of_the_cluster_that_teams_reach(self, facts: Facts) -> Findings:
        yield from reach_findings(self.teams, self.network.cluster_ranges)

    @rule
    def _issuer_that_eks_reaches(self, facts: Facts) -> Findings:
        yield from oidc_findings(self.cluster, self.identity, self.ingress)

    @rule
    def _one_mirror_that_nodes_reach(self, facts: Facts) -> Findings:
        mirror = self.hub and self.hub.registry and self.hub.registry.mirror
        if self.images.cache and mirror:
            yield ("images", "cache"), "is a second mirror beside hub.registry.mirror: leave one of them out"
        elif self.images.cache and self.network.nat == "none":
            # "Considerations for Amazon ECR VPC endpoints", ECR user guide.
            yield (
                ("images", "cache"),
                "cannot be filled with network.nat none: through a VPC endpoint ECR fetches an image for the first "
                "time only where there is a NAT gateway. Name a mirror in hub.registry.mirror instead, or change nat",
            )

    @rule
    def _room_on_the_system_nodes(self, facts: Facts) -> Findings:
        karpenters = self.lifecycle.karpenters
        yield from system_findings(self.identity, self.hub, self.cluster.system_nodes, karpenters=karpenters)

    @rule
    def _not_too_many_tags(self, facts: Facts) -> Findings:
        if len(self.tags) > _FREE_TAGS_LIMIT:
            yield ("tags",), f"has {len(self.tags)} tags: {_FREE_TAGS_LIMIT} at most, as AWS takes 50 in all"

    @rule
    def _tags_that_differ_in_more_than_case(self, facts: Facts) -> Findings:
        first: dict[str, str] = {}
        for key in self.tags:
            other = first.setdefault(key.lower(), key)
            if other != key:
                yield ("tags", key), f"differs from {other} only in letter case, which IAM ignores"

    def settings(self, facts: Facts, sections: Mapping[str, Any]) -> EksSettings:
        """The settings, in a region."""
        return EksSettings(region=facts.region or "", stack=facts.stack or "", **sections)

    def warnings(self, today: datetime.date) -> Findings:
        """Beside those of every stack: what AWS ends, does not have, or charges for."""
        if said := notice(self.cluster.version, self.cluster.upgrade_policy, today):
            yield ("cluster", "version"), said
        hub = self.hub if self.hub and self.hub.enabled else None
        if self.network.nat == "none" and hub and not (hub.registry and hub.registry.mirror):
            yield (
                ("network", "nat"),
                f"is none, so nodes cannot reach {' and '.join(UPSTREAMS)}, where the hub's images are: name a "
                "registry that the VPC reaches in hub.registry.mirror, unless the VPC has a way out that this stack "
                "did not make",
            )
        yield from super().warnings(today)
        yield from address_findings(self)
        yield from fallback_findings(self.node_pools, self.profiles)


def on_eks(settings: Settings) -> EksSettings:
    """The settings of a stack on EKS. Raises SettingsError for one on any other ground."""
    if isinstance(settings, EksSettings):
        return settings
    known = Mistake(f"{PROJECT}:ground.kind", "must be eks: this is about what the stack has in AWS, which is nothing")
    raise SettingsError(settings.stack, [known])


@dataclass(frozen=True, kw_only=True)
class EksSettings(Settings):
    """Everything that a stack on EKS is made from."""

    region: str
    ground: EksGround = field(default_factory=EksGround)
    tags: dict[str, str]
    """The stack file's own tags; `resource_tags` has all."""
    network: Network
    cluster: Cluster
    node_pools: dict[str, NodePool]
    storage: Storage
    """With the writers that the teams name."""
    ingress: Ingress
    permissions_boundary: str | None = None
    images: Images = field(default_factory=Images)

    @property
    def name(self) -> str:
        """The cluster's."""
        return self.cluster.name

    def summary(self) -> Iterator[str]:
        """What it comes to, a line each."""
        yield f"Stack {self.stack}, cluster {self.cluster.name} in {self.region}"
        for name, pool in self.node_pools.items():
            cheapest = pool.instance_types[0].name
            most = f" up to {pool.max_price:g} USD an hour" if pool.max_price is not None else ""
            types = len(pool.instance_types)
            yield f"  pool {name}: {types} instance types{most}, the cheapest on demand is {cheapest}"

    @property
    def signs_in_to_kubernetes(self) -> bool:
        """Whether EKS takes the tokens of Keycloak."""
        return self.cluster.oidc

    @property
    def image_cache(self) -> ImageCache | None:
        """The cache that images come through; None without one."""
        if not self.images.cache:
            return None
        account = self.images.account or self.cluster.administrators[0].split(":")[4]
        return ImageCache(account=account, region=self.region, namespace=cache_namespace(self.cluster.name))

    @property
    def resource_tags(self) -> dict[str, str]:
        """The tags of every AWS resource."""
        expires = {"Expires": str(self.lifecycle.expires)} if self.lifecycle.expires else {}
        return {**self.node_tags, "Lifecycle": self.lifecycle.kind, **expires}

    @property
    def node_tags(self) -> dict[str, str]:
        """The tags of nodes: those that name their owner and never change, as a change of tags replaces a node."""
        own = {"Owner": self.owner, "CostCenter": self.cost_center, "Project": PROJECT, "Stack": self.stack}
        return {**self.tags, **own}
