"""People's homes: what those on the file system hold, as measured, and disks that grow with the stack file.

EFS enforces no quota. `measuring.py` measures each home, in a job for each team; this module warns, and above the limit
refuses all but the person's smallest profile, which is enough to delete files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from .catalogue import Catalogue, Homes
from .choices import Choice, choices
from .quantities import amount

FOLDER = Path("/usr/local/etc/jupyterhub/home-sizes")
"""Where the hub's pod has the ConfigMaps that the jobs write, one file for each team."""
_GIB = 1024**3
# A little longer than the longest schedule that settings accept.
_GOOD_FOR = timedelta(days=32)


@dataclass(frozen=True, kw_only=True)
class HomeSize:
    """What a home in a team holds, in bytes, and when that was measured. It holds more if not `whole` was counted."""

    team: str
    size: int
    measured: datetime
    whole: bool = True


@dataclass(frozen=True, kw_only=True)
class Notice:
    """What the hub's pages say about a home. `level` is Bootstrap's: info, warning or danger."""

    level: str
    text: str


def home_size(team: str, person: str, folder: Path = FOLDER) -> HomeSize | None:
    """What the home of that slug holds; None before the first measurement, and where homes are disks.

    None too if the measurement is old: a job that fails must not keep anybody from their work.
    """
    try:
        sizes = json.loads((folder / f"{team}.json").read_text(encoding="utf-8"))
        found = HomeSize(
            team=team,
            size=int(sizes["bytes"][person]),
            measured=datetime.fromisoformat(sizes["measured"]),
            whole=person not in sizes["incomplete"],
        )
        return found if datetime.now(UTC) - found.measured < _GOOD_FOR else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def notice(home: HomeSize, homes: Homes, smallest: str = "your smallest profile") -> Notice:
    """What the owner reads about a home. `smallest` is the profile that starts above the limit."""
    gib = home.size / _GIB
    least = "" if home.whole else "at least "
    said = f"Your home in team {home.team} holds {least}{gib:.1f} GiB (measured {home.measured:%Y-%m-%d %H:%M} UTC)"
    if _is_over(home, homes):
        return Notice(level="danger", text=f"{said}, and the limit is {homes.limit} GiB. {_WAY_OUT.format(smallest)}")
    if homes.warn is not None and gib >= homes.warn:
        limit = f": above {homes.limit} GiB only {smallest} starts" if homes.limit else ""
        return Notice(level="warning", text=f"{said}. Delete what you no longer need{limit}. {_TRASH}")
    return Notice(level="info", text=f"{said}.")


def warning(home: HomeSize | None, homes: Homes) -> str | None:
    """What JupyterLab shows about the home, in 140 characters; None unless it holds too much."""
    if home is None or notice(home, homes).level == "info":
        return None
    limit = f", and the limit is {homes.limit}" if homes.limit else ""
    refused = ": no larger profile starts" if _is_over(home, homes) else ""
    return f"Your home holds {home.size / _GIB:.1f} GiB{limit}{refused}. Delete files, then {_TRASH_FOLDER}."


def refusal(home: HomeSize, homes: Homes, choice: Choice, offered: Iterable[Choice]) -> str | None:
    """The refusal of a choice while the home holds more than its limit; None if it may start.

    The team's smallest profile always starts: without it nobody could delete anything.
    """
    if not _is_over(home, homes):
        return None
    smallest = min((one for one in offered if one.team == choice.team), key=_need)
    # The choice may have got a GPU that was found for it.
    if choice.slug == smallest.slug:
        return None
    return notice(home, homes, smallest.profile.display_name).text


def notices_for(catalogue: Catalogue, folder: Path = FOLDER) -> Callable[[Any], list[Notice]]:
    """The function that gives the hub the notices about a person's homes, one for each of their teams."""

    def of_user(user: Any) -> list[Notice]:
        if user is None:
            return []
        offered = choices(catalogue, [group.name for group in user.groups])
        teams = dict.fromkeys(one.team.name for one in offered)
        homes = (home_size(team, user.spawner.person, folder) for team in teams)
        return [notice(home, catalogue.homes) for home in homes if home]

    return of_user


def growth(claim: Mapping[str, Any], wanted: str) -> dict[str, Any] | None:
    """What to change in a home's claim for a disk of that size; None if it has that or more: disks never shrink."""
    if amount(claim["spec"]["resources"]["requests"]["storage"]) >= amount(wanted):
        return None
    return {"spec": {"resources": {"requests": {"storage": wanted}}}}


_TRASH_FOLDER = "~/.local/share/Trash"
_TRASH = f"Files that you delete in JupyterLab go to {_TRASH_FOLDER} first."
_WAY_OUT = (
    f"Until less is measured, only {{}} starts: delete there what you no longer need. {_TRASH} Other profiles start "
    "again after the next measurement, which an administrator can start at once."
)


def _is_over(home: HomeSize, homes: Homes) -> bool:
    return homes.limit is not None and home.size > homes.limit * _GIB


def _need(choice: Choice) -> tuple[bool, Any, float, str]:
    profile = choice.profile
    return profile.has_gpus, amount(profile.memory), profile.cpu, profile.name
