"""The step that rehearses a stack: its report is the summary, its exit status the step's."""

from __future__ import annotations

import sys

import pytest
from step_bench import Bench, fake_programs

from ci import rehearse


@pytest.fixture(autouse=True)
def python(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal takes minutes: here another program answers in its place."""
    monkeypatch.setenv("STACK", "dev")
    fake_programs(bench.folder / "interpreter", ["python"])
    bench.programs = bench.folder / "interpreter"
    monkeypatch.setattr(sys, "executable", str(bench.programs / "python"))


def test_the_report_is_the_summary(bench: Bench) -> None:
    bench.answer("python", "rehearsal", stdout="ok  resources created  170\nAll checks passed.\n")
    assert rehearse.main() == 0
    assert bench.commands("python") == ["-m rehearsal Pulumi.dev.yaml"]
    assert "```text\nok  resources created  170" in bench.summary


def test_what_does_not_hold_fails_the_step(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.answer("python", "rehearsal", stdout="NO  second preview  1 change\n", code=1)
    assert rehearse.main() == 1
    assert "NO  second preview" in bench.summary
    assert "::error::The rehearsal of dev" in capsys.readouterr().out


def test_a_stack_without_a_file_is_not_rehearsed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STACK", "down")
    assert rehearse.main() == 1
    assert bench.commands("python") == []
