"""Names of teams and of profiles: one pattern each, for namespaces, groups, directories and labels."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias, get_args

from settings.language.values import matching

TEAM_PATTERN = r"[a-z]([-a-z0-9]{0,28}[a-z0-9])?"
"""What a team's name looks like, as a regular expression."""

TEAM_EXPECTATION = "at most 30 lower-case letters, digits and hyphens, with a letter first and no hyphen at the end"

TeamRole: TypeAlias = Literal["administrator", "project-manager", "data-scientist", "developer"]
ROLES: tuple[TeamRole, ...] = get_args(TeamRole)
"""The realm's roles, and so the groups that each team has."""

_NAMESPACE_PREFIX = "team-"

TeamName = Annotated[
    str,
    matching(TEAM_PATTERN, f"a name that a namespace and a group can have: {TEAM_EXPECTATION}"),
]
"""The name of a team."""

ProfileName = Annotated[
    str,
    matching(
        r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?",
        "a name of at most 40 lower-case letters, digits and hyphens, with a letter first and no hyphen at the end",
    ),
]
"""The name of a profile, a kind of notebook."""


def namespace_of(team: str) -> str:
    """The namespace in which a team's notebooks run."""
    return f"{_NAMESPACE_PREFIX}{team}"
