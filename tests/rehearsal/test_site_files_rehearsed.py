"""The stack files in examples/, each rehearsed as a user does it; `test_site_rehearsal` has the workstation's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from user_command import MINUTES, rehearsal_processes, start

from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT


def rehearsed(path: Path) -> object:
    """In `make test-all`: each takes a minute."""
    marks = [pytest.mark.xdist_group(f"rehearsal of {path.stem}"), pytest.mark.seconds(60), pytest.mark.endurance]
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [rehearsed(one) for one in sorted((PROJECT / "examples").glob("*.yaml"))])
def test_a_sites_stack_goes_up_and_comes_down(path: Path, toolchain: Toolchain, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    with start(path, "--json", report) as process:
        printed, _ = process.communicate(timeout=10 * MINUTES)
        assert process.returncode == 0, printed
    found = json.loads(report.read_text(encoding="utf-8"))
    assert found["second_preview_changes"] == found["refresh_changes"] == 0
    assert [one["name"] for one in found["checks"] if one["ok"] is False] == []
    assert rehearsal_processes(path.stem) == []
