"""Finds what a stack's file asks to keep when the stack is destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from components.storage.volumes import CLAIM_TAG, HOME_CLAIM
from settings import EksSettings
from settings.notebooks import hub
from settings.people import identity

from .account import Held
from .ownership import Ours
from .services import type_of


def wished(found: Sequence[Ours], stack: EksSettings, also: Sequence[str] = ()) -> dict[Held, str]:
    """The resources to keep, each with the setting or option that asks for it.

    `gpulab:storage.retain` keeps the file systems, their backup vaults, the bucket with backups of a database, homes
    that are disks, and the keys of all these with their aliases; `finalSnapshot` the last snapshot of a database.
    `also` are ids, or patterns of ids, from the command line.
    """
    kept = {item.held: "--keep" for item in found if any(fnmatchcase(item.held.id, pattern) for pattern in also)}
    if stack.storage.retain:
        data = [item.held for item in found if _is_data(item, stack)]
        keys = {key.rpartition("/")[2] for held in data if (key := _key_of(held))}
        of_keys = [
            item.held
            for item in found
            if (item.held.type == ("kms", "Keys") and item.held.id in keys) or item.held.raw.get("TargetKeyId") in keys
        ]
        kept |= dict.fromkeys([*data, *of_keys], "gpulab:storage.retain")
    snapshots = [item.held for item in found if item.held.kind == "DBSnapshots"]
    for database, key in _that_leave_a_snapshot(stack).items():
        last = [item for item in snapshots if item.id.startswith(f"{database}{identity.FINAL_SNAPSHOT}")]
        kept |= dict.fromkeys(last, key)
    return kept


def last_snapshot(held: Held, stack: EksSettings) -> str | None:
    """The name of the last snapshot that a database must leave by its stack's file, or None.

    It differs each time the database is made again, because RDS refuses a snapshot whose name exists.
    """
    if held.type != ("rds", "DBInstances") or held.id not in _that_leave_a_snapshot(stack):
        return None
    return f"{held.id}{identity.FINAL_SNAPSHOT}{held.raw['DbiResourceId'].lower()}"


def _that_leave_a_snapshot(stack: EksSettings) -> dict[str, str]:
    """The databases that leave a last snapshot, each with the setting that asks for it."""
    found: dict[str, str] = {}
    if stack.identity and stack.identity.database.final_snapshot:
        found[f"{stack.cluster.name}-{identity.DATABASE}"] = "gpulab:identity.database.finalSnapshot"
    if stack.running_hub and stack.running_hub.database.final_snapshot:
        found[f"{stack.cluster.name}-{hub.DATABASE}"] = "gpulab:hub.database.finalSnapshot"
    return found


def _is_data(item: Ours, stack: EksSettings) -> bool:
    if type_of(item.held).has_user_data:
        return True
    if identity.BACKUPS_TAG in item.tags:
        return True
    is_home = item.tags.get(CLAIM_TAG, "").startswith(HOME_CLAIM)
    return item.held.kind == "Volumes" and is_home and stack.storage.homes == "per-person"


def _key_of(held: Held) -> str | None:
    return held.raw.get("KmsKeyId") or held.raw.get("EncryptionKeyArn")
