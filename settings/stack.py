"""The whole of a stack's settings: everything under `gpulab:`, and the region."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field, StrictBool

from settings.charts import ChartName, ChartSource
from settings.cluster import Cluster
from settings.gpu_fitting import stack_findings
from settings.hub import Hub, hub_findings
from settings.identity import Identity, domain_findings
from settings.images import ImageCache, Images, cache_namespace
from settings.ingress import Ingress
from settings.keycloak_findings import keycloak_findings
from settings.lifecycle import Lifecycle
from settings.network import Network
from settings.node_images import version_findings
from settings.node_pools import NodePool, PoolName
from settings.profile_findings import default_findings, length_findings, profile_findings
from settings.profiles import Profile
from settings.section import Facts, Findings, Mistake, Section, rule
from settings.storage import Storage
from settings.team_findings import (
    membership_findings,
    oidc_findings,
    sum_findings,
    team_findings,
    volume_findings,
)
from settings.team_names import ProfileName, TeamName
from settings.teams import Team
from settings.values import Check, tag_value

PROJECT = "gpulab"
"""The project's name, and so the namespace of its settings."""

OWN_TAGS = ("Name", "Owner", "CostCenter", "Project", "Stack", "Lifecycle", "Expires")
"""The tags that the platform sets, which a stack's free tags must leave alone."""

# AWS takes 50 tags on a resource; ours, Karpenter's and the controllers' come on top.
_FREE_TAGS_LIMIT = 40
_RESERVED_TAGS = ("aws:", "eks:", "kubernetes.io/", "karpenter.sh/", "karpenter.k8s.aws/", "gpulab.dev/")

REGION_PATTERN = r"[a-z]{2}(-[a-z]+)+-[1-9]"
"""What names of AWS regions look like; which ones there are changes every year."""


def _responsible(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return tag_value(text)


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
        raise ValueError(f"is set by the platform: {', '.join(OWN_TAGS)} are not free")
    return tag_value(key)


class StackSettings(Section):
    """What a stack file has under `gpulab:`."""

    owner: Annotated[str, Check(_responsible)] = Field(
        description="Who answers for the bill, an e-mail address or a name; tag Owner of every resource."
    )
    cost_center: Annotated[str, Check(_responsible)] = Field(
        description="What the bill is booked on; tag CostCenter of every resource."
    )
    tags: dict[Annotated[str, Check(_tag_key)], Annotated[str, Check(tag_value)]] = Field(
        default={}, description="Free tags of every AWS resource."
    )
    lifecycle: Lifecycle = Field(description="How long the stack is meant to live: kind, expires, unlock.")
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
    charts: dict[ChartName, ChartSource] = Field(
        default={}, description="Helm charts that come from elsewhere, by name."
    )
    identity: Identity | None = Field(
        default=None, description="How people sign in: at least administrators. None: no Keycloak."
    )
    teams: dict[TeamName, Team] = Field(
        default={},
        description="The teams by name: description, quota and profiles, and what else they reach.",
        json_schema_extra={"additionalProperties": False},
    )
    overcommit: StrictBool = Field(
        default=False,
        description="Whether the teams' GPU quotas may exceed together what the pools may have: who comes first is "
        "served first.",
    )
    profiles: dict[ProfileName, Profile] = Field(
        default={},
        description="What people choose from when they start a notebook, by name: displayName, image, cpu and memory.",
        json_schema_extra={"additionalProperties": False},
    )
    hub: Hub | None = Field(
        default=None, description="JupyterHub. It is there in any case when there are teams and an identity section."
    )
    images: Images = Field(default=Images(), description="Where images of notebooks and of the hub come from: cache.")
    permissions_boundary: Annotated[str, Check(_policy_arn)] | None = Field(
        default=None,
        description="ARN of the IAM policy that bounds every role of the stack, as bootstrap/ makes it (none).",
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Teams whose people can sign in have a hub, said or not."""
        return {"hub": {}, **given} if given.get("teams") and given.get("identity") else given

    @rule
    def _some_node_pool(self, facts: Facts) -> Findings:
        if not self.node_pools:
            yield ("nodePools",), "must have at least one pool"

    @rule
    def _pools_that_share_gpus_in_one_way(self, facts: Facts) -> Findings:
        yield from stack_findings(self.node_pools)

    @rule
    def _images_of_the_version(self, facts: Facts) -> Findings:
        yield from version_findings(self.node_pools, self.cluster.version)

    @rule
    def _profiles_that_pools_can_run(self, facts: Facts) -> Findings:
        yield from profile_findings(self.profiles, self.node_pools)

    @rule
    def _profiles_that_the_catalogue_holds(self, facts: Facts) -> Findings:
        yield from length_findings(self.profiles)

    @rule
    def _teams_that_can_use_what_they_have(self, facts: Facts) -> Findings:
        yield from team_findings(self.teams, self.node_pools, self.profiles)

    @rule
    def _quotas_within_the_pools(self, facts: Facts) -> Findings:
        if not self.overcommit:
            yield from sum_findings(self.teams, self.node_pools)

    @rule
    def _volumes_of_teams(self, facts: Facts) -> Findings:
        yield from volume_findings(self.teams, self.storage)

    @rule
    def _members_of_teams_that_are_there(self, facts: Facts) -> Findings:
        if self.teams:
            yield from membership_findings(self.teams, self.storage, self.identity)

    @rule
    def _issuer_that_eks_reaches(self, facts: Facts) -> Findings:
        yield from oidc_findings(self.cluster, self.identity, self.ingress)

    @rule
    def _one_profile_to_begin_with(self, facts: Facts) -> Findings:
        for name, team in self.teams.items():
            yield from default_findings(name, team.profiles, self.profiles)

    @rule
    def _hub_with_what_it_needs(self, facts: Facts) -> Findings:
        yield from hub_findings(self.hub, self.identity, has_teams=bool(self.teams), has_profiles=bool(self.profiles))

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
                "time only where there is a NAT gateway. Name a mirror in hub.registry.mirror instead, or have a NAT",
            )

    @rule
    def _sign_in_at_the_domain(self, facts: Facts) -> Findings:
        if self.identity is not None:
            yield from domain_findings(self.identity, self.ingress)

    @rule
    def _room_for_keycloak(self, facts: Facts) -> Findings:
        if self.identity is not None:
            yield from keycloak_findings(self.identity, self.cluster.system_nodes, self.node_pools)

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
                yield ("tags", key), f"differs from {other} in letter case alone, which IAM does not tell apart"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that a stack's components are made from."""

    region: str
    stack: str
    owner: str
    cost_center: str
    tags: dict[str, str]
    """The free tags alone; see `resource_tags`."""
    lifecycle: Lifecycle
    network: Network
    cluster: Cluster
    node_pools: dict[str, NodePool]
    storage: Storage
    """With the writers that the teams name."""
    ingress: Ingress
    charts: dict[str, ChartSource]
    identity: Identity | None = None
    teams: dict[str, Team] = field(default_factory=dict)
    overcommit: bool = False
    profiles: dict[str, Profile] = field(default_factory=dict)
    permissions_boundary: str | None = None
    images: Images = field(default_factory=Images)
    hub: Hub | None = None
    """As the stack file has it; see `running_hub`. Where one runs, there are teams and an identity too."""
    warnings: tuple[Mistake, ...] = ()
    """What is accepted and deserves a look."""

    @property
    def running_hub(self) -> Hub | None:
        """The settings of the hub that there is; None without one."""
        return self.hub if self.hub and self.hub.enabled else None

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
        """The tags of nodes: those that say whose they are, for good, as a node whose tags change is replaced."""
        own = {"Owner": self.owner, "CostCenter": self.cost_center, "Project": PROJECT, "Stack": self.stack}
        return {**self.tags, **own}
