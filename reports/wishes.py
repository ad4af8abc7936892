"""What a stack's file asks to keep when the stack is destroyed."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from components.volumes import home_claim_name
from settings import Settings
from settings.identity import FINAL_SNAPSHOT

from .account import Held
from .belonging import Ours

_CLAIM_TAG = "kubernetes.io/created-for/pvc/name"
_HOME = home_claim_name("{username}").partition("{")[0]


def wished(found: Sequence[Ours], stack: Settings, also: Sequence[str] = ()) -> dict[Held, str]:
    """Of the stack's things those that are kept by wish, and whose wish it is.

    `gpulab:storage.retain` keeps the file systems, their backup vaults, homes that are disks, and the keys of all these
    with their aliases; `finalSnapshot` the last snapshot of the database. `also` are ids, or patterns of ids, that the
    user wants to keep.
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
    if stack.identity and stack.identity.database.final_snapshot:
        last = [one.held for one in found if one.held.kind == "DBSnapshots" and FINAL_SNAPSHOT in one.held.id]
        kept |= dict.fromkeys(last, "gpulab:identity.database.finalSnapshot")
    return kept


def _is_data(one: Ours, stack: Settings) -> bool:
    if one.held.type in (("efs", "FileSystems"), ("backup", "BackupVaultList")):
        return True
    is_home = one.tags.get(_CLAIM_TAG, "").startswith(_HOME)
    return one.held.kind == "Volumes" and is_home and stack.storage.homes == "per-person"


def _key_of(held: Held) -> str | None:
    return held.raw.get("KmsKeyId") or held.raw.get("EncryptionKeyArn")
