"""A pool's `gpu`: how its GPUs are shared, how new nodes get images fast, and how many GPUs are kept warm."""

from __future__ import annotations

import zoneinfo
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StrictBool, StrictInt

from settings.language.schedules import Schedule
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import Check, matching, whole

SharingKind: TypeAlias = Literal["none", "time-slicing", "mps", "mig"]
MigStrategy: TypeAlias = Literal["mixed", "single"]

# CUDA Multi-Process Service, "Volta MPS": 48 clients of a GPU at most.
_REPLICAS_LIMIT = 48

# The keys that each way of sharing needs, without those that all ways have.
_KEYS: dict[SharingKind, tuple[str, ...]] = {
    "none": (),
    "time-slicing": ("replicas",),
    "mps": ("replicas",),
    "mig": ("profile", "layout", "strategy"),
}


def _time_zone(name: str) -> str:
    known = zoneinfo.available_timezones()
    if known and name not in known:
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin or UTC")
    return name


Profile = Annotated[str, matching(r"[1-7]g\.[0-9]{1,3}gb", "a MIG profile such as 1g.5gb")]
"""A kind of slice: compute slices and GB of memory."""


class ImageCache(Section):
    """How a new node gets notebook images fast. See docs/fast-starts.md."""

    method: Literal["soci", "snapshot"] = Field(
        description="soci: AL2023 pulls in parallel, onto NVMe disks; snapshot: Bottlerocket starts with the images."
    )
    snapshot_id: Annotated[
        str, matching(r"snap-([0-9a-f]{8}|[0-9a-f]{17})", "an id such as snap-0123456789abcdef0")
    ] | (None) = Field(default=None, description="EBS snapshot of a Bottlerocket data volume that has the images.")
    fast_restore: StrictBool = Field(
        default=False,
        description="Fast snapshot restore in each of the pool's zones, which AWS bills by the hour and zone.",
    )

    @rule
    def _snapshot_of_the_snapshot(self, facts: Facts) -> Findings:
        if self.method == "snapshot" and self.snapshot_id is None:
            yield ("snapshotId",), "is missing: method snapshot needs the EBS snapshot that has the images"
        if self.method == "soci" and self.snapshot_id is not None:
            yield ("snapshotId",), "is for method snapshot, and soci pulls the images: leave it out"

    @rule
    def _fast_restore_of_a_snapshot(self, facts: Facts) -> Findings:
        if self.fast_restore and self.method != "snapshot":
            yield ("fastRestore",), "is for method snapshot: there is nothing to restore"


class WarmSchedule(Section):
    """When placeholders run, in the time zone of `warm`."""

    start: Schedule = Field(description='When they start, as a cron expression such as "0 8 * * 1-5".')
    end: Schedule = Field(description='When they end, such as "0 18 * * 1-5".')

    @rule
    def _end_at_another_time(self, facts: Facts) -> Findings:
        if self.start == self.end:
            yield ("end",), "must differ from start: at the same time, either could come last"


class Warm(Section):
    """Placeholders: pods of low priority that keep GPUs free until a notebook takes their place."""

    replicas: Annotated[StrictInt, whole(1, 1000, "placeholders")] = Field(
        description="How many, each with one GPU or one slice."
    )
    schedule: WarmSchedule | None = Field(default=None, description="When they run; none: always.")
    time_zone: Annotated[str, Check(_time_zone)] = Field(
        default="UTC", description="Time zone of the schedule, such as Europe/Berlin."
    )
    cpu: Annotated[StrictInt, whole(1, 192, "vCPU")] | None = Field(
        default=None, description="vCPUs that each keeps free beside its GPU: as many as the expected notebook needs."
    )
    memory: Annotated[StrictInt, whole(1, 2048, "GiB")] | None = Field(
        default=None, description="Memory in GiB that each keeps free beside its GPU."
    )
    registry: Annotated[
        str, matching(r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*", "a registry such as mirror.example.com:5000/k8s")
    ] = Field(default="registry.k8s.io", description="Registry, or a mirror of it, of the images pause and kubectl.")

    @rule
    def _time_zone_of_a_schedule(self, facts: Facts) -> Findings:
        if self.schedule is None and self.time_zone != "UTC":
            yield ("timeZone",), "has no effect without a schedule: add one, or leave it out"


class Gpu(Section):
    """How a GPU pool uses its GPUs."""

    sharing: SharingKind = Field(
        default="none",
        description="none: whole GPUs; time-slicing: pods take turns, and each may use all of the memory; mps: "
        "pods run side by side, with an equal share of memory; mig: slices with compute units and memory of their own.",
    )
    replicas: Annotated[StrictInt, whole(2, _REPLICAS_LIMIT, "pods a GPU")] | None = Field(
        default=None, description="Pods that share one GPU, with time-slicing or mps; a pod gets one share."
    )
    profile: Profile | None = Field(default=None, description="MIG profile of every slice; this or layout.")
    layout: dict[Profile, Annotated[StrictInt, whole(1, 7, "slices")]] = Field(
        default={},
        description="Slices of each GPU, by MIG profile; this or profile.",
        json_schema_extra={"additionalProperties": False},
    )
    strategy: MigStrategy | None = Field(
        default=None,
        description="How pods ask for a MIG slice. mixed, the default of AL2023: nvidia.com/mig-PROFILE; single, the "
        "only one that Bottlerocket has: nvidia.com/gpu.",
    )
    image_cache: ImageCache | None = Field(default=None, description="How a new node gets images fast.")
    warm: Warm | None = Field(default=None, description="GPUs that are kept ready.")

    @rule
    def _only_what_describes_the_sharing(self, facts: Facts) -> Findings:
        for key in ("replicas", "profile", "layout", "strategy"):
            users = [kind for kind, keys in _KEYS.items() if key in keys]
            if getattr(self, key) and self.sharing not in users:
                yield (
                    (key,),
                    f"is for sharing {' or '.join(users)}, and sharing is {self.sharing}: leave one of them out",
                )

    @rule
    def _replicas_of_shared_gpus(self, facts: Facts) -> Findings:
        if self.sharing in ("time-slicing", "mps") and self.replicas is None:
            yield ("replicas",), f"is missing: say how many pods share a GPU, 2 to {_REPLICAS_LIMIT}"

    @rule
    def _profile_or_layout(self, facts: Facts) -> Findings:
        if self.sharing == "mig" and (self.profile is None) == (not self.layout):
            found = "both" if self.layout else "neither"
            yield (), f"must have either profile or layout for sharing mig, and has {found}"

    @rule
    def _slices_of_one_kind_for_single(self, facts: Facts) -> Findings:
        if self.strategy == "single" and self.layout:
            yield ("strategy",), "must be mixed with a layout: single gives slices of all kinds the same name"

    @rule
    def _placeholders_of_one_kind(self, facts: Facts) -> Findings:
        if self.warm is not None and self.layout:
            yield ("warm",), "needs slices of one kind, so that a notebook fits where a placeholder was: use profile"
