"""What EBS sells as gp3: its limits, and the ratios between size, IOPS and throughput.

Source: Amazon EBS user guide, "General Purpose SSD volumes": gp3.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import StrictInt

from settings.language.values import whole

BASE_IOPS, BASE_THROUGHPUT = 3000, 125
MOST_IOPS, MOST_THROUGHPUT, MOST_GIB = 16000, 1000, 16384
IOPS_A_GIB, IOPS_A_MIB = 500, 4

VolumeSize = Annotated[StrictInt, whole(1, MOST_GIB, "GiB")]
"""GiB of a volume."""

Iops = Annotated[StrictInt, whole(BASE_IOPS, MOST_IOPS)]
"""Operations a second."""

Throughput = Annotated[StrictInt, whole(BASE_THROUGHPUT, MOST_THROUGHPUT, "MiB/s")]
"""MiB a second."""


def iops_problem(iops: int, size: int) -> str | None:
    """What is wrong with so many IOPS for `size` GiB, as the end of the sentence that begins with the key."""
    most = max(BASE_IOPS, IOPS_A_GIB * size)
    return f"is too much for {size} GiB: gp3 has {IOPS_A_GIB} a GiB, so {most} at most" if iops > most else None


def throughput_problem(throughput: int, iops: int) -> str | None:
    """What is wrong with so many MiB/s for so many IOPS, as the end of the sentence that begins with the key."""
    if throughput * IOPS_A_MIB <= iops:
        return None
    return f"is too much for {iops} iops: a quarter of it, {iops // IOPS_A_MIB} MiB/s, at most"
