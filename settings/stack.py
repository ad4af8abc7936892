"""What every stack's settings have, whatever they stand on: the sections under `gpulab:` that all grounds share."""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, StrictBool

from settings.charts import ChartName, ChartSource
from settings.ground import GroundKind
from settings.images import ImageCache
from settings.language.section import Facts, Findings, Mistake, Section, rule
from settings.language.values import Check, tag_value
from settings.lifecycle import Lifecycle
from settings.notebooks.findings import default_findings, length_findings
from settings.notebooks.hub import Front, Hub, has_subdomains, hub_findings
from settings.notebooks.profiles import Profile
from settings.people.findings import membership_findings, mps_findings, sum_findings, volume_findings
from settings.people.identity import Identity, account_findings, domain_findings
from settings.people.names import ProfileName, TeamName
from settings.people.teams import Team

if TYPE_CHECKING:
    from settings.pools.pool import Pool
    from settings.storage import Files

PROJECT = "gpulab"
"""The project's name, and so the namespace of its settings."""


def _responsible(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return tag_value(text)


class StackSettings(Section):
    """What a stack file has under `gpulab:` on any ground. Each ground adds its pools, storage and ingress."""

    kind: ClassVar[GroundKind]
    """The kind of its ground."""
    in_a_region: ClassVar[bool] = False
    """Whether it is in a region of AWS."""
    more_gpus: ClassVar[str]
    """How its pools get more GPUs, as an instruction."""
    needed: ClassVar[tuple[str, ...]] = ("lifecycle.kind", "storage.retain", "storage.homes", "identity", "hub")
    """What a destroy, parking and the search for leftovers need of the file."""

    if TYPE_CHECKING:

        @property
        def node_pools(self) -> Mapping[str, Pool]: ...

        @property
        def storage(self) -> Files: ...

        @property
        def ingress(self) -> Front: ...

    owner: Annotated[str, Check(_responsible)] = Field(
        description="Who is responsible for the cost, an e-mail address or a name; tag Owner of every resource."
    )
    cost_center: Annotated[str, Check(_responsible)] = Field(
        description="The cost centre that pays; tag CostCenter of every resource."
    )
    lifecycle: Lifecycle = Field(description="How long the stack is meant to live: kind, expires, unlock.")
    charts: dict[ChartName, ChartSource] = Field(
        default={}, description="Other sources of Helm charts, by the chart's name."
    )
    identity: Identity | None = Field(
        default=None, description="How people sign in: at least administrators. None: no Keycloak."
    )
    teams: dict[TeamName, Team] = Field(
        default={},
        description="The teams by name: description, quota and profiles, and what else they may use.",
        json_schema_extra={"additionalProperties": False},
    )
    overcommit: StrictBool = Field(
        default=False,
        description="Whether the teams' GPU quotas may add up to more than the pools may have. Then the first who "
        "starts a notebook gets the GPU.",
    )
    profiles: dict[ProfileName, Profile] = Field(
        default={},
        description="What people choose from when they start a notebook, by name: displayName, image, cpu and memory.",
        json_schema_extra={"additionalProperties": False},
    )
    hub: Hub | None = Field(
        default=None,
        description="JupyterHub. Made by default when there are teams and an identity section; signIn has other ways.",
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Teams whose people can sign in get a hub, whether or not the file names one."""
        return {"hub": {}, **given} if given.get("teams") and given.get("identity") else given

    def settings(self, facts: Facts, sections: Mapping[str, Any]) -> Settings:
        """The settings of a stack with these sections, by their fields' names; each ground's class has its own."""
        raise NotImplementedError

    def warnings(self, today: datetime.date) -> Findings:
        """What is accepted but deserves a look, each by its path."""
        if self.identity:
            yield from account_findings(self.identity)

    @rule
    def _some_node_pool(self, facts: Facts) -> Findings:
        if not self.node_pools:
            yield ("nodePools",), "must have at least one pool"

    @rule
    def _profiles_that_the_catalogue_holds(self, facts: Facts) -> Findings:
        yield from length_findings(self.profiles)

    @rule
    def _one_team_on_gpus_shared_by_mps(self, facts: Facts) -> Findings:
        yield from mps_findings(self.teams, self.node_pools)

    @rule
    def _quotas_within_the_pools(self, facts: Facts) -> Findings:
        if not self.overcommit:
            yield from sum_findings(self.teams, self.node_pools, self.more_gpus)

    @rule
    def _volumes_of_teams(self, facts: Facts) -> Findings:
        yield from volume_findings(self.teams, self.storage)

    @rule
    def _members_of_teams_that_are_there(self, facts: Facts) -> Findings:
        if self.teams:
            yield from membership_findings(self.teams, self.storage, self.identity, self.hub)

    @rule
    def _one_profile_to_begin_with(self, facts: Facts) -> Findings:
        for name, team in self.teams.items():
            yield from default_findings(name, team.profiles, self.profiles)

    @rule
    def _hub_with_what_it_needs(self, facts: Facts) -> Findings:
        yield from hub_findings(
            self.hub,
            self.identity,
            teams=self.teams,
            has_profiles=bool(self.profiles),
            domain=self.ingress.domain,
            on_the_internet=self.ingress.on_the_internet,
        )

    @rule
    def _sign_in_at_the_domain(self, facts: Facts) -> Findings:
        if self.identity is not None:
            below = has_subdomains(self.hub, self.ingress)
            yield from domain_findings(self.identity, self.ingress.domain, has_subdomains=below)


@dataclass(frozen=True, kw_only=True)
class Settings(ABC):
    """What a stack is made from on any ground. Each ground has a class of its own, with its pools, storage, ingress."""

    stack: str
    owner: str
    cost_center: str
    lifecycle: Lifecycle
    charts: dict[str, ChartSource]
    identity: Identity | None = None
    teams: dict[str, Team] = field(default_factory=dict)
    overcommit: bool = False
    profiles: dict[str, Profile] = field(default_factory=dict)
    hub: Hub | None = None
    """As in the stack file; see `running_hub`. Where a hub runs there are teams, and what its `sign_in` needs."""
    warnings: tuple[Mistake, ...] = ()
    """What is accepted but deserves a look."""

    if TYPE_CHECKING:

        @property
        def node_pools(self) -> Mapping[str, Pool]: ...

        @property
        def storage(self) -> Files: ...

        @property
        def ingress(self) -> Front: ...

    @property
    @abstractmethod
    def name(self) -> str:
        """What the names of the platform's resources begin with."""

    @abstractmethod
    def summary(self) -> Iterator[str]:
        """What it comes to, a line each."""

    @property
    def kubectl(self) -> str:
        """How `kubectl` begins in commands for people."""
        return "kubectl"

    @property
    def signs_in_to_kubernetes(self) -> bool:
        """Whether the Kubernetes API takes the tokens of Keycloak."""
        return False

    @property
    def runtime_class(self) -> str | None:
        """The RuntimeClass of pods with GPUs; None where the nodes need none."""
        return None

    @property
    def image_cache(self) -> ImageCache | None:
        """The cache that images come through; None without one."""
        return None

    @property
    def running_hub(self) -> Hub | None:
        """The settings of the hub; None where there is none."""
        return self.hub if self.hub and self.hub.enabled else None

    @property
    def has_subdomains(self) -> bool:
        """Whether each person's notebooks have a name of their own, below the hub's."""
        return has_subdomains(self.hub, self.ingress)

    @property
    def administrators_enter_notebooks(self) -> bool:
        """Whether administrators may open people's notebooks. By default only where these can't act as the reader."""
        hub = self.running_hub
        return bool(hub and (self.has_subdomains if hub.administrator_access is None else hub.administrator_access))
