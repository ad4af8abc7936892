"""`python -m ci.lint [DIR]`: what is wrong with the workflows in .github, by actionlint and zizmor, off line.

Exit status 1 when either finds something.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from rehearsal.command import INTERRUPTED
from rehearsal.toolchain import ACTIONLINT, ToolMissing, ensure


def commands(folder: Path, actionlint: Path) -> list[list[str]]:
    """What to run on a folder such as .github. Scripts are files of their own, which ruff and pyright read."""
    workflows = sorted(str(path) for path in (folder / "workflows").glob("*.y*ml"))
    zizmor = str(Path(sys.executable).with_name("zizmor"))
    return [
        [str(actionlint), "-shellcheck=", "-pyflakes=", *workflows],
        [zizmor, "--offline", "--quiet", "--no-progress", "--format=plain", str(folder)],
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs both, whatever the first one finds, and returns the exit status."""
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
