"""What becomes of a team's data when the team leaves the stack file: a preview says it before it happens.

A program knows only the teams that are there. So the state remembers them, in a resource that has nothing else to do,
and its provider tells of those that are missing as the engine compares the two, in previews too. Pulumi keeps the
provider in the state by the name of this module and class: neither can be renamed while a stack refers to it.

Removing a team deletes no file: what lies on EFS is out of reach without the team's access points, and there again when
a team of that name comes back. It goes with the file system, unless `gpulab:storage.retain` keeps that too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from components.volumes import GP3_CLASS, GP3_RETAIN_CLASS

_ID = "teams"
_KEYS = ("teams", "retain", "homes")


class TeamDataProvider(ResourceProvider):
    """Nothing but a comparison that speaks."""

    # Names of teams are no secret.
    serialize_as_secret_always: ClassVar[bool] = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        """There is nothing to make."""
        return CreateResult(_ID, _own(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Says of each team that is no longer there what becomes of its data."""
        for team in leaving(_olds.get("teams") or (), _news.get("teams") or ()):
            print(farewell(team, _news), flush=True)
        return DiffResult(changes=_own(_olds) != _own(_news))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Remembers the teams of now."""
        return UpdateResult(_own(_news))


class TeamData(Resource, module="gpulab", name="TeamData"):
    """The teams that there are, remembered. `homes` are shared or per-person, `retain` that of the storage."""

    def __init__(
        self,
        name: str,
        *,
        teams: Iterable[str],
        homes: str,
        retain: bool,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        super().__init__(TeamDataProvider(), name, {"teams": sorted(teams), "homes": homes, "retain": retain}, opts)


def leaving(before: Iterable[str], now: Iterable[str]) -> list[str]:
    """The teams that were there and are not."""
    return sorted(set(before) - set(now))


def farewell(team: str, props: Mapping[str, Any]) -> str:
    """What becomes of the data of a team that leaves."""
    kept = bool(props.get("retain"))
    said = (
        f"Team {team} leaves: its namespace and all notebooks in it are deleted. Its files in /teams/{team} of the "
        "file system are kept, out of reach until a team of this name is there again; they go with the file system"
        + (", which gpulab:storage.retain keeps." if kept else ".")
    )
    if props.get("homes") == "per-person":
        # What a claim was made with decides, and that is what `retain` was then.
        keeping = f"of the class {GP3_RETAIN_CLASS} are kept, and go on to cost"
        deleting = f"of the class {GP3_CLASS} are DELETED with all that is on them"
        first, then = (keeping, deleting) if kept else (deleting, keeping)
        said += f" Disks of its homes {first}; any {then}."
    return said


def _own(props: Mapping[str, Any]) -> dict[str, Any]:
    return {key: props.get(key) for key in _KEYS}
