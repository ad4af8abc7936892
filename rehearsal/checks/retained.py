"""What a destroy must keep: the resources with `retain_on_delete`, and whether they still exist.

The engine removes them from the state like all others, so they are listed before a destroy and searched after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.report import Check

from .leftovers import Account

_POLICY = "aws:efs/fileSystemPolicy:FileSystemPolicy"


@dataclass(frozen=True)
class Retained:
    """A resource that a destroy keeps, as the state describes it."""

    type: str
    name: str
    id: str

    def __str__(self) -> str:
        return f"{self.type} {self.id}"


def retained(resources: Iterable[Mapping[str, Any]]) -> list[Retained]:
    """The resources of a state that a destroy keeps in AWS."""
    return [
        Retained(resource["type"], resource["urn"].rpartition("::")[2], resource["id"])
        for resource in resources
        if resource.get("retainOnDelete") and resource.get("custom")
    ]


def kept_and_left(found: Collection[str], wanted: Iterable[Retained]) -> tuple[list[str], list[str]]:
    """Splits what is still in an account (names from `Account.holdings`) into what must be kept and leftovers."""
    ids = {resource.id for resource in wanted}
    kept = sorted(name for name in found if name.rpartition(" ")[2] in ids)
    return kept, sorted(set(found) - set(kept))


def all_there(account: Account, kept: Collection[str], wanted: Iterable[Retained]) -> Check:
    """Whether each resource to keep is still in AWS, including the policy of a file system."""
    ids = {name.rpartition(" ")[2] for name in kept}
    wanted = list(wanted)
    lost = [str(resource) for resource in wanted if resource.id not in ids or not _policy_holds(account, resource)]
    kept_names = ", ".join(map(str, wanted))
    return Check("retained resources are kept", not lost, f"lost: {', '.join(lost)}" if lost else kept_names)


def _policy_holds(account: Account, resource: Retained) -> bool:
    if resource.type != _POLICY:
        return True
    try:
        return bool(account.client("efs").describe_file_system_policy(FileSystemId=resource.id)["Policy"])
    except ClientError:
        return False
