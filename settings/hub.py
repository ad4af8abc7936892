"""`gpulab:hub`: JupyterHub, where people start notebooks. Its sign-in is that of `gpulab:identity`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt

from settings.identity import Identity
from settings.rds import RDS_FIELDS, InstanceClass, class_problem, foreign_findings
from settings.secret_reference import Secret
from settings.section import Facts, Findings, Section, rule
from settings.values import DISTINCT, Duration, matching, seconds, whole, without_default

DATABASE = "jupyterhub"
"""What follows the cluster's name in that of the hub's database."""

_SHORTEST_REFRESH, _LONGEST_REFRESH = 60, 24 * 3600
_SHORTEST_START, _LONGEST_START = 60, 3600
_SHORTEST_CULL, _LONGEST_CULL = 30, 3600
_SMALLEST_RDS_GIB = 20

_ORGANIZATION = r"[A-Za-z0-9]([A-Za-z0-9-]{0,37}[A-Za-z0-9])?"


class HubDatabase(Section):
    """What the hub remembers: who runs which notebook since when, people's tokens (encrypted); no files of theirs."""

    kind: Literal["volume", "rds"] = Field(
        default="volume",
        description="volume: SQLite on a gp3 volume, in one zone. rds: PostgreSQL on Amazon RDS; in production the "
        "default.",
        json_schema_extra=without_default,
    )
    size: Annotated[StrictInt, whole(1, 16384, "GiB")] = Field(
        default=4, description="GiB; 4 by default, for rds 20.", json_schema_extra=without_default
    )
    instance_class: InstanceClass = Field(default="db.t4g.small", description="rds: instance class.")
    multi_az: StrictBool = Field(
        default=False,
        description="rds: a standby in another zone; by default in production alone.",
        json_schema_extra=without_default,
    )
    backup_days: Annotated[StrictInt, whole(1, 35, "days")] = Field(
        default=7, description="rds: days that daily backups are kept."
    )
    final_snapshot: StrictBool = Field(
        default=False,
        description="rds: whether a destroy leaves a last snapshot; by default in production alone.",
        json_schema_extra=without_default,
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """Production survives a zone and keeps a last snapshot."""
        complete = {"kind": "rds" if facts.production else "volume", **given}
        if complete["kind"] != "rds":
            return complete
        production = {"multiAz": True, "finalSnapshot": True} if facts.production else {}
        return {"size": _SMALLEST_RDS_GIB, **production, **complete}

    @rule
    def _keys_of_its_kind(self, facts: Facts) -> Findings:
        yield from foreign_findings(self, self.kind, {"rds": RDS_FIELDS})

    @rule
    def _class_that_rds_has(self, facts: Facts) -> Findings:
        if self.kind == "rds" and (problem := class_problem(self.instance_class, facts.region)):
            yield ("instanceClass",), problem

    @rule
    def _size_that_rds_takes(self, facts: Facts) -> Findings:
        if self.kind == "rds" and self.size < _SMALLEST_RDS_GIB:
            yield ("size",), f"must be {_SMALLEST_RDS_GIB} GiB at least, as RDS has nothing smaller"


class Culling(Section):
    """How the hub ends notebooks that nobody uses; after how long, each profile says (`idle`, `lifetime`)."""

    every: Duration = Field(default="2m", description="How often the hub looks.")
    warn: Annotated[StrictInt, whole(1, 120, "minutes")] = Field(
        default=10, description="Minutes before its end at which a notebook's owner is told."
    )

    @rule
    def _often_enough(self, facts: Facts) -> Findings:
        if not _SHORTEST_CULL <= seconds(self.every) <= _LONGEST_CULL:
            yield ("every",), f"must be {_SHORTEST_CULL}s to {_LONGEST_CULL // 60}m"

    @rule
    def _looked_before_the_end(self, facts: Facts) -> Findings:
        if seconds(self.every) > self.warn * 60:
            yield ("warn",), f"is shorter than every, {self.every}: a notebook would end before anybody was told"


class GithubAccess(Section):
    """Who of those that GitHub vouches for gets in: anybody may have an account there."""

    organizations: Annotated[
        tuple[Annotated[str, matching(_ORGANIZATION, "the name of a GitHub organisation")], ...], DISTINCT
    ] = Field(default=(), description="Organisations whose members get in.")
    teams: Annotated[
        tuple[Annotated[str, matching(rf"{_ORGANIZATION}/[a-z0-9_.-]+", "ORGANISATION/TEAM, the team's slug")], ...],
        DISTINCT,
    ] = Field(default=(), description="Teams whose members get in, as ORGANISATION/TEAM.")

    @rule
    def _somebody(self, facts: Facts) -> Findings:
        if not self.organizations and not self.teams:
            yield (), "must name organizations, or teams, or both: anybody may have an account at GitHub"


class Registry(Section):
    """A private registry that images come through."""

    mirror: (
        Annotated[
            str,
            matching(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*", "a registry such as mirror.example.com:5000/quay"),
        ]
        | None
    ) = Field(
        default=None,
        description="Registry, with a path if it has one, that stands in the place of each image's own, of "
        "profiles' and of the hub's.",
    )
    pull_secret: Secret | None = Field(
        default=None,
        description="Where the registry's credentials lie in AWS Secrets Manager: the text of a Docker config.json "
        "with auths. Each team's namespace gets them.",
    )

    @rule
    def _mirror_or_secret(self, facts: Facts) -> Findings:
        if self.mirror is None and self.pull_secret is None:
            yield (), "must have a mirror, or a pullSecret, or both"

    @rule
    def _secret_that_every_namespace_gets(self, facts: Facts) -> Findings:
        if self.pull_secret is not None and self.pull_secret.kubernetes_secret is not None:
            yield (
                ("pullSecret", "kubernetesSecret"),
                "is in one namespace, and every team's needs it: put it into AWS Secrets Manager (secretsManager)",
            )


class Hub(Section):
    """JupyterHub; made when there are teams and an identity section."""

    enabled: StrictBool = Field(
        default=True, description="false takes the hub away, with the notebooks that run; homes and teams stay."
    )
    database: HubDatabase = Field(default=HubDatabase(), description="What the hub remembers, and where.")
    culling: Culling = Field(default=Culling(), description="How notebooks that nobody uses are ended.")
    start_timeout: Duration = Field(
        default="10m", description="How long a notebook may take to start, the purchase of a node included."
    )
    refresh_groups: Duration = Field(
        default="15m", description="How often the hub asks Keycloak anew for the groups of people who are there."
    )
    github: GithubAccess | None = Field(
        default=None, description="For identity.providers of kind github: which of its people get in."
    )
    registry: Registry | None = Field(default=None, description="A private registry that images come through.")
    pre_pull: StrictBool = Field(
        default=False,
        description="Whether nodes that run CPU notebooks have the images of CPU profiles pulled at once; by default "
        "in production alone.",
        json_schema_extra=without_default,
    )
    named_servers: Annotated[StrictInt, whole(0, 20)] = Field(
        default=3, description="Notebooks that a person may have beside the first one."
    )
    memory: Annotated[StrictInt, whole(1, 32, "GiB")] = Field(
        default=1, description="GiB of memory of the hub's pod; 1 is for some hundred notebooks."
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """The database's defaults depend on the lifecycle, even when it is not given.

        A lab pays for the way of each image into each node, and waits only for those that somebody starts.
        """
        return {"database": {}, "prePull": bool(facts.production), **given}

    @rule
    def _time_to_start(self, facts: Facts) -> Findings:
        if not _SHORTEST_START <= seconds(self.start_timeout) <= _LONGEST_START:
            yield ("startTimeout",), f"must be {_SHORTEST_START // 60}m to {_LONGEST_START // 3600}h"

    @rule
    def _groups_of_now(self, facts: Facts) -> Findings:
        if not _SHORTEST_REFRESH <= seconds(self.refresh_groups) <= _LONGEST_REFRESH:
            yield ("refreshGroups",), f"must be {_SHORTEST_REFRESH // 60}m to {_LONGEST_REFRESH // 3600}h"


def hub_findings(hub: Hub | None, identity: Identity | None, *, has_teams: bool, has_profiles: bool) -> Findings:
    """What the hub needs of other sections; paths are the stack's. It is None for a stack without teams or identity."""
    if hub is None or not hub.enabled:
        return
    if identity is None:
        yield ("hub",), "needs gpulab:identity, as nobody could sign in: add it, or set hub.enabled: false"
    if not has_teams:
        yield ("hub",), "needs gpulab:teams, as notebooks run in a team's namespace: add one, or leave hub out"
    if has_teams and not has_profiles:
        yield ("profiles",), "is missing: people of gpulab:teams start notebooks by profile; add one at least"
    by_github = identity is not None and any(one.kind == "github" for one in identity.providers.values())
    if by_github and hub.github is None:
        yield (
            ("hub", "github"),
            "is missing: identity has a provider of kind github, where anybody may sign up: name organizations, teams",
        )
    if identity is not None and not by_github and hub.github is not None:
        yield ("hub", "github"), "has no effect: identity has no provider of kind github; add it, or leave this out"
