"""Which folder a volume is, as each driver finds it. By these rules volumes with two handles are one, or are not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from components.storage.site_storage import NFS_DRIVER, SEAWEEDFS_DRIVER
from components.storage.volumes import EFS_DRIVER

# An access point of EFS is a folder of a file system that many volumes share: fs-ID:FOLDER:fsap-ID.
_ACCESS_POINT = re.compile(r"fs-\w+:[^:]*:(?P<point>fsap-\w+)")
_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class Folder:
    """The folder of a volume. Some drivers make it when they first mount it; others fail where nobody has made it."""

    name: str
    made_by_mount: bool


def folder_of(driver: str, handle: str, attributes: Mapping[str, str]) -> Folder:
    """The folder of a volume, by what its PersistentVolume says. Raises ValueError where that names none."""
    if driver == NFS_DRIVER:
        # csi-driver-nfs, pkg/nfs/nodeserver.go: a folder of the export; the handle is not looked at.
        return Folder(_name(attributes.get("subdir", ""), "volumeAttributes.subdir"), made_by_mount=False)
    if driver == SEAWEEDFS_DRIVER:
        # seaweedfs-csi-driver, pkg/driver/mounter.go: `weed mount -filer.path=… -dirAutoCreate=true`.
        path = handle if handle.startswith("/") else attributes.get("path") or f"/buckets/{handle}"
        return Folder(_name(PurePosixPath(path).name, "volumeHandle"), made_by_mount=True)
    found = _ACCESS_POINT.fullmatch(handle) if driver == EFS_DRIVER else None
    # A new disk gets its file system from the first mount, and a new access point its folder.
    return Folder(_name(found["point"] if found else handle, "volumeHandle"), made_by_mount=True)


def _name(name: str, key: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{key} names no folder of a volume: {name!r}")
    return name
