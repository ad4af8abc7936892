"""Real provider plugins, which replace a stand-in if they can be installed.

The aws plugin is installed only on request (`--plugins aws`), because moto does not know all of its calls. The eks
plugin is not installed: it needs a real account.
"""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from .toolchain import Toolchain, cache_folder
from .workspace import STAND_INS

INSTALLABLE = ("kubernetes", "random")
ON_REQUEST = ("aws",)
PUBLISHER = "https://get.pulumi.com"

_PROBE_SECONDS = 3
_INSTALL_SECONDS = 300


def installed(toolchain: Toolchain, console: Console, requested: Collection[str] = ()) -> dict[str, Path]:
    """The folders of the real plugins in the cache, by the provider's name; missing ones are installed if possible.

    Each has the version of its Python package. If the publisher cannot be reached, the stand-in is used. That is not an
    error, except for the plugins that are `requested`. Raises FileNotFoundError for them.
    """
    home = cache_folder() / "plugins"
    found = {}
    for name in (*INSTALLABLE, *requested):
        number = version(f"pulumi-{name}")
        folder = home / "plugins" / f"resource-{name}-v{number}"
        program = folder / f"pulumi-resource-{name}"
        if not program.is_file() and _publisher_answers():
            console.print(f"[dim]toolchain:[/] installing the {name} plugin {number}")
            _install(toolchain, home, name, number)
        if program.is_file():
            found[name] = folder
        elif name in requested:
            raise FileNotFoundError(f"--plugins: the {name} plugin {number} cannot be downloaded from {PUBLISHER}")
    return found


def given(folder: Path | None) -> dict[str, Path]:
    """The plugins in `folder` (the option `--plugins`), by the provider's name."""
    if folder is None:
        return {}
    return {name: folder for name in STAND_INS if (folder / f"pulumi-resource-{name}").is_file()}


def _publisher_answers() -> bool:
    try:
        with urllib.request.urlopen(PUBLISHER, timeout=_PROBE_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # any answer means that it can be reached
    except OSError:
        return False


def _install(toolchain: Toolchain, home: Path, name: str, number: str) -> None:
    environment = {**os.environ, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    command = [str(toolchain.path("pulumi")), "plugin", "install", "resource", name, f"v{number}"]
    try:
        subprocess.run(command, env=environment, capture_output=True, timeout=_INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return
