"""The nodes of a pool: how many there may be, their root volume, their image."""

from __future__ import annotations

import datetime
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictInt

from settings.gp3 import BASE_IOPS, BASE_THROUGHPUT, Iops, Throughput, VolumeSize, iops_problem, throughput_problem
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import Check, whole

DEFAULT_AMI_ALIAS = "al2023@v20260930"
"""The image of pools that name none."""

_MOST_USD = 1000


def _price(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("must be a number of USD an hour, such as 15 or 7.5, without quotes")  # noqa: TRY004 (as others)
    if not 0 < value <= _MOST_USD:
        raise ValueError(f"must be more than 0 and at most {_MOST_USD} USD an hour")
    return float(value)


UsdAnHour = Annotated[float, BeforeValidator(_price), Check(float, {"exclusiveMinimum": 0, "maximum": _MOST_USD})]
"""The price of a machine in USD an hour."""


class Limits(Section):
    """What all the nodes of a pool may have together. Karpenter buys no node that would exceed it."""

    cpu: Annotated[StrictInt, whole(1, 100_000, "vCPU")] | None = Field(
        default=None, description="vCPUs; required for a pool without GPUs."
    )
    memory: Annotated[StrictInt, whole(1, 1_000_000, "GiB")] | None = Field(default=None, description="Memory in GiB.")
    gpus: Annotated[StrictInt, whole(1, 10_000, "GPUs")] | None = Field(
        default=None, description="Whole GPUs; required for a GPU pool, and for no other."
    )


class Gpus(Section):
    """How many GPUs one instance has."""

    min: Annotated[StrictInt, whole(1, 16, "GPUs")] = Field(description="GPUs that an instance has at least.")
    max: Annotated[StrictInt, whole(1, 16, "GPUs")] = Field(description="GPUs that an instance has at most.")

    @rule
    def _min_up_to_max(self, facts: Facts) -> Findings:
        if self.min > self.max:
            yield ("min",), f"must not exceed max, which is {self.max}"


class RootVolume(Section):
    """A node's root volume: gp3, always encrypted."""

    size: VolumeSize = Field(default=100, description="Size in GiB.")
    iops: Iops = Field(default=BASE_IOPS, description="Operations a second; above 3000 at most 500 for each GiB.")
    throughput: Throughput = Field(default=BASE_THROUGHPUT, description="MiB a second; at most a quarter of iops.")

    @rule
    def _iops_for_the_size(self, facts: Facts) -> Findings:
        if problem := iops_problem(self.iops, self.size):
            yield ("iops",), problem

    @rule
    def _throughput_for_the_iops(self, facts: Facts) -> Findings:
        if problem := throughput_problem(self.throughput, self.iops):
            yield ("throughput",), problem


class Ami(Section):
    """The nodes' image, pinned, so that a new one comes only with a change of the stack file."""

    family: Literal["AL2023", "Bottlerocket"] = Field(description="Operating system.")
    alias: str = Field(description="Family and version: al2023@v20260930 or bottlerocket@v1.52.0.")

    @property
    def release(self) -> str:
        """The image's release, such as v20260917 or v1.53.0."""
        return self.alias.partition("@")[2]

    @rule
    def _pinned_version_of_the_family(self, facts: Facts) -> Findings:
        family, _, version = self.alias.partition("@")
        example = DEFAULT_AMI_ALIAS if self.family == "AL2023" else "bottlerocket@v1.52.0"
        if version == "latest":
            yield (
                ("alias",),
                f"must be pinned, as latest would replace nodes at any time: write a version such as {example}",
            )
        elif family != self.family.lower():
            yield ("alias",), f"must be of the family {self.family}: write a version such as {example}"
        elif not _is_version(self.family, version):
            yield ("alias",), f"must be the family and a version, such as {example}"


def _is_version(family: str, version: str) -> bool:
    if family == "Bottlerocket":
        return re.fullmatch(r"v\d{1,3}\.\d{1,3}\.\d{1,3}", version) is not None
    if not re.fullmatch(r"v\d{8}", version):
        return False
    try:
        datetime.date.fromisoformat(version.removeprefix("v"))
    except ValueError:
        return False
    return True
