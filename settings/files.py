"""What every ground has of `gpulab:storage`: where homes and shared files are, and what homes may hold."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from settings.gp3 import VolumeSize
from settings.language.schedules import Schedule, longest_gap
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import DISTINCT, Check, at_least_one, matching, whole
from settings.people.names import ROLES, TEAM_EXPECTATION, TEAM_PATTERN, TeamRole

EVERY_TEAM = "*"

HOME = "/home/jovyan"
SCRATCH = f"{HOME}/scratch"
HOMES = "homes"
"""The name of the volume with the homes; no other volume may have it."""
OWN_VOLUMES = ("scratch", "shared-memory", "gpulab")
"""Names of volumes that every notebook's pod has already; a pod can't have two of the same name."""

_WARN_GIB, _WARN_SHARE = 100, 0.8
# Once a month. The hub ignores older measurements (components.hub.inside.homes).
_LONGEST_WITHOUT_MEASURING = 31

_SYSTEM_FOLDERS = (
    "bin",
    "boot",
    "dev",
    "etc",
    "lib",
    "lib64",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "sys",
    "tmp",
    "usr",
    "var",
)


def _measuring_schedule(text: str) -> str:
    if longest_gap(text) > _LONGEST_WITHOUT_MEASURING:
        raise ValueError(
            f'must be at least once in {_LONGEST_WITHOUT_MEASURING} days, such as "0 1 * * *" or "0 1 1 * *": the hub '
            "ignores older measurements, so there would be no limit"
        )
    return text


def checked_mount_path(path: str) -> str:
    """The path, where notebooks can mount something. Raises ValueError."""
    if not re.fullmatch(r"(/[A-Za-z0-9][A-Za-z0-9._-]*)+", path):
        raise ValueError(
            "must be an absolute path such as /home/shared: names of letters, digits, dots, hyphens and underscores "
            "that each begin with a letter or digit, and no slash at the end"
        )
    if path.split("/")[1] in _SYSTEM_FOLDERS:
        raise ValueError(f"must not hide a folder of the image: {', '.join(f'/{name}' for name in _SYSTEM_FOLDERS)}")
    return path


TeamOfWriters = Annotated[str, matching(rf"\*|{TEAM_PATTERN}", f'a team: {TEAM_EXPECTATION}; "*" for every')]
VolumeName = Annotated[
    str,
    matching(
        r"[a-z]([-a-z0-9]{0,18}[a-z0-9])?",
        "a name of at most 20 lower-case letters, digits and hyphens, with a letter first and no hyphen at the end",
    ),
]


HomeGib = Annotated[StrictInt, whole(1, 1024 * 1024, "GiB")]


class HomeUse(Section):
    """What homes on EFS may hold. EFS enforces no quota: a job measures the homes, and the hub warns and refuses."""

    schedule: Annotated[Schedule, Check(_measuring_schedule)] = Field(
        default="0 1 * * *",
        description="When homes are measured, in UTC, at least once in 31 days. A measurement reads the size of each "
        "file.",
    )
    warn: HomeGib | None = Field(
        default=None,
        description=f"GiB above which the hub and JupyterLab warn a home's owner; by default {_WARN_SHARE:.0%} of "
        f"limit, or {_WARN_GIB} without a limit.",
    )
    limit: HomeGib | None = Field(
        default=None,
        description="GiB above which only the person's smallest profile starts, until a measurement finds less; none: "
        "no limit.",
    )

    @property
    def warns_at(self) -> float:
        """GiB above which people are warned."""
        if self.warn is not None:
            return self.warn
        return _WARN_GIB if self.limit is None else self.limit * _WARN_SHARE

    @rule
    def _warned_before_the_limit(self, facts: Facts) -> Findings:
        if self.warn is not None and self.limit is not None and self.warn >= self.limit:
            yield ("warn",), f"must be below the limit of {self.limit} GiB, so that people are warned first"


class Volume(Section):
    """A directory of the file system that every notebook mounts."""

    mount_path: Annotated[str, Check(checked_mount_path)] = Field(
        description="Where notebooks mount it, such as /home/shared, /datasets or /home/jovyan/notebooks. In the "
        "home a link with the volume's name points there, unless the volume is in the home itself."
    )
    scope: Literal["team", "platform"] = Field(
        default="platform",
        description="team: each team has a directory of its own, where all of its members write. platform: one "
        "directory for all teams, where only its writers write.",
    )
    writers: dict[TeamOfWriters, Annotated[tuple[TeamRole, ...], DISTINCT, at_least_one("role")]] = Field(
        default={},
        description='Who may write: roles by team, with "*" for every team. Everybody else reads.',
        json_schema_extra={"additionalProperties": False},
    )

    if TYPE_CHECKING:

        @property
        def claim(self) -> str | None: ...

        @property
        def optional(self) -> bool: ...

    def writes(self, team: str, role: str) -> bool:
        """Whether a person with `role` in `team` may write."""
        return self.scope == "team" or role in (*self.writers.get(team, ()), *self.writers.get(EVERY_TEAM, ()))

    def is_written_by(self, team: str) -> bool:
        """Whether anybody of `team` may write."""
        return any(self.writes(team, role) for role in ROLES)

    @rule
    def _writers_only_for_scope_platform(self, facts: Facts) -> Findings:
        if self.scope == "team" and self.writers:
            yield ("writers",), "is for scope platform: all members of a team write in the team's directory"


class Files(Section):
    """Homes and shared volumes. Each ground adds where these are, and its own kinds of volumes."""

    homes: Literal["shared", "per-person"] = Field(
        default="shared",
        description="shared: homes are on one file system and follow the notebook to any node. per-person: each home "
        "is a disk of homeSize, and its notebook always runs where that disk can be mounted.",
    )
    home_size: VolumeSize | None = Field(
        default=None,
        description="GiB of each home; for homes per-person. Smaller homes grow at their next start; none shrinks.",
    )
    home_use: HomeUse = Field(default=HomeUse(), description="What shared homes may hold, and when that is measured.")
    retain: StrictBool = Field(
        default=False, description="Whether a destroy keeps what holds people's data, which may go on costing money."
    )

    if TYPE_CHECKING:

        @property
        def volumes(self) -> Mapping[str, Volume]: ...

        @property
        def disk_class(self) -> str | None:
            """The storage class of disks for one node at a time; None: the cluster's default class."""

        @property
        def home_disk_class(self) -> str | None:
            """The storage class of homes per person; None: the cluster's default class."""

        @property
        def disks_are_zonal(self) -> bool:
            """Whether a disk can be mounted in one zone only."""
            ...

        @property
        def home_path(self) -> str: ...

        @property
        def scratch_path(self) -> str: ...

    @rule
    def _homes_are_no_volume(self, facts: Facts) -> Findings:
        if HOMES in self.volumes:
            yield ("volumes", HOMES), f"is the name of the homes, which are at {self.home_path}: choose another"
        for name in OWN_VOLUMES:
            if name in self.volumes:
                yield ("volumes", name), "is the name of a volume that every notebook's pod has: choose another"

    @rule
    def _mount_paths_apart(self, facts: Facts) -> Findings:
        home = self.home_path
        paths = {home: "the home", self.scratch_path: "scratch"}
        for name, volume in self.volumes.items():
            for path, owner in paths.items():
                in_the_home = path == home and volume.mount_path.startswith(f"{home}/")
                if overlap(path, volume.mount_path) and not in_the_home:
                    yield ("volumes", name, "mountPath"), f"overlaps with {path}, where {owner} is: choose another path"
                    break
            paths[volume.mount_path] = f"volume {name}"

    @rule
    def _links_in_the_home_seen(self, facts: Facts) -> Findings:
        linked = {name for name, volume in self.volumes.items() if not volume.mount_path.startswith(f"{HOME}/")}
        for name, volume in self.volumes.items():
            folder = volume.mount_path.removeprefix(f"{HOME}/").partition("/")[0]
            if name not in linked and folder in linked:
                yield (
                    ("volumes", name, "mountPath"),
                    f"hides the link of volume {folder} in the home, {HOME}/{folder}: choose another path, or another "
                    "name for that volume",
                )


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one is below the other."""
    return posixpath.commonpath([one, other]) in (one, other)
