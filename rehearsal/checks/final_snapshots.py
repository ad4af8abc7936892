"""The final snapshots of databases: a destroy must leave them, and nothing else of a database."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from rehearsal.report import Check

_INSTANCE = "aws:rds/instance:Instance"


def final_snapshots(resources: Iterable[Mapping[str, Any]]) -> set[str]:
    """The final snapshots that the databases of a state leave, as `Account.holdings` names them."""
    return {
        f"rds DBSnapshots {resource['outputs']['finalSnapshotIdentifier']}"
        for resource in resources
        if resource["type"] == _INSTANCE and not resource["outputs"].get("skipFinalSnapshot")
    }


def all_taken(found: Collection[str], wanted: Collection[str]) -> Check:
    """Whether each final snapshot exists."""
    missing = sorted(set(wanted) - set(found))
    detail = f"missing: {', '.join(missing)}" if missing else f"kept: {', '.join(sorted(wanted))}"
    return Check("databases leave a final snapshot", not missing, detail)
