"""What a stack's file asks to keep when the stack is destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from components.volumes import CLAIM_TAG, HOME_CLAIM
from settings import Settings, hub, identity

from .account import Held
from .belonging import Ours


def wished(found: Sequence[Ours], stack: Settings, also: Sequence[str] = ()) -> dict[Held, str]:
    """Of the stack's things those that are kept by wish, and whose wish it is.

    `gpulab:storage.retain` keeps the file systems, their backup vaults, the bucket with backups of a database, homes
    that are disks, and the keys of all these with their aliases; `finalSnapshot` the last snapshot of a database.
    `also` are ids, or patterns of ids, that the user wants to keep.
    """
    kept = {one.held: "--keep" for one in found if any(fnmatchcase(one.held.id, pattern) for pattern in also)}
    if stack.storage.retain:
        data = [one.held for one in found if _is_data(one, stack)]
        keys = {key.rpartition("/")[2] for held in data if (key := _key_of(held))}
        of_keys = [
            one.held
            for one in found
            if (one.held.type == ("kms", "Keys") and one.held.id in keys) or one.held.raw.get("TargetKeyId") in keys
        ]
        kept |= dict.fromkeys([*data, *of_keys], "gpulab:storage.retain")
    snapshots = [one.held for one in found if one.held.kind == "DBSnapshots"]
    for database, key in _that_leave_a_snapshot(stack).items():
        last = [one for one in snapshots if one.id.startswith(f"{database}{identity.FINAL_SNAPSHOT}")]
        kept |= dict.fromkeys(last, key)
    return kept


def last_snapshot(held: Held, stack: Settings) -> str | None:
    """The name of the last snapshot that a database is to leave by its stack's wish, or None.

    Another one in each life of the database, as the program's own: RDS refuses a snapshot whose name is taken.
    """
    if held.type != ("rds", "DBInstances") or held.id not in _that_leave_a_snapshot(stack):
        return None
    return f"{held.id}{identity.FINAL_SNAPSHOT}{held.raw['DbiResourceId'].lower()}"


def _that_leave_a_snapshot(stack: Settings) -> dict[str, str]:
    """The databases that leave a last snapshot, and the keys by which they do."""
    found: dict[str, str] = {}
    if stack.identity and stack.identity.database.final_snapshot:
        found[f"{stack.cluster.name}-{identity.DATABASE}"] = "gpulab:identity.database.finalSnapshot"
    if stack.running_hub and stack.running_hub.database.final_snapshot:
        found[f"{stack.cluster.name}-{hub.DATABASE}"] = "gpulab:hub.database.finalSnapshot"
    return found


def _is_data(one: Ours, stack: Settings) -> bool:
    if one.held.type in (("efs", "FileSystems"), ("backup", "BackupVaultList")):
        return True
    if identity.BACKUPS_TAG in one.tags:
        return True
    is_home = one.tags.get(CLAIM_TAG, "").startswith(HOME_CLAIM)
    return one.held.kind == "Volumes" and is_home and stack.storage.homes == "per-person"


def _key_of(held: Held) -> str | None:
    return held.raw.get("KmsKeyId") or held.raw.get("EncryptionKeyArn")
