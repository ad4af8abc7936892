"""What a person may start: in each of their teams, the profiles that one of their roles there may use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .catalogue import Catalogue, Profile, Team
from .people import roles_by_team

# Names of teams and profiles never contain it.
_BETWEEN = "_"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A profile in a team, for somebody with these roles there."""

    team: Team
    profile: Profile
    roles: frozenset[str]

    @property
    def slug(self) -> str:
        """What the form sends, and the hub stores."""
        return f"{self.team.name}{_BETWEEN}{self.profile.name}"


def choices(catalogue: Catalogue, groups: Iterable[str]) -> list[Choice]:
    """All that somebody in these groups may start, by team, in the order of each team's profiles."""
    roles = roles_by_team(groups)
    return [
        Choice(team=team, profile=profile, roles=frozenset(roles[team.name]))
        for team in sorted(catalogue.teams.values(), key=lambda one: one.name)
        if team.name in roles
        for profile in (catalogue.profiles[name] for name in team.profiles)
        if roles[team.name].intersection(profile.roles)
    ]


def chosen(offered: list[Choice], slug: str | None) -> Choice | None:
    """The choice of that slug, or None if it is not offered; without a slug the first default, else the first."""
    if slug:
        return next((one for one in offered if one.slug == slug), None)
    return next((one for one in offered if one.profile.default), offered[0] if offered else None)


def profile_of(catalogue: Catalogue, slug: str) -> tuple[str, Profile | None]:
    """The team and the profile of a slug; the profile is None if the catalogue no longer has it."""
    team, _, name = slug.partition(_BETWEEN)
    return team, catalogue.profiles.get(name)
