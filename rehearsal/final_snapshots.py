"""The last snapshots of databases: a destroy is to leave them, and nothing else of a database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .report import Check

_INSTANCE = "aws:rds/instance:Instance"


def final_snapshots(resources: Iterable[Mapping[str, Any]]) -> set[str]:
    """What the databases of a state will leave, as `Account.holdings` names it."""
    return {
        f"rds DBSnapshots {one['outputs']['finalSnapshotIdentifier']}"
        for one in resources
        if one["type"] == _INSTANCE and not one["outputs"].get("skipFinalSnapshot")
    }


def all_taken(found: Collection[str], wanted: Collection[str]) -> Check:
    """Whether each last snapshot is there."""
    lost = sorted(set(wanted) - set(found))
    said = f"not taken: {', '.join(lost)}" if lost else f"kept: {', '.join(sorted(wanted))}"
    return Check("databases leave a last snapshot", not lost, said)
