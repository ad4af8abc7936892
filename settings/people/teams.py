"""`gpulab:teams`: who works on the platform, what each team may use, and which profiles it may start."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Annotated

from pydantic import Field, StrictInt

from settings.admitted_ranges import VPC_RANGES, range_of
from settings.files import Files, VolumeName
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import DISTINCT, Check, at_least_one, matching, whole
from settings.people.names import ProfileName, TeamRole
from settings.pools.gpu import Profile as MigProfile
from settings.pools.gpu_shares import GPU_RESOURCE, MIG_RESOURCE_PREFIX, SHARED_GPU_RESOURCE
from settings.pools.node_pools import PoolName

MOST_NOTEBOOKS = 1000

# Amazon S3 user guide, "General purpose bucket naming rules"; "Naming Amazon S3 objects".
_BUCKET = r"(?!xn--)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_PREFIX = re.compile(rf"s3://(?P<bucket>{_BUCKET})/(?P<prefix>([^*?$\\{{}}/\s][^*?$\\{{}}/]*/)*)")
_LONGEST_PREFIX = 512
# IAM quotas: the policies within a role have 10,240 characters. Each prefix is in them up to three times.
_MOST_PREFIXES, _LONGEST_PREFIXES = 20, 1500


def _s3_prefix(text: str) -> str:
    example = "s3://bucket/prefix/"
    if not text.startswith("s3://"):
        raise ValueError(f"must begin with s3://, such as {example}")
    if "*" in text or "?" in text:
        raise ValueError(f"must not have wildcards: {example} stands for everything that begins with it")
    if not text.endswith("/"):
        raise ValueError(f"must end with a slash: without it, {text}-other would be open too")
    if not _PREFIX.fullmatch(text) or len(text) > _LONGEST_PREFIX:
        raise ValueError(f"must be a bucket and a prefix, such as {example}, of {_LONGEST_PREFIX} characters at most")
    return text


S3Prefix = Annotated[str, Check(_s3_prefix, {"pattern": "^s3://[^/]+/(.*/)?$"})]
"""All objects of a bucket whose keys begin with a prefix."""


def _reached_range(text: str) -> str:
    network = range_of(text, "192.168.1.10/32")
    if not isinstance(network, IPv4Network) or not any(network.subnet_of(private) for private in VPC_RANGES):
        raise ValueError(
            f"must be within {', '.join(map(str, VPC_RANGES))}: notebooks reach the internet anyway, and never what "
            "machines keep for themselves (127.0.0.0/8, 169.254.0.0/16)"
        )
    return str(network)


class Quota(Section):
    """What all notebooks of a team may have together. Kubernetes enforces it; what is not listed is 0."""

    gpus: Annotated[StrictInt, whole(0, 10_000, "GPUs")] = Field(default=0, description="Whole GPUs.")
    slices: Annotated[StrictInt, whole(0, 100_000, "shares")] = Field(
        default=0, description="Shares of GPUs that pods use in turns or side by side (time-slicing, mps)."
    )
    mig: dict[MigProfile, Annotated[StrictInt, whole(0, 100_000, "slices")]] = Field(
        default={}, description="MIG slices by profile.", json_schema_extra={"additionalProperties": False}
    )
    cpu: Annotated[StrictInt, whole(1, 100_000, "vCPU")] = Field(description="vCPUs that notebooks request.")
    memory: Annotated[StrictInt, whole(1, 1_000_000, "GiB")] = Field(
        description="Memory in GiB that notebooks request, which is also their limit."
    )
    notebooks: Annotated[StrictInt, whole(1, MOST_NOTEBOOKS, "notebooks")] = Field(
        description="Notebooks that run at the same time."
    )
    storage: Annotated[StrictInt, whole(0, 1_000_000, "GiB")] = Field(
        default=0,
        description="GiB of block volumes: homes per-person. EFS, where homes are by default, has no quotas.",
    )

    @property
    def accelerators(self) -> Counter[str]:
        """What is granted of GPUs, by the resource that pods ask for."""
        mig = {f"{MIG_RESOURCE_PREFIX}{profile}": count for profile, count in self.mig.items()}
        return Counter({GPU_RESOURCE: self.gpus, SHARED_GPU_RESOURCE: self.slices, **mig})


class Buckets(Section):
    """The prefixes of Amazon S3 that a team's notebooks may use, through an IAM role of the team."""

    read: Annotated[tuple[S3Prefix, ...], DISTINCT] = Field(
        default=(), description="Prefixes to read, such as s3://bucket/prefix/."
    )
    write: Annotated[tuple[S3Prefix, ...], DISTINCT] = Field(default=(), description="Prefixes to read and to write.")

    @rule
    def _some_prefix(self, facts: Facts) -> Findings:
        if not self.read and not self.write:
            yield (), "must have prefixes to read, or to write: leave it out for a team without buckets"

    @rule
    def _within_one_policy(self, facts: Facts) -> Findings:
        length = sum(map(len, (*self.read, *self.write)))
        if length > _LONGEST_PREFIXES or len(self.read) + len(self.write) > _MOST_PREFIXES:
            yield (
                (),
                f"has too many prefixes, or too long ones, for a role's policy: at most {_MOST_PREFIXES}, with "
                f"{_LONGEST_PREFIXES} characters together. Name a folder above them",
            )


class Team(Section):
    """A team: a namespace for its notebooks, a quota, and what they may use."""

    description: Annotated[str, matching(r"[^\x00-\x1f]{1,200}", "a line of text, 200 characters at most")] = Field(
        description="What the team does, in a line."
    )
    quota: Quota = Field(description="What its notebooks may have together: at least cpu, memory and notebooks.")
    profiles: Annotated[tuple[ProfileName, ...], DISTINCT, at_least_one("profile")] = Field(
        description="The profiles that it may start; each profile's roles say who in the team may."
    )
    buckets: Buckets | None = Field(default=None, description="Prefixes of Amazon S3 that its notebooks may use.")
    node_pools: Annotated[tuple[PoolName, ...], DISTINCT] = Field(
        default=(), description="The node pools that its pods may run on; none: all of them."
    )
    reaches: Annotated[tuple[Annotated[str, Check(_reached_range)], ...], DISTINCT] = Field(
        default=(),
        description="Private IPv4 ranges that its notebooks reach beside the internet, such as 192.168.1.10/32.",
    )
    writes: dict[VolumeName, Annotated[tuple[TeamRole, ...], DISTINCT, at_least_one("role")]] = Field(
        default={},
        description="Which of its roles may write to the platform's volumes, such as datasets and models, by volume. "
        "They come on top of the writers that the volumes name.",
        json_schema_extra={"additionalProperties": False},
    )

    def pools(self, pools: Mapping[str, object]) -> tuple[str, ...]:
        """The names of the stack's pools that it may use."""
        return self.node_pools or tuple(pools)


def with_writers_of(teams: Mapping[str, Team], storage: Files) -> Files:
    """The storage with the writers that the teams name: the one place where both are joined."""
    volumes = {}
    for name, volume in storage.volumes.items():
        added = {
            team: tuple(dict.fromkeys((*volume.writers.get(team, ()), *one.writes[name])))
            for team, one in teams.items()
            if name in one.writes
        }
        volumes[name] = volume.model_copy(update={"writers": {**volume.writers, **added}}) if added else volume
    return storage.model_copy(update={"volumes": volumes})
