"""What a destroy is to keep: the resources that the program marked with `retain_on_delete`, and whether they are there.

The engine takes them out of the state like all others, so they are noted before a destroy and looked for after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from .leftovers import Account
from .report import Check

_POLICY = "aws:efs/fileSystemPolicy:FileSystemPolicy"


@dataclass(frozen=True)
class Retained:
    """A resource that a destroy keeps, as the state has it."""

    type: str
    name: str
    id: str

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


def retained(resources: Iterable[Mapping[str, Any]]) -> list[Retained]:
    """Those of a state's resources that a destroy keeps in AWS."""
    return [
        Retained(one["type"], one["urn"].rpartition("::")[2], one["id"])
        for one in resources
        if one.get("retainOnDelete") and one.get("custom")
    ]


def kept_and_left(found: Collection[str], wanted: Iterable[Retained]) -> tuple[list[str], list[str]]:
    """What an account still holds, as `Account.holdings` names it, in two: what was to be kept, and what is left."""
    ids = {one.id for one in wanted}
    kept = sorted(name for name in found if name.rpartition(" ")[2] in ids)
    return kept, sorted(set(found) - set(kept))


def all_there(account: Account, kept: Collection[str], wanted: Iterable[Retained]) -> Check:
    """Whether each resource that was to be kept is still in AWS, a policy on its file system included."""
    ids = {name.rpartition(" ")[2] for name in kept}
    wanted = list(wanted)
    lost = [str(one) for one in wanted if one.id not in ids or not _policy_holds(account, one)]
    said = ", ".join(map(str, wanted))
    return Check("what is retained is kept", not lost, f"lost: {', '.join(lost)}" if lost else said)


def _policy_holds(account: Account, one: Retained) -> bool:
    if one.type != _POLICY:
        return True
    try:
        return bool(account.client("efs").describe_file_system_policy(FileSystemId=one.id)["Policy"])
    except ClientError:
        return False
