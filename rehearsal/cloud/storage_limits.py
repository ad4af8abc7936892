"""What EFS and AWS Backup accept, for the server and for the aws provider, which does not load moto.

Sources: the API references of Amazon EFS (CreateFileSystem, LifecyclePolicy, RootDirectory) and AWS Backup (Lifecycle).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

MODES = ("bursting", "provisioned", "elastic")
"""Throughput modes, the default first."""
PERFORMANCE_MODES = ("generalPurpose", "maxIO")
LEAST_MIBPS, MOST_MIBPS = 1, 3414
STATES = ("ENABLED", "DISABLED")
LONGEST_PATH = 100

_AGES = tuple(f"AFTER_{age}" for age in ("1_DAY", *(f"{days}_DAYS" for days in (7, 14, 30, 60, 90, 180, 270, 365))))
TRANSITIONS = {
    "TransitionToIA": _AGES,
    "TransitionToArchive": _AGES,
    "TransitionToPrimaryStorageClass": ("AFTER_1_ACCESS",),
}

COLD_STORAGE_DAYS = 90
LONGEST_RETENTION_DAYS = 36500


def lifecycle_problems(lifecycle: Mapping[str, int | None]) -> Iterator[str]:
    """What AWS Backup refuses in a rule's lifecycle, which has the API's names; -1 means never."""
    cold, delete = lifecycle.get("MoveToColdStorageAfterDays"), lifecycle.get("DeleteAfterDays")
    for name, days in lifecycle.items():
        if days is not None and days != -1 and not 1 <= days <= LONGEST_RETENTION_DAYS:
            yield f"{name} must be 1 to {LONGEST_RETENTION_DAYS}, not {days}"
    if cold is not None and cold > 0 and delete is not None and 0 <= delete < cold + COLD_STORAGE_DAYS:
        yield f"DeleteAfterDays cannot be less than {COLD_STORAGE_DAYS} days apart from MoveToColdStorageAfterDays"
