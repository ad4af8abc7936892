"""The files that a notebook's pod brings along: how it starts, and what tells of its end. They lie in /opt/gpulab.

They travel in the pod itself, as annotations that a downwardAPI volume turns into files: so they are of the hub's own
version, whichever namespace the pod is in, and the hub needs no right to make ConfigMaps there.
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
_EXTENSION_FOLDER = f"share/jupyter/labextensions/{EXTENSION}"
_PREFIX = "files.gpulab.dev/"


@dataclass(frozen=True, kw_only=True)
class File:
    """A file below the folder."""

    path: str
    content: str


def pod_annotations(files: Mapping[str, File]) -> dict[str, str]:
    """The files' contents, by the pod's annotations."""
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
    """Where the container has them."""
    return {"name": VOLUME, "mountPath": FOLDER, "readOnly": True}


def files(profile: Profile, *, warn_minutes: int, started: datetime) -> dict[str, File]:
    """The files of a notebook that the hub starts at that time, by short name."""
    extension = {
        "name": EXTENSION,
        "version": "1.0.0",
        "jupyterlab": {"extension": True, "_build": {"load": "static/notice.js", "extension": "./extension"}},
    }
    limits = {
        "started": started.isoformat(timespec="seconds"),
        "idleSeconds": profile.idle,
        "lifetimeSeconds": profile.lifetime,
        "warnMinutes": warn_minutes,
    }
    found = {
        "start": File(path="start.sh", content=_own("start.sh")),
        "terminals": File(path="terminals.py", content=_own("terminals.py")),
        "notice": File(path=f"{_EXTENSION_FOLDER}/static/notice.js", content=_own("notice.js")),
        "extension": File(path=f"{_EXTENSION_FOLDER}/package.json", content=json.dumps(extension)),
        "limits": File(path=f"{_EXTENSION_FOLDER}/static/limits.json", content=json.dumps(limits)),
    }
    if profile.startup:
        found["startup"] = File(path="startup.sh", content=profile.startup)
    return found


def _own(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
