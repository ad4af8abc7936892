"""Wrong stack files on the real engine: refused before the first resource, nothing written; a destroy never is."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from rehearsal.machine import workspace
from rehearsal.machine.engine import Engine
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT

STACKS = PROJECT / "tests" / "stacks"
DAY = datetime.date(2026, 6, 1)  # the day of the expected messages


@pytest.fixture
def engine(toolchain: Toolchain, tmp_path: Path, request: pytest.FixtureRequest) -> Engine:
    """The engine on the stack file that the test names, without AWS and without a cluster."""
    made = workspace.make(
        tmp_path / "rehearsal",
        STACKS / request.param,
        project=PROJECT,
        stack="lab",
        toolchain=toolchain,
        plugins={},
        aws_url="http://127.0.0.1:9",
        today=DAY,
    )
    logs = tmp_path / "logs"
    logs.mkdir()
    made_engine = Engine(made, f"tests-{tmp_path.name}", logs)
    made_engine.initialise()
    return made_engine


NAMES = ["many-sections-at-once", "lab-expired", "endpoint-open-to-any-address"]


NIGHTLY = [pytest.param("up", f"{name}.error.yaml", id=f"up-{name}", marks=pytest.mark.endurance) for name in NAMES[1:]]


@pytest.mark.parametrize(
    ("command", "engine"),
    [
        *(pytest.param("preview", f"{name}.error.yaml", id=f"preview-{name}") for name in NAMES),
        pytest.param("up", f"{NAMES[0]}.error.yaml", id=f"up-{NAMES[0]}"),
        *NIGHTLY,
    ],
    indirect=["engine"],
)
def test_every_mistake_is_told_and_nothing_is_made_or_written(
    engine: Engine, command: str, request: pytest.FixtureRequest
) -> None:
    before = engine.workspace.stack_file.read_text(encoding="utf-8")
    result = engine.run(*([command, "--yes", "--skip-preview"] if command == "up" else [command]))
    assert not result.ok
    name = next(name for name in NAMES if name in request.node.name)
    expected = (STACKS / f"{name}.error.txt").read_text(encoding="utf-8").strip()
    assert any(expected in error for error in result.errors), result.errors
    assert {step.type for step in result.steps} <= {"pulumi:pulumi:Stack"}
    assert engine.resources() == []
    assert engine.workspace.stack_file.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("engine", ["lab-expired.error.yaml"], indirect=True)
def test_an_expired_lab_can_still_be_refreshed_and_destroyed(engine: Engine) -> None:
    for command in ("refresh", "destroy"):
        result = engine.run(command, "--yes", "--skip-preview")
        assert result.ok, result.output
