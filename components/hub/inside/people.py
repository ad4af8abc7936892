"""Who somebody is on the platform: their roles in teams, from Keycloak's claims or from the names in the stack file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .catalogue import SignIn

ROLES = ("administrator", "project-manager", "data-scientist", "developer")

ADMINISTRATORS = "administrators"
"""The hub's group of people with the realm role `administrator`. Groups of teams begin with a slash, so none has it."""


def group_of(team: str, role: str) -> str:
    """The group of a role in a team, as the realm has it."""
    return f"/{team}/{role}"


def hub_groups(claims: Mapping[str, Any], teams: Iterable[str]) -> set[str]:
    """The hub's groups of a person: `/TEAM/ROLE` for each of the teams, and `administrators`.

    A group of a directory is inside the group of the role that it stands for (`/TEAM/ROLE/NAME`). Only the realm role
    makes an administrator of the platform; a team's administrator is not one.
    """
    known = set(teams)
    found = {
        group_of(team, role)
        for team, role, *_ in (
            str(group).removeprefix("/").split("/")
            for group in claims.get("groups") or ()
            if "/" in str(group).strip("/")
        )
        if team in known and role in ROLES
    }
    if "administrator" in (claims.get("roles") or ()):
        found.add(ADMINISTRATORS)
    return found


def groups_of_names(names: Iterable[str], sign_in: SignIn) -> set[str]:
    """The hub's groups of somebody who may sign in without Keycloak: by their name, and at GitHub by their teams.

    Letter case does not matter.
    """
    known = {name.lower() for name in names}
    named = (group for group, members in sign_in.members.items() if known.intersection(members))
    return {*sign_in.everybody, *named}


def roles_by_team(groups: Iterable[str]) -> dict[str, set[str]]:
    """The roles in each team that somebody in these groups has."""
    found: dict[str, set[str]] = {}
    for group in groups:
        if group.startswith("/"):
            team, role = group.removeprefix("/").split("/")
            found.setdefault(team, set()).add(role)
    return found
