"""`python -m ci.lint [DIR]`: checks the workflows in .github with actionlint and zizmor, offline.

Exit status 1 if one of them finds something.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rehearsal.command import INTERRUPTED
from rehearsal.machine.toolchain import ACTIONLINT, ToolMissing, ensure


def commands(folder: Path, actionlint: Path) -> list[list[str]]:
    """The commands for a folder such as .github. Scripts are separate files, which ruff and pyright check."""
    workflows = sorted(str(path) for path in (folder / "workflows").glob("*.y*ml"))
    zizmor = str(Path(sys.executable).with_name("zizmor"))
    return [
        [str(actionlint), "-shellcheck=", "-pyflakes=", *workflows],
        [zizmor, "--offline", "--quiet", "--no-progress", "--format=plain", str(folder)],
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both, even if the first one finds something, and returns the exit status."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    folder = Path(given[0]) if given else Path(".github")
    if not list((folder / "workflows").glob("*.y*ml")):
        print(f"{folder}/workflows has no workflows", file=sys.stderr)
        return 1
    try:
        actionlint = ensure(Console(stderr=True), [ACTIONLINT]).path("actionlint")
    except (ToolMissing, OSError) as error:
        print(f"actionlint: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupted:
        print(f"Interrupted: {interrupted}", file=sys.stderr)
        return INTERRUPTED
    found = [subprocess.run(command, check=False).returncode != 0 for command in commands(folder, actionlint)]
    return 1 if any(found) else 0


if __name__ == "__main__":
    sys.exit(main())
