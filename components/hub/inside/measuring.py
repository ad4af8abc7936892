"""Measures what a team's homes hold, and writes it to a ConfigMap for the hub.

It runs in a job with the hub's image: `python3 -m gpulab.measuring TEAM FOLDER NAMESPACE CONFIGMAP`. Every file of the
file system belongs to the user that it runs as, through the access point. `du` counts what EFS bills, except 2 KiB of
metadata for each file ("How Amazon EFS reports file system and object sizes", EFS user guide).
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from kubernetes_asyncio import client, config

FIELD_MANAGER = "home-sizes"


class Counted(NamedTuple):
    """Bytes of a home, and whether that is all of it: a folder that its owner may not read counts as empty."""

    size: int
    whole: bool


def sizes(folder: str) -> dict[str, Counted]:
    """What each directory in the folder holds. Raises OSError."""
    homes = sorted(one.name for one in Path(folder).iterdir() if one.is_dir() and not one.is_symlink())
    return {name: _used(Path(folder) / name) for name in homes}


def _used(home: Path) -> Counted:
    counted = subprocess.run(
        ["du", "--summarize", "--one-file-system", "--block-size=1", str(home)],
        capture_output=True,
        text=True,
        check=False,
    )
    if counted.returncode:
        # Somebody deletes files while it counts, or has made a folder unreadable.
        print(f"{home.name}: not all is counted: {counted.stderr.strip()[:300]}", flush=True)
    return Counted(int(counted.stdout.split()[0]) if counted.stdout else 0, whole=not counted.returncode)


def document(found: Mapping[str, Counted], measured: datetime) -> str:
    """What the hub reads, with `homes.home_size`."""
    sizes = {
        "measured": measured.isoformat(timespec="seconds"),
        "bytes": {name: counted.size for name, counted in found.items()},
        "incomplete": [name for name, counted in found.items() if not counted.whole],
    }
    return json.dumps(sizes, sort_keys=True)


async def write(namespace: str, name: str, team: str, text: str) -> None:
    """Applies the ConfigMap; the first measurement creates it. Raises ApiException."""
    config.load_incluster_config()
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {f"{team}.json": text}}
    async with client.ApiClient() as connection:
        api: Any = client.CoreV1Api(connection)
        await api.patch_namespaced_config_map(
            name,
            namespace,
            body,
            field_manager=FIELD_MANAGER,
            force=True,
            _request_timeout=60,
            _content_type="application/apply-patch+yaml",
        )


def main(team: str, folder: str, namespace: str, name: str) -> None:
    """Measures all homes, and then writes the result."""
    found = sizes(folder)
    asyncio.run(write(namespace, name, team, document(found, datetime.now(UTC))))
    print(f"{len(found)} homes of {team} hold {sum(one.size for one in found.values()) / 1024**3:.1f} GiB", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
