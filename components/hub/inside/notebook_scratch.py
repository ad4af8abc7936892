"""Runs beside a notebook's server, in its container: writes how full scratch is, for the notice in JupyterLab.

Scratch is not a file system that could be full: kubelet ends the notebook when it exceeds its size. This needs only
Python and du, which counts as kubelet does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

LOOK_SECONDS = 60
# Counting takes at most a twentieth of the time: with millions of files it would keep the processor busy.
_SHARE_OF_TIME = 20


def used(folder: str) -> int:
    """Bytes that the folder takes on its disk, without what cannot be read. Raises OSError and ValueError."""
    counted = subprocess.run(
        ["nice", "du", "--summarize", "--one-file-system", "--block-size=1", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    return int(counted.stdout.split()[0]) if counted.stdout else 0


def write_use(file: Path, folder: str, gib: int) -> None:
    """Writes how full scratch is, in one step, so that readers never see half a file."""
    new = file.with_suffix(".new")
    new.write_text(json.dumps({"used": used(folder), "size": gib * 1024**3}), encoding="utf-8")
    new.replace(file)


def main(folder: str, gib: str, place: str) -> None:
    """Looks again and again while its parent, the server's process, lives."""
    server, file = os.getppid(), Path(place)
    file.parent.mkdir(parents=True, exist_ok=True)
    while os.getppid() == server:
        begun = time.monotonic()
        try:
            write_use(file, folder, int(gib))
        except OSError as error:
            print(f"Cannot measure how full scratch is: {error}", flush=True)
        time.sleep(max(LOOK_SECONDS, _SHARE_OF_TIME * (time.monotonic() - begun)))


if __name__ == "__main__":
    main(*sys.argv[1:])
