"""The recipes of docs/, read from the documents, so that tests never use outdated lines."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from rehearsal.machine.processes import MARK
from rehearsal.machine.workspace import PROJECT
from rehearsal.phases import Rehearsal

DOCUMENTS = sorted((PROJECT / "docs").glob("*.md"))
_RECIPE = re.compile(r"<!-- recipe: ([a-z-]+) -->\n```sh\n(.*?)```", re.DOTALL)


def recipes() -> dict[str, list[str]]:
    """The lines of each recipe by its name."""
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    found = {name: lines.splitlines() for name, lines in _RECIPE.findall(text)}
    assert len(found) == text.count("<!-- recipe:"), "a recipe's mark stands before no block of sh, or twice"
    return found


def follow(rehearsal: Rehearsal, lines: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs lines as the stack's owner would, in its project folder, with every question answered yes."""
    environment = {
        **rehearsal.workspace.environment,
        MARK: rehearsal.session.id,
        "AWS_DEFAULT_REGION": rehearsal.settings.region,
        "KUBECONFIG": str(rehearsal.plane.kubeconfig),
        "PULUMI_SKIP_CONFIRMATIONS": "true",
        # The user's project folder is a clone, with `reports` in it; the rehearsal's copy has what the program needs.
        "PYTHONPATH": os.pathsep.join([str(rehearsal.workspace.folder), str(PROJECT)]),
    }
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", "\n".join(lines)],
        cwd=rehearsal.workspace.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def follow_well(rehearsal: Rehearsal, lines: list[str]) -> str:
    """The same for lines that must succeed. Returns their output."""
    done = follow(rehearsal, lines)
    assert done.returncode == 0, f"{lines}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def with_real_aws(rehearsal: Rehearsal, folder: Path) -> None:
    """The rehearsal's own `aws` supports only what a kubeconfig needs; its other tools stay."""
    real = shutil.which("aws", path=rehearsal.workspace.users_environment["PATH"])
    script = folder / "bin" / "aws"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\nexec {real} "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    environment = dict(rehearsal.workspace.environment)
    environment["PATH"] = f"{script.parent}{os.pathsep}{environment['PATH']}"
    rehearsal.workspace = replace(rehearsal.workspace, environment=environment)
