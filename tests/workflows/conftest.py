"""What the tests of the workflows' steps share: a checkout for each test, with fake programs on PATH."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from step_bench import COMMIT, PROJECT, Bench, fake_programs

from ci import parking


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A folder with dev, a lab, and prod; the step's files are in it, and it is where the step runs."""
    checkout, programs = tmp_path / "checkout", tmp_path / "programs"
    checkout.mkdir()
    for stack in ("dev", "prod"):
        shutil.copy(PROJECT / f"Pulumi.{stack}.yaml", checkout)
    fake_programs(programs, ("pulumi", "gh"))
    made = Bench(tmp_path, programs)
    monkeypatch.chdir(checkout)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.setenv("GITHUB_REPOSITORY", COMMIT["GITHUB_REPOSITORY"])
    monkeypatch.delenv("GITHUB_EVENT_PATH", raising=False)
    # The account is not asked whether a lab sleeps: test_parking.py has one.
    monkeypatch.setattr(parking, "is_parked", lambda stack: False)
    return made


@pytest.fixture
def lab(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """The same, for a step that works on dev, which is in the state."""
    monkeypatch.setenv("STACK", "dev")
    bench.has_state("dev")
    return bench
