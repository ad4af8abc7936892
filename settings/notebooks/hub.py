"""`gpulab:hub`: JupyterHub, where people start notebooks, and how they sign in to it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import Field, StrictBool, StrictInt

from settings.language.secret_reference import Secret, unread_findings
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import Duration, matching, seconds, whole, without_default
from settings.people.identity import Identity
from settings.people.names import TeamName, TeamRole
from settings.people.sign_in import GithubAccess, People, Person, SignIn, key_findings, name_findings
from settings.rds import RDS_FIELDS, RdsFields, class_problem, foreign_findings, kind_findings

DATABASE = "jupyterhub"
"""The end of the database's name, after the cluster's name."""

_SHORTEST_REFRESH, _LONGEST_REFRESH = 60, 24 * 3600
_SHORTEST_START, _LONGEST_START = 60, 3600
_SHORTEST_CULL, _LONGEST_CULL = 30, 3600
_SMALLEST_RDS_GIB = 20


class Front(Protocol):
    """How users reach the platform."""

    has_names_below: ClassVar[bool]
    """Whether people's notebooks have names of their own by default."""

    @property
    def domain(self) -> str | None:
        """The platform's domain; None where users forward ports."""
        ...

    @property
    def on_the_internet(self) -> bool:
        """Whether the internet may reach it."""
        ...


class HubDatabase(RdsFields):
    """The hub's database: who runs which notebook since when, and people's tokens, encrypted; not their files."""

    kind: Literal["volume", "rds"] = Field(
        default="volume",
        description="volume: SQLite on a volume, on EKS in one zone. rds: PostgreSQL on Amazon RDS; the default in "
        "production.",
        json_schema_extra=without_default,
    )
    size: Annotated[StrictInt, whole(1, 16384, "GiB")] = Field(
        default=4, description="GiB; 4 by default, for rds 20.", json_schema_extra=without_default
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """In production the database survives the loss of a zone and leaves a last snapshot."""
        on_rds = facts.production and facts.ground != "existing"
        complete = {"kind": "rds" if on_rds else "volume", **given}
        if complete["kind"] != "rds":
            return complete
        production = {"multiAz": True, "finalSnapshot": True} if facts.production else {}
        return {"size": _SMALLEST_RDS_GIB, **production, **complete}

    @rule
    def _keys_of_its_kind(self, facts: Facts) -> Findings:
        yield from foreign_findings(self, self.kind, {"rds": RDS_FIELDS})

    @rule
    def _database_of_the_ground(self, facts: Facts) -> Findings:
        yield from kind_findings(self.kind, facts, in_place="volume")

    @rule
    def _class_that_rds_has(self, facts: Facts) -> Findings:
        if self.kind == "rds" and (problem := class_problem(self.instance_class, facts.region)):
            yield ("instanceClass",), problem

    @rule
    def _size_that_rds_takes(self, facts: Facts) -> Findings:
        if self.kind == "rds" and self.size < _SMALLEST_RDS_GIB:
            yield ("size",), f"must be {_SMALLEST_RDS_GIB} GiB at least, as RDS has nothing smaller"


class Culling(Section):
    """How the hub ends notebooks that nobody uses. Each profile says after how long (`idle`, `lifetime`)."""

    every: Duration = Field(default="2m", description="How often the hub looks.")
    warn: Annotated[StrictInt, whole(1, 120, "minutes")] = Field(
        default=10, description="Minutes before its end at which a notebook's owner is warned."
    )

    @rule
    def _often_enough(self, facts: Facts) -> Findings:
        if not _SHORTEST_CULL <= seconds(self.every) <= _LONGEST_CULL:
            yield ("every",), f"must be {_SHORTEST_CULL}s to {_LONGEST_CULL // 60}m"

    @rule
    def _looked_before_the_end(self, facts: Facts) -> Findings:
        if seconds(self.every) > self.warn * 60:
            yield (
                ("warn",),
                f"must be at least every, which is {self.every}: a notebook could end before its owner is warned",
            )


class Registry(Section):
    """A private registry for images."""

    mirror: (
        Annotated[
            str,
            matching(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*", "a registry such as mirror.example.com:5000/quay"),
        ]
        | None
    ) = Field(
        default=None,
        description="Registry, with a path if it has one, that replaces the registry of every image of profiles and of "
        "the hub.",
    )
    pull_secret: Secret | None = Field(
        default=None,
        description="Where the registry's credentials are: the content of a Docker config.json with auths, such as a "
        "robot account's of Harbor. On EKS in AWS Secrets Manager; on an existing cluster in a Secret "
        "(`kubectl create secret docker-registry` makes one with the key .dockerconfigjson) or in the stack's "
        "configuration. Each team's namespace gets them.",
    )

    @rule
    def _mirror_or_secret(self, facts: Facts) -> Findings:
        if self.mirror is None and self.pull_secret is None:
            yield (), "must have a mirror, or a pullSecret, or both"

    @rule
    def _secret_that_every_namespace_gets(self, facts: Facts) -> Findings:
        why = "is in one namespace, and every team's needs it"
        yield from unread_findings("pullSecret", self.pull_secret, facts, on_eks=why)


class Hub(Section):
    """JupyterHub; made when there are teams, and a way to sign in: an identity section, or one that `signIn` names."""

    enabled: StrictBool = Field(
        default=True, description="false removes the hub and all running notebooks; homes and teams stay."
    )
    database: HubDatabase = Field(default=HubDatabase(), description="What the hub remembers, and where.")
    culling: Culling = Field(default=Culling(), description="How notebooks that nobody uses are ended.")
    start_timeout: Duration = Field(
        default="10m", description="How long a notebook may take to start, including the purchase of a node."
    )
    refresh_groups: Duration = Field(
        default="15m", description="How often the hub asks Keycloak, or GitHub, again for who signed-in people are."
    )
    sign_in: SignIn = Field(
        default="keycloak",
        description="How people sign in. keycloak: as gpulab:identity says. Without that section, for a small lab: "
        "github: by GitHub itself, with organizations or teams in github. token: with one generated token, where the "
        "internet does not reach the hub.",
    )
    github: GithubAccess | None = Field(
        default=None,
        description="For signIn github, and for identity.providers of kind github: which of its people may sign in.",
    )
    members: dict[TeamName, dict[TeamRole, People]] = Field(
        default={},
        description="signIn github and token: who is in which team, by team and role: logins of GitHub and its teams as"
        " ORGANISATION/TEAM, or user names of the token. With one team and nobody named, everybody who may sign in is a"
        " data-scientist there; for the token that is one person, lab.",
        json_schema_extra={"additionalProperties": False},
    )
    administrators: tuple[Person, ...] = Field(
        default=(),
        description="signIn github and token: who sees and stops all notebooks. Everybody who has the token can be one "
        "of them.",
    )
    registry: Registry | None = Field(default=None, description="A private registry for images.")
    pre_pull: StrictBool = Field(
        default=False,
        description="Whether new nodes for CPU notebooks pull the images of CPU profiles at once; by default only in "
        "production.",
        json_schema_extra=without_default,
    )
    named_servers: Annotated[StrictInt, whole(0, 20)] = Field(
        default=3, description="Further notebooks that a person may have beside the first one."
    )
    subdomains: StrictBool | None = Field(
        default=None,
        description="Whether each person's notebooks have a name of their own, PERSON.platform.DOMAIN, so that a "
        "notebook cannot act as the person who opens it; on EKS by default wherever there is a gpulab:ingress.domain. "
        "On an existing cluster it needs *.platform.DOMAIN in your DNS and in the certificate.",
        json_schema_extra=without_default,
    )
    administrator_access: StrictBool | None = Field(
        default=None,
        description="Whether administrators of the platform may open people's notebooks; by default only with "
        "subdomains, because without them such a notebook can act as the administrator.",
        json_schema_extra=without_default,
    )
    memory: Annotated[StrictInt, whole(1, 32, "GiB")] = Field(
        default=1, description="GiB of memory of the hub's pod; 1 is enough for some hundred notebooks."
    )

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """The database's defaults depend on the lifecycle, even when it is not given.

        Pulling an image into each node costs a lab traffic; there only images that somebody starts are pulled.
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

    @rule
    def _keys_of_its_sign_in(self, facts: Facts) -> Findings:
        yield from key_findings(
            self.sign_in,
            self.github,
            names_members=bool(self.members),
            names_administrators=bool(self.administrators),
        )

    @rule
    def _names_that_its_sign_in_knows(self, facts: Facts) -> Findings:
        yield from name_findings(self.sign_in, self.github, self.members, self.administrators)


def has_subdomains(hub: Hub | None, front: Front) -> bool:
    """Whether each person's notebooks are at a name of their own, below the hub's."""
    if hub is None or not hub.enabled or front.domain is None:
        return False
    return front.has_names_below if hub.subdomains is None else hub.subdomains


def hub_findings(
    hub: Hub | None,
    identity: Identity | None,
    *,
    teams: Collection[str],
    has_profiles: bool,
    domain: str | None,
    on_the_internet: bool,
) -> Findings:
    """What the hub needs of other sections; paths are the stack's. It is None for a stack without teams or identity."""
    if hub is None or not hub.enabled:
        return
    if hub.subdomains and not domain:
        yield (
            ("hub", "subdomains"),
            "needs gpulab:ingress.domain, as names below localhost do not resolve: add a domain, or leave this out",
        )
    if hub.sign_in == "keycloak":
        yield from _keycloak_findings(hub, identity)
    else:
        yield from _other_sign_in_findings(hub, identity, teams, domain, on_the_internet=on_the_internet)
    if not teams:
        yield ("hub",), "needs gpulab:teams, as notebooks run in a team's namespace: add one, or leave hub out"
    if teams and not has_profiles:
        yield ("profiles",), "is missing: people in gpulab:teams start notebooks from profiles; add at least one"


def _keycloak_findings(hub: Hub, identity: Identity | None) -> Findings:
    if identity is None:
        yield (
            ("hub",),
            "needs gpulab:identity, as nobody could sign in: add it, or set hub.signIn to github or token, or "
            "hub.enabled: false",
        )
        return
    by_github = any(one.kind == "github" for one in identity.providers.values())
    if by_github and hub.github is None:
        yield (
            ("hub", "github"),
            "is missing: identity has a provider of kind github, where anybody may sign up: name organizations, teams",
        )
    if not by_github and hub.github is not None:
        yield ("hub", "github"), "has no effect: identity has no provider of kind github; add it, or leave this out"


def _other_sign_in_findings(
    hub: Hub, identity: Identity | None, teams: Collection[str], domain: str | None, *, on_the_internet: bool
) -> Findings:
    at = ("hub", "signIn")
    if identity is not None:
        by_github = "; GitHub can be one of identity.providers" if hub.sign_in == "github" else ""
        yield (
            at,
            f"is {hub.sign_in}, so nobody would use the Keycloak that gpulab:identity makes: leave one of them out"
            f"{by_github}",
        )
    if hub.sign_in == "github" and domain is None:
        yield at, "github needs gpulab:ingress.domain, as GitHub sends people back to platform.DOMAIN: add a domain"
    if hub.sign_in == "token" and on_the_internet:
        yield (
            at,
            f"token is for port-forward and for a site's own network, and the internet may reach {domain}: anybody "
            "there who gets hold of the token could be everybody. Write github, or add gpulab:identity instead",
        )
    if len(teams) > 1 and not hub.members:
        yield (
            ("hub", "members"),
            "is missing: with more than one team it says who is in which, by team and role",
        )
