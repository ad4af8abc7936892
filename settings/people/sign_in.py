"""How people sign in to the hub, and who is who there when no Keycloak says it: `hub.signIn`, `github`, `members`.

What is said here is in the hub's section, and not with each team, because it goes with the sign-in: a stack that moves
to Keycloak leaves it out as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from settings.language.secret_reference import Secret, unread_findings
from settings.language.section import Facts, Findings, Path, Section, rule
from settings.language.values import DISTINCT, at_least_one, matching, repeated
from settings.people.names import TeamRole
from settings.people.providers import Text
from settings.people.values import USER_NAME

SignIn: TypeAlias = Literal["keycloak", "github", "token"]

EVERYBODYS_ROLE: TeamRole = "data-scientist"
"""The role of people in the only team, where the stack file names nobody."""

LONE_PERSON = "lab"
"""Who signs in with the token, where the stack file names nobody."""

# GitHub, "Username considerations": letters, digits and single hyphens, 39 characters at most. Organisations too.
_LOGIN = r"[A-Za-z0-9]([A-Za-z0-9-]{0,37}[A-Za-z0-9])?"
_TEAM = rf"{_LOGIN}/[a-z0-9_.-]+"

Person = Annotated[
    str,
    matching(rf"{_LOGIN}|{_TEAM}|{USER_NAME}", "a login of GitHub, a team there as ORGANISATION/TEAM, or a user name"),
]
"""Who somebody is at GitHub, a team of GitHub, or the name of somebody who signs in with the token."""

People = Annotated[tuple[Person, ...], at_least_one("name")]
Members: TypeAlias = Mapping[str, Mapping[TeamRole, tuple[str, ...]]]
"""By team and role: who has it."""


class GithubAccess(Section):
    """Which people with a GitHub account may sign in: anybody can have one."""

    organizations: Annotated[
        tuple[Annotated[str, matching(_LOGIN, "the name of a GitHub organisation")], ...], DISTINCT
    ] = Field(default=(), description="Organisations whose members may sign in.")
    teams: Annotated[tuple[Annotated[str, matching(_TEAM, "ORGANISATION/TEAM, the team's slug")], ...], DISTINCT] = (
        Field(default=(), description="Teams whose members may sign in, as ORGANISATION/TEAM.")
    )
    client_id: Text | None = Field(
        default=None,
        description="signIn github: the client id of an OAuth app of yours at GitHub, whose callback URL is "
        "https://platform.DOMAIN/jupyter/hub/oauth_callback.",
    )
    client_secret: Secret | None = Field(
        default=None, description="signIn github: where the client secret of that OAuth app is."
    )

    @property
    def within(self) -> set[str]:
        """The organisations and teams, in lower case."""
        return {name.lower() for name in (*self.organizations, *self.teams)}

    @rule
    def _somebody(self, facts: Facts) -> Findings:
        if not self.organizations and not self.teams:
            yield (), "must name organizations, or teams, or both: anybody can have an account at GitHub"

    @rule
    def _secret_that_the_program_reads(self, facts: Facts) -> Findings:
        why = "is read only when Keycloak's realm is applied"
        yield from unread_findings("clientSecret", self.client_secret, facts, on_eks=why)


def key_findings(
    sign_in: SignIn, github: GithubAccess | None, *, names_members: bool, names_administrators: bool
) -> Findings:
    """Keys of one sign-in that are missing or are given for another; paths are the hub's."""
    match sign_in:
        case "keycloak":
            yield from _keycloak_findings(
                github, names_members=names_members, names_administrators=names_administrators
            )
        case "github":
            yield from _github_findings(github)
        case "token":
            if github is not None:
                yield ("github",), "has no effect with signIn token: leave it out"


def _keycloak_findings(github: GithubAccess | None, *, names_members: bool, names_administrators: bool) -> Findings:
    if names_members:
        yield ("members",), "is for signIn github and token: Keycloak's groups /TEAM/ROLE say it, leave it out"
    if names_administrators:
        yield (
            ("administrators",),
            "is for signIn github and token: gpulab:identity.administrators names them, leave it out",
        )
    for key, given in _client(github):
        if given is not None:
            yield ("github", key), "is for signIn github: identity.providers has the client, leave it out"


def _github_findings(github: GithubAccess | None) -> Findings:
    if github is None:
        yield ("github",), "is missing: signIn github needs clientId, clientSecret, and organizations or teams"
    for key, given in _client(github):
        if given is None:
            yield ("github", key), "is missing: signIn github needs an OAuth app of yours at GitHub"


def _client(github: GithubAccess | None) -> Iterator[tuple[str, object]]:
    if github is not None:
        yield from (("clientId", github.client_id), ("clientSecret", github.client_secret))


def name_findings(
    sign_in: SignIn, github: GithubAccess | None, members: Members, administrators: Collection[str]
) -> Findings:
    """Names that nobody can sign in with, and names that are there twice; paths are the hub's."""
    for path, names in _lists(members, administrators):
        twice = repeated(name.lower() for name in names)
        for index, name in enumerate(names):
            at = (*path, index)
            if name.lower() in twice:
                yield at, "is there twice, whether in upper or in lower case: leave one out"
            if sign_in == "token" and not re.fullmatch(USER_NAME, name):
                yield at, "must be a user name of lower-case letters, digits and . _ @ -: signIn token knows no others"
            elif sign_in == "github" and not re.fullmatch(rf"{_LOGIN}|{_TEAM}", name):
                yield at, "is no login of GitHub: these have letters, digits and single hyphens"
            elif sign_in == "github" and github and "/" in name and not _is_within(name, github):
                yield (
                    at,
                    "is not within hub.github.organizations or teams, so none of its members could sign in: add "
                    f"{name.partition('/')[0]} there, or this team",
                )


def _is_within(team: str, github: GithubAccess) -> bool:
    return not github.within.isdisjoint({team.lower(), team.lower().partition("/")[0]})


def _lists(members: Members, administrators: Collection[str]) -> Iterator[tuple[Path, Collection[str]]]:
    for team, by_role in members.items():
        yield from ((("members", team, role), names) for role, names in by_role.items())
    yield ("administrators",), administrators


def named_members(members: Members, teams: Iterable[str], sign_in: SignIn, administrators: Collection[str]) -> Members:
    """The members. The token is for somebody, so where nobody is named, that is who is in the only team.

    With GitHub nobody need be named: everybody who may sign in has `EVERYBODYS_ROLE` in the only team.
    """
    if members or sign_in != "token":
        return members
    return {team: {EVERYBODYS_ROLE: tuple(administrators) or (LONE_PERSON,)} for team in teams}
