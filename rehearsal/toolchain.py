"""The toolchain of a rehearsal: each program found on PATH, else downloaded as an official release, else built with Go.

Each lies in a cache outside the checkout, by name, version and platform, so that a second rehearsal (of any checkout)
finds it. What is missing is made in the background, in the order in which it is needed: `Toolchain.path` waits for it.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from . import command
from .cache import cache_folder
from .filling import Filling, Missing, is_whole, origin
from .progress import Display
from .signals import termination_as_interrupt
from .tools import ACTIONLINT, ALL_TOOLS, Tool, ToolMissing

__all__ = ["ACTIONLINT", "ALL_TOOLS", "ToolMissing", "Toolchain", "cache_folder", "ensure", "filled", "fits"]


@dataclass(frozen=True)
class Toolchain:
    """Where each program is, or will be, and how those that are there came there (`PATH`, `downloaded` or `built`)."""

    paths: Mapping[str, Path]
    origins: Mapping[str, str]
    filling: Filling | None = field(default=None, compare=False, repr=False)

    def path(self, program: str) -> Path:
        """The file of `program`. Waits until it is there; raises ToolMissing and OSError when it can't be had."""
        self.wait_for(program)
        return self.paths[program]

    def wait_for(self, *programs: str) -> None:
        """Waits until these programs, or all if none is named, are there. Raises ToolMissing, OSError."""
        if self.filling:
            self.filling.wait_for(set(programs or self.paths))

    @property
    def awaited(self) -> set[str]:
        """The programs that are not there yet."""
        return self.filling.awaited if self.filling else set()

    def builds(self) -> set[int]:
        """The process ids of the build that runs."""
        return self.filling.processes() if self.filling else set()


@contextlib.contextmanager
def filled(display: Display, tools: Iterable[Tool] = ALL_TOOLS) -> Iterator[Toolchain]:
    """Tools, of which those that are missing are made while the block runs. Raises ToolMissing, OSError."""
    paths: dict[str, Path] = {}
    origins: dict[str, str] = {}
    missing = []
    for tool in tools:
        found, how = _on_path(tool), "PATH"
        if not found:
            folder = cache_folder() / "toolchain" / tool.folder_name
            found = {program: folder / program for program in tool.programs}
            if is_whole(tool, folder):
                how = origin(folder)
            else:
                how = ""
                missing.append(Missing(tool, folder))
        paths |= found
        if how:
            origins |= dict.fromkeys(found, how)
    if not missing:
        yield Toolchain(paths, origins)
        return
    filling = Filling(display, missing, origins)
    with filling.running():
        yield Toolchain(paths, origins, filling)


def ensure(console: Console, tools: Iterable[Tool] | None = None) -> Toolchain:
    """Finds, downloads or builds tools, the rehearsal's by default; its progress on `console`.

    Raises ToolMissing, OSError, and a KeyboardInterrupt that says what is kept.
    """
    with termination_as_interrupt(), filled(Display(console), ALL_TOOLS if tools is None else tools) as toolchain:
        toolchain.wait_for()
        return Toolchain(toolchain.paths, toolchain.origins)


def _on_path(tool: Tool) -> dict[str, Path]:
    """The tool's programs on PATH, when all are there and the version fits; else nothing."""
    found = {program: shutil.which(program) for program in tool.programs}
    if not all(found.values()):
        return {}
    for program in tool.packages if tool.version_command else ():
        try:
            asked = [str(found[program]), *tool.version_command]
            printed = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return {}
        if not fits(printed, tool.version, same_minor=tool.same_minor):
            return {}
    return {program: Path(path) for program, path in found.items() if path}


def fits(printed: str, pinned: str, *, same_minor: bool = False) -> bool:
    """Whether the version in what a program `printed` may stand for `pinned`: not older, and the same major (minor)."""
    versions = [re.search(r"(\d+)\.(\d+)\.(\d+)", text) for text in (printed, pinned)]
    if not all(versions):
        return False
    theirs, ours = ([int(part) for part in version.groups()] for version in versions if version)
    same = 2 if same_minor else 1
    return theirs[:same] == ours[:same] and theirs >= ours


def main() -> int:
    """`make setup`: has every tool ready and says where each came from."""
    return command.run(_set_up, Console(stderr=True))


def _set_up(console: Console) -> int:
    for program, how in ensure(console, (*ALL_TOOLS, ACTIONLINT)).origins.items():
        console.print(f"[dim]toolchain:[/] {program} ({how})", highlight=False)
    return command.OK


if __name__ == "__main__":
    sys.exit(main())
