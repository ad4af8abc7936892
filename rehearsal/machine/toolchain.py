"""The programs of a rehearsal: each is found on PATH, else downloaded as an official release, else built with Go.

A cache outside the checkout keeps them by name, version and platform, so that later rehearsals of any checkout find
them. Missing programs are made in the background, in the order in which they are needed; `Toolchain.path` waits.
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

from rehearsal import command
from rehearsal.progress import Display

from .cache import cache_folder
from .filling import Filling, Missing, is_whole, origin
from .signals import termination_as_interrupt
from .tools import ACTIONLINT, ALL_TOOLS, Tool, ToolMissing

__all__ = ["ACTIONLINT", "ALL_TOOLS", "ToolMissing", "Toolchain", "cache_folder", "ensure", "filled", "fits"]


@dataclass(frozen=True)
class Toolchain:
    """The path of each program, and the origin of those that are ready (`PATH`, `downloaded` or `built`)."""

    paths: Mapping[str, Path]
    origins: Mapping[str, str]
    filling: Filling | None = field(default=None, compare=False, repr=False)

    def path(self, program: str) -> Path:
        """The file of `program`. Waits until it is ready. Raises ToolMissing, OSError."""
        self.wait_for(program)
        return self.paths[program]

    def wait_for(self, *programs: str) -> None:
        """Waits until these programs, or all if none is named, are ready. Raises ToolMissing, OSError."""
        if self.filling:
            self.filling.wait_for(set(programs or self.paths))

    @property
    def awaited(self) -> set[str]:
        """The programs that are not ready yet."""
        return self.filling.awaited if self.filling else set()

    def builds(self) -> set[int]:
        """The process ids of the running build."""
        return self.filling.processes() if self.filling else set()


@contextlib.contextmanager
def filled(display: Display, tools: Iterable[Tool] = ALL_TOOLS) -> Iterator[Toolchain]:
    """The tools. Missing ones are made while the block runs. Raises ToolMissing, OSError."""
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
    """Finds, downloads or builds tools, by default the rehearsal's, and shows the progress on `console`.

    Raises ToolMissing, OSError, and a KeyboardInterrupt that says what is kept.
    """
    with termination_as_interrupt(), filled(Display(console), ALL_TOOLS if tools is None else tools) as toolchain:
        toolchain.wait_for()
        return Toolchain(toolchain.paths, toolchain.origins)


def _on_path(tool: Tool) -> dict[str, Path]:
    """The tool's programs on PATH, if all are there and the version fits; else nothing."""
    if not tool.on_path:
        return {}
    found = {program: shutil.which(program) for program in tool.programs}
    if not all(found.values()):
        return {}
    for program in tool.packages if tool.version_command else ():
        try:
            command_line = [str(found[program]), *tool.version_command]
            printed = subprocess.run(command_line, capture_output=True, text=True, timeout=30, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return {}
        if not fits(printed, tool.version, same_minor=tool.same_minor):
            return {}
    return {program: Path(path) for program, path in found.items() if path}


def fits(printed: str, pinned: str, *, same_minor: bool = False) -> bool:
    """Whether the version that a program `printed` can replace `pinned`: not older, with the same major (and minor)."""
    versions = [re.search(r"(\d+)\.(\d+)\.(\d+)", text) for text in (printed, pinned)]
    if not all(versions):
        return False
    theirs, ours = ([int(part) for part in version.groups()] for version in versions if version)
    same = 2 if same_minor else 1
    return theirs[:same] == ours[:same] and theirs >= ours


def main() -> int:
    """`make setup`: makes every tool ready and prints where each comes from."""
    return command.run(_set_up, Console(stderr=True))


def _set_up(console: Console) -> int:
    for program, how in ensure(console, (*ALL_TOOLS, ACTIONLINT)).origins.items():
        console.print(f"[dim]toolchain:[/] {program} ({how})", highlight=False)
    return command.OK


if __name__ == "__main__":
    sys.exit(main())
