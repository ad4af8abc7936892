"""`gpulab:storage`: where homes and shared files lie, how fast that is, what is backed up and what a destroy keeps."""

from __future__ import annotations

import posixpath
import re
from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt

from settings.gp3 import BASE_IOPS, BASE_THROUGHPUT, Iops, Throughput, VolumeSize, iops_problem, throughput_problem
from settings.schedules import aws_backup_cron
from settings.section import Facts, Findings, Section, rule
from settings.team_names import ROLES, TEAM_EXPECTATION, TEAM_PATTERN, TeamRole
from settings.values import DISTINCT, Check, at_least_one, matching, whole

EVERY_TEAM = "*"

HOME = "/home/jovyan"
SCRATCH = f"{HOME}/scratch"
HOMES = "homes"
"""The name of the volume with the homes; others can't have it."""

# Amazon EFS API reference, LifecyclePolicy: TransitionToIA.
_INFREQUENT_ACCESS_DAYS = (1, 7, 14, 30, 60, 90, 180, 270, 365)
_NEVER_DAYS = 0

# AWS Backup developer guide, Lifecycle: a backup in cold storage stays there for 90 days at least.
_COLD_STORAGE_DAYS = 90
_LONGEST_RETENTION_DAYS = 36500

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


def _infrequent_access(days: int) -> int:
    if days not in (_NEVER_DAYS, *_INFREQUENT_ACCESS_DAYS):
        accepted = ", ".join(map(str, _INFREQUENT_ACCESS_DAYS))
        raise ValueError(f"must be a number of days that EFS knows ({accepted}), or 0 for never")
    return days


def _backup_schedule(text: str) -> str:
    aws_backup_cron(text)
    return text


def _mount_path(path: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9][A-Za-z0-9._-]*)+", path):
        raise ValueError("must be an absolute path such as /home/shared, without a slash at its end")
    if path.split("/")[1] in _SYSTEM_FOLDERS:
        raise ValueError(
            f"must not hide what images have: {', '.join(f'/{name}' for name in _SYSTEM_FOLDERS)} are taken"
        )
    return path


def _shared_class(name: str) -> str:
    if name == "gp3":
        raise ValueError(
            "cannot be gp3: a gp3 volume is mounted by one node at a time (ReadWriteOnce), and this one by every "
            "notebook (ReadWriteMany). Write efs, or leave it out"
        )
    if name != "efs":
        raise ValueError("must be efs")
    return name


TeamOfWriters = Annotated[str, matching(rf"\*|{TEAM_PATTERN}", f'a team: {TEAM_EXPECTATION}; "*" for every')]
VolumeName = Annotated[
    str,
    matching(
        r"[a-z]([-a-z0-9]{0,18}[a-z0-9])?",
        "a name of 20 lower-case letters, digits and hyphens at most, a letter first and no hyphen last",
    ),
]


class Efs(Section):
    """The file system of homes and shared volumes."""

    throughput: Literal["elastic", "bursting", "provisioned"] = Field(
        default="elastic",
        description="elastic: as much as is asked for, paid by what is moved. bursting: grows with what is stored. "
        "provisioned: as much as provisionedThroughput says, paid by the hour.",
    )
    provisioned_throughput: Annotated[StrictInt, whole(1, 3414, "MiB/s")] | None = Field(
        default=None, description="MiB a second; for throughput provisioned."
    )
    infrequent_access_days: Annotated[
        StrictInt, Check(_infrequent_access, {"enum": [_NEVER_DAYS, *_INFREQUENT_ACCESS_DAYS]})
    ] = Field(
        default=30,
        description="Days without access after which a file moves to the cheaper Infrequent Access; 0: never. It moves "
        "back when it is read.",
    )

    @rule
    def _throughput_where_it_is_provisioned(self, facts: Facts) -> Findings:
        if self.throughput == "provisioned" and self.provisioned_throughput is None:
            yield ("provisionedThroughput",), "is missing: throughput provisioned needs its MiB/s"
        if self.throughput != "provisioned" and self.provisioned_throughput is not None:
            yield ("provisionedThroughput",), f"is for throughput provisioned, not for {self.throughput}: leave it out"


class Gp3(Section):
    """The volumes of claims of the classes gp3 and gp3-retain; always encrypted."""

    iops: Iops = Field(
        default=BASE_IOPS,
        description="Operations a second of each volume; above 3000 at most 500 for each GiB that a claim asks for.",
    )
    throughput: Throughput = Field(
        default=BASE_THROUGHPUT, description="MiB a second of each volume; at most a quarter of iops."
    )

    @rule
    def _throughput_for_the_iops(self, facts: Facts) -> Findings:
        if problem := throughput_problem(self.throughput, self.iops):
            yield ("throughput",), problem


class Backup(Section):
    """Backups: by AWS Backup of the file system and of homes per-person, by CloudNativePG of Keycloak's database."""

    enabled: StrictBool = Field(
        default=True,
        description="Whether there are backups of the file system, of homes per-person, and of Keycloak's database "
        "where it is in the cluster (cloudnative-pg); one on RDS has backupDays of its own.",
    )
    schedule: Annotated[str, Check(_backup_schedule)] = Field(
        default="0 3 * * *", description="When, in UTC: a cron expression of five fields, once an hour at most."
    )
    retention_days: Annotated[StrictInt, whole(1, _LONGEST_RETENTION_DAYS, "days")] = Field(
        default=35,
        description="Days that a backup is kept. A database in the cluster can be restored to any second of them.",
    )
    cold_storage_days: Annotated[StrictInt, whole(1, _LONGEST_RETENTION_DAYS, "days")] | None = Field(
        default=None,
        description="Days after which a backup of the file system moves to cold storage, where it stays 90 days at "
        "least; none: never.",
    )

    @rule
    def _retention_of_cold_storage(self, facts: Facts) -> Findings:
        if self.cold_storage_days is None:
            return
        least = self.cold_storage_days + _COLD_STORAGE_DAYS
        if self.retention_days < least:
            yield (
                ("retentionDays",),
                f"must be {least} at least: AWS Backup keeps a backup in cold storage for {_COLD_STORAGE_DAYS} days, "
                f"and it comes there after {self.cold_storage_days}",
            )


class Volume(Section):
    """A directory of the file system that every notebook mounts."""

    mount_path: Annotated[str, Check(_mount_path)] = Field(description="Where notebooks see it, such as /home/shared.")
    scope: Literal["team", "platform"] = Field(
        default="platform",
        description="team: each team has a directory of its own, which all of its members write. platform: one "
        "directory for all teams, which only its writers write.",
    )
    writers: dict[TeamOfWriters, Annotated[tuple[TeamRole, ...], DISTINCT, at_least_one("role")]] = Field(
        default={},
        description='Who may write: roles by team, with "*" for every team. Everybody else reads.',
        json_schema_extra={"additionalProperties": False},
    )
    storage_class: Annotated[str, Check(_shared_class, {"enum": ["efs"]})] = Field(
        default="efs", description="efs: what notebooks on several nodes mount together lies on EFS."
    )

    def writes(self, team: str, role: str) -> bool:
        """Whether a person with `role` in `team` may write."""
        return self.scope == "team" or role in (*self.writers.get(team, ()), *self.writers.get(EVERY_TEAM, ()))

    def is_written_by(self, team: str) -> bool:
        """Whether anybody of `team` may write."""
        return any(self.writes(team, role) for role in ROLES)

    @rule
    def _writers_of_the_platforms_alone(self, facts: Facts) -> Findings:
        if self.scope == "team" and self.writers:
            yield ("writers",), "is for scope platform: all members of a team write in the team's directory"


DEFAULT_VOLUMES: dict[str, Volume] = {
    "shared": Volume(mountPath="/home/shared", scope="team"),  # type: ignore[call-arg]
    "datasets": Volume(mountPath="/home/datasets"),  # type: ignore[call-arg]
    "models": Volume(mountPath="/home/models"),  # type: ignore[call-arg]
}


class Storage(Section):
    """Homes, shared volumes, backups, and what of it a destroy keeps."""

    homes: Literal["shared", "per-person"] = Field(
        default="shared",
        description="shared: homes lie on EFS and follow the notebook into any zone. per-person: each home is a gp3 "
        "volume of homeSize, and its notebook always runs in that volume's zone.",
    )
    home_size: VolumeSize | None = Field(default=None, description="GiB of each home; for homes per-person.")
    efs: Efs = Field(default=Efs(), description="The file system of homes and shared volumes.")
    gp3: Gp3 = Field(default=Gp3(), description="The volumes of claims of the classes gp3 and gp3-retain.")
    backup: Backup = Field(default=Backup(), description="What is backed up, when, and for how long it is kept.")
    volumes: dict[VolumeName, Volume] = Field(
        default=DEFAULT_VOLUMES,
        description="What notebooks mount beside the home, by name; shared, datasets and models by default.",
        json_schema_extra={"additionalProperties": False},
    )
    retain: StrictBool = Field(
        default=False,
        description="Whether a destroy keeps the file system, its policy, its key, the backup vault and the bucket "
        "with backups of Keycloak's database, which then go on to cost.",
    )

    @rule
    def _size_of_homes_per_person(self, facts: Facts) -> Findings:
        if self.homes == "per-person" and self.home_size is None:
            yield ("homeSize",), "is missing: homes per-person need their size in GiB"
        if self.homes == "shared" and self.home_size is not None:
            yield ("homeSize",), "is for homes per-person: EFS enforces no quota, leave it out"

    @rule
    def _iops_of_homes(self, facts: Facts) -> Findings:
        if self.home_size is not None and (problem := iops_problem(self.gp3.iops, self.home_size)):
            yield ("gp3", "iops"), f"{problem} for homes of this homeSize"

    @rule
    def _homes_are_no_volume(self, facts: Facts) -> Findings:
        if HOMES in self.volumes:
            yield ("volumes", HOMES), f"is the name of the homes, which are at {HOME}: take another"

    @rule
    def _mount_paths_apart(self, facts: Facts) -> Findings:
        paths = {HOME: "the home"}
        for name, volume in self.volumes.items():
            for path, owner in paths.items():
                if _overlap(path, volume.mount_path):
                    yield ("volumes", name, "mountPath"), f"overlaps with {path}, where {owner} is: take another path"
            paths[volume.mount_path] = f"volume {name}"


def _overlap(one: str, other: str) -> bool:
    return posixpath.commonpath([one, other]) in (one, other)
