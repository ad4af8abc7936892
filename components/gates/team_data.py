"""Reports in a preview what happens to a team's data when the team is removed from the stack file.

A program knows only the teams that exist now. So a resource with no other task keeps them in the state, and its
provider reports removed teams when the engine compares the two, in previews too. Pulumi keeps the provider's module and
class name in the state: rename neither while a stack refers to it.

Removing a team deletes no files on EFS. They cannot be reached without the team's access points, and are back when a
team of that name is added again. They are deleted with the file system, unless `gpulab:storage.retain` keeps that too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import pulumi
from pulumi.dynamic import DiffResult, Resource

from components.gates.remembered import RememberedProvider
from settings.storage import GP3_CLASS, GP3_RETAIN_CLASS


class TeamDataProvider(RememberedProvider):
    """Compares the teams, and reports those that were removed."""

    id: ClassVar[str] = "teams"
    keys: ClassVar[tuple[str, ...]] = ("teams", "retain", "homes", "namespace")

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Prints for each removed team what happens to its data."""
        for team in removed_teams(_olds.get("teams") or (), _news.get("teams") or ()):
            print(removal_message(team, _news), flush=True)
        return super().diff(_id, _olds, _news)


class TeamData(Resource, module="gpulab", name="TeamData"):
    """Keeps the stack's teams in the state. `homes` is `shared` or `per-person`, `retain` is that of the storage."""

    def __init__(
        self,
        name: str,
        *,
        teams: Iterable[str],
        homes: str,
        retain: bool,
        facts: Mapping[str, Any] = MappingProxyType({}),
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """`facts` are those of the ground's files: on a cluster that exists, the `namespace` of their claims."""
        props = {"teams": sorted(teams), "homes": homes, "retain": retain, **facts}
        super().__init__(TeamDataProvider(), name, props, opts)


def removed_teams(before: Iterable[str], now: Iterable[str]) -> list[str]:
    """The teams of `before` that are not in `now`."""
    return sorted(set(before) - set(now))


def removal_message(team: str, props: Mapping[str, Any]) -> str:
    """What happens to the data of a removed team."""
    kept = bool(props.get("retain"))
    if namespace := props.get("namespace"):
        end = "a destroy keeps them, as gpulab:storage.retain says" if kept else "a destroy deletes them"
        message = (
            f"Team {team} is removed: its namespace and all notebooks in it are deleted. Its shared files stay in the "
            f"claims of namespace {namespace}, but nobody reaches them until there is a team of this name again; {end}."
        )
        if props.get("homes") == "per-person":
            message += (
                " Its homes are claims in its own namespace: whether their disks are DELETED with them, their storage "
                "class decides (RECLAIMPOLICY of `kubectl get storageclass`)."
            )
        return message
    message = (
        f"Team {team} is removed: its namespace and all notebooks in it are deleted. Its files in /teams/{team} of the "
        "file system are kept, but nobody reaches them until there is a team of this name again; they are deleted with "
        "the file system" + (", which gpulab:storage.retain keeps." if kept else ".")
    )
    if props.get("homes") == "per-person":
        # The class with which a claim was made decides: it follows what `retain` was at that time.
        keeping = f"of the class {GP3_RETAIN_CLASS} are kept, and still cost money"
        deleting = f"of the class {GP3_CLASS} are DELETED with all their data"
        first, then = (keeping, deleting) if kept else (deleting, keeping)
        message += f" Disks of its homes {first}; any {then}."
    return message
