"""Folders of Go modules in Go's own cache: charts and headers that NVIDIA and Kubernetes publish beside their code."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

from rehearsal.machine.tools import TOOLS, ToolMissing


@functools.cache
def folder(pin: str, module: str) -> Path:
    """The read-only folder of `module` in the version that `tools/PIN/go.mod` has. Go downloads it if it is missing.

    Raises ToolMissing.
    """
    go = shutil.which("go")
    if not go:
        raise ToolMissing(f"{module}: there is no `go` on PATH, which downloads it. Install Go (https://go.dev/dl).")
    settings = {"GOFLAGS": "-mod=readonly", "GOWORK": "off"}
    done = subprocess.run(
        [go, "mod", "download", "-json", module],
        cwd=TOOLS / pin,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    found = json.loads(done.stdout or "{}")
    if done.returncode or "Dir" not in found:
        said = found.get("Error") or done.stderr.strip()
        raise ToolMissing(f"{module}: `go mod download` in tools/{pin} failed: {said}")
    return Path(found["Dir"])


def version(pin: str, module: str) -> str:
    """The version of `module` by its folder's name, such as 0.19.3."""
    return folder(pin, module).name.rpartition("@v")[2]
