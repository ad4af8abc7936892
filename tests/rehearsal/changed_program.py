"""A copy of the program whose components a test may change."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from rehearsal.machine.workspace import PROJECT


def copied_program(folder: Path) -> Path:
    """A copy of this project's program in `folder`, with its own components."""
    folder.mkdir()
    for name in ("__main__.py", "settings", "contracts", "Pulumi.yaml", "Pulumi.dev.yaml"):
        (folder / name).symlink_to(PROJECT / name)
    shutil.copytree(PROJECT / "components", folder / "components")
    return folder


def change(path: Path, pattern: str, replacement: str) -> None:
    """Replaces a text that is in a file of the program exactly once."""
    text, changed = re.subn(pattern, replacement, path.read_text(encoding="utf-8"))
    assert changed == 1, f"{pattern} is {changed} times in {path.name}"
    path.write_text(text, encoding="utf-8")
