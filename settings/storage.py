"""`gpulab:storage` on EKS: the file system, how fast it is, what is backed up and what a destroy keeps."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from settings.files import HOME, SCRATCH, Files, HomeUse, Volume, VolumeName
from settings.gp3 import BASE_IOPS, BASE_THROUGHPUT, Iops, Throughput, iops_problem, throughput_problem
from settings.language.schedules import aws_backup_cron
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import Check, whole

GP3_CLASS = "gp3"
GP3_RETAIN_CLASS = "gp3-retain"

# Amazon EFS API reference, LifecyclePolicy: TransitionToIA.
_INFREQUENT_ACCESS_DAYS = (1, 7, 14, 30, 60, 90, 180, 270, 365)
_NEVER_DAYS = 0

# AWS Backup developer guide, Lifecycle: a backup in cold storage stays there for 90 days at least.
_COLD_STORAGE_DAYS = 90
_LONGEST_RETENTION_DAYS = 36500


def _infrequent_access(days: int) -> int:
    if days not in (_NEVER_DAYS, *_INFREQUENT_ACCESS_DAYS):
        accepted = ", ".join(map(str, _INFREQUENT_ACCESS_DAYS))
        raise ValueError(f"must be a number of days that EFS knows ({accepted}), or 0 for never")
    return days


def _backup_schedule(text: str) -> str:
    aws_backup_cron(text)
    return text


def _shared_class(name: str) -> str:
    if name == "gp3":
        raise ValueError(
            "cannot be gp3: a gp3 volume is mounted by one node at a time (ReadWriteOnce), and this one by every "
            "notebook (ReadWriteMany). Write efs, or leave it out"
        )
    if name != "efs":
        raise ValueError("must be efs")
    return name


class Efs(Section):
    """The file system of homes and shared volumes."""

    throughput: Literal["elastic", "bursting", "provisioned"] = Field(
        default="elastic",
        description="elastic: as much as needed, billed by the data moved. bursting: grows with what is stored. "
        "provisioned: what provisionedThroughput says, billed by the hour.",
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
    """Backups: AWS Backup's of the file system and of homes per-person, CloudNativePG's of Keycloak's database."""

    enabled: StrictBool = Field(
        default=True,
        description="Whether there are backups of the file system, of homes per-person, and of Keycloak's database "
        "where it is in the cluster (cloudnative-pg); a database on RDS has its own backupDays.",
    )
    schedule: Annotated[str, Check(_backup_schedule)] = Field(
        default="0 3 * * *", description="When, in UTC: a cron expression of five fields, at most once an hour."
    )
    retention_days: Annotated[StrictInt, whole(1, _LONGEST_RETENTION_DAYS, "days")] = Field(
        default=35,
        description="Days that a backup is kept. A database in the cluster can be restored to any second in that time.",
    )
    cold_storage_days: Annotated[StrictInt, whole(1, _LONGEST_RETENTION_DAYS, "days")] | None = Field(
        default=None,
        description="Days after which a backup of the file system moves to cold storage, where it stays at least 90 "
        "days; none: never.",
    )

    @rule
    def _retention_of_cold_storage(self, facts: Facts) -> Findings:
        if self.cold_storage_days is None:
            return
        least = self.cold_storage_days + _COLD_STORAGE_DAYS
        if self.retention_days < least:
            yield (
                ("retentionDays",),
                f"must be at least {least}: a backup moves to cold storage after {self.cold_storage_days} days, and "
                f"AWS Backup keeps it there for {_COLD_STORAGE_DAYS}",
            )


class EfsVolume(Volume):
    """A directory of the file system that every notebook mounts."""

    claim: ClassVar[None] = None
    """None that others make: each volume is a directory of the platform's file system."""
    optional: ClassVar[bool] = False

    storage_class: Annotated[str, Check(_shared_class, {"enum": ["efs"]})] = Field(
        default="efs", description="efs: only EFS can be mounted by notebooks on several nodes."
    )


DEFAULT_VOLUMES: dict[str, EfsVolume] = {
    "shared": EfsVolume(mountPath="/home/shared", scope="team"),  # type: ignore[call-arg]
    "datasets": EfsVolume(mountPath="/home/datasets"),  # type: ignore[call-arg]
    "models": EfsVolume(mountPath="/home/models"),  # type: ignore[call-arg]
}


class Storage(Files):
    """Homes, shared volumes and backups, and what a destroy keeps of them."""

    home_path: ClassVar[str] = HOME
    scratch_path: ClassVar[str] = SCRATCH

    efs: Efs = Field(default=Efs(), description="The file system of homes and shared volumes.")
    gp3: Gp3 = Field(default=Gp3(), description="The volumes of claims of the classes gp3 and gp3-retain.")
    backup: Backup = Field(default=Backup(), description="What is backed up, when, and for how long it is kept.")
    volumes: dict[VolumeName, EfsVolume] = Field(
        default=DEFAULT_VOLUMES,
        description="What notebooks mount beside the home, by name; shared, datasets and models by default.",
        json_schema_extra={"additionalProperties": False},
    )
    retain: StrictBool = Field(
        default=False,
        description="Whether a destroy keeps the file system, its policy, its key, the backup vault and the bucket "
        "with backups of Keycloak's database, which continue to cost money.",
    )

    @property
    def disk_class(self) -> str:
        """Of EBS volumes that are deleted with their claim."""
        return GP3_CLASS

    @property
    def home_disk_class(self) -> str:
        """With `retain`, the disk outlives the claim."""
        return GP3_RETAIN_CLASS if self.retain else GP3_CLASS

    @property
    def disks_are_zonal(self) -> bool:
        """EBS volumes are in one availability zone."""
        return True

    @rule
    def _size_of_homes_per_person(self, facts: Facts) -> Findings:
        if self.homes == "per-person" and self.home_size is None:
            yield ("homeSize",), "is missing: homes per-person need their size in GiB"
        if self.homes == "shared" and self.home_size is not None:
            yield ("homeSize",), "is for homes per-person: EFS enforces no quota, write homeUse: {limit: GIB} instead"

    @rule
    def _use_of_shared_homes(self, facts: Facts) -> Findings:
        if self.homes == "per-person" and self.home_use != HomeUse():
            yield ("homeUse",), "is for homes shared: a disk has the size of homeSize, leave it out"

    @rule
    def _iops_of_homes(self, facts: Facts) -> Findings:
        if self.home_size is not None and (problem := iops_problem(self.gp3.iops, self.home_size)):
            yield ("gp3", "iops"), f"{problem} for homes of this homeSize"
