"""The files that a notebook's pod brings: its start script, and the notice of its end. They are in /opt/gpulab.

They travel in the pod itself, as annotations that a downwardAPI volume turns into files. So they always have the hub's
version, in any namespace, and the hub needs no right to make ConfigMaps there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .catalogue import Profile

FOLDER = "/opt/gpulab"
VOLUME = "gpulab"
START = f"{FOLDER}/start.sh"

EXTENSION = "gpulab-notice"
# It asks each person about news of Jupyter, and offers versions that only a new image would bring.
_ANNOUNCEMENTS = "@jupyterlab/apputils-extension:announcements"
_EXTENSION_FOLDER = f"share/jupyter/labextensions/{EXTENSION}"
_PREFIX = "files.gpulab.dev/"


@dataclass(frozen=True, kw_only=True)
class File:
    """A file, by its path below the folder."""

    path: str
    content: str


def pod_annotations(files: Mapping[str, File]) -> dict[str, str]:
    """The files' contents, as annotations of the pod."""
    return {f"{_PREFIX}{name}": file.content for name, file in files.items()}


def volume(files: Mapping[str, File]) -> dict[str, Any]:
    """The volume with the files."""
    return {
        "name": VOLUME,
        "downwardAPI": {
            "items": [
                {"path": file.path, "fieldRef": {"fieldPath": f"metadata.annotations['{_PREFIX}{name}']"}}
                for name, file in files.items()
            ]
        },
    }


def mount() -> dict[str, Any]:
    """The mount of the volume in the container."""
    return {"name": VOLUME, "mountPath": FOLDER, "readOnly": True}


def files(
    profile: Profile, *, warn_minutes: int, started: datetime, home: str | None = None, buckets: bool = False
) -> dict[str, File]:
    """The files of a notebook that the hub starts at `started`, by short name.

    `home` is what JupyterLab shows about the home. `buckets`: whether its team has S3 prefixes, which are then tried.
    """
    extension = {
        "name": EXTENSION,
        "version": "1.0.0",
        "jupyterlab": {
            "extension": True,
            "_build": {"load": "static/notice.js", "extension": "./extension"},
            "disabledExtensions": [_ANNOUNCEMENTS],
        },
    }
    limits = {
        "started": started.isoformat(timespec="seconds"),
        "idleSeconds": profile.idle,
        "lifetimeSeconds": profile.lifetime,
        "warnMinutes": warn_minutes,
        # Its node is known only later.
        "machineEnds": None,
        "home": home,
        "buckets": buckets,
        "scratch": bool(profile.scratch),
    }
    found = {
        "start": File(path="start.sh", content=_own("notebook_start.sh")),
        "buckets": File(path="buckets.py", content=_own("notebook_buckets.py")),
        "terminals": File(path="terminals.py", content=_own("notebook_terminals.py")),
        "scratch": File(path="scratch.py", content=_own("notebook_scratch.py")),
        "notice": File(path=f"{_EXTENSION_FOLDER}/static/notice.js", content=_own("notebook_notice.js")),
        "extension": File(path=f"{_EXTENSION_FOLDER}/package.json", content=json.dumps(extension)),
        "limits": File(path=f"{_EXTENSION_FOLDER}/static/limits.json", content=json.dumps(limits)),
    }
    if profile.startup:
        found["startup"] = File(path="startup.sh", content=profile.startup)
    return found


def limits_change(annotations: Mapping[str, str], machine_ends: datetime | None) -> dict[str, str]:
    """Which annotations of a pod to change so that its files say when its machine ends; empty if they already do.

    Also empty where somebody has changed them to something else: a team's administrators may change pods.
    """
    name = f"{_PREFIX}limits"
    try:
        limits = json.loads(annotations.get(name, ""))
    except (ValueError, RecursionError):
        return {}
    ends = machine_ends and machine_ends.isoformat(timespec="seconds")
    if not isinstance(limits, dict) or limits.get("machineEnds") == ends:
        return {}
    return {name: json.dumps({**limits, "machineEnds": ends})}


def _own(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
