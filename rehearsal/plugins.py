"""Real provider plugins: used in place of a stand-in wherever they can be installed.

The aws and eks plugins are not among them: they would want a real account.
"""

from __future__ import annotations

import os
import subprocess
import urllib.error
import urllib.request
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from .toolchain import Toolchain, cache_folder
from .workspace import STAND_INS

INSTALLABLE = ("kubernetes", "random")
PUBLISHER = "https://get.pulumi.com"

_PROBE_SECONDS = 3
_INSTALL_SECONDS = 300


def installed(toolchain: Toolchain, console: Console) -> dict[str, Path]:
    """The folders of the real plugins that are in the cache or can be installed there, by the provider's name.

    Each has the version of its Python package. Without a way to the publisher nothing is tried, and that is no error: a
    stand-in serves.
    """
    home = cache_folder() / "plugins"
    found = {}
    for name in INSTALLABLE:
        number = version(f"pulumi-{name}")
        folder = home / "plugins" / f"resource-{name}-v{number}"
        program = folder / f"pulumi-resource-{name}"
        if not program.is_file() and _publisher_answers():
            console.print(f"[dim]toolchain:[/] installing the {name} plugin {number}")
            _install(toolchain, home, name, number)
        if program.is_file():
            found[name] = folder
    return found


def given(folder: Path | None) -> dict[str, Path]:
    """The plugins that `folder` (the option `--plugins`) holds, by the provider's name."""
    if folder is None:
        return {}
    return {name: folder for name in STAND_INS if (folder / f"pulumi-resource-{name}").is_file()}


def _publisher_answers() -> bool:
    try:
        with urllib.request.urlopen(PUBLISHER, timeout=_PROBE_SECONDS):
            return True
    except urllib.error.HTTPError:
        return True  # whatever it says, it can be reached
    except OSError:
        return False


def _install(toolchain: Toolchain, home: Path, name: str, number: str) -> None:
    environment = {**os.environ, "PULUMI_HOME": str(home), "PULUMI_SKIP_UPDATE_CHECK": "true"}
    command = [str(toolchain.path("pulumi")), "plugin", "install", "resource", name, f"v{number}"]
    try:
        subprocess.run(command, env=environment, capture_output=True, timeout=_INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return
