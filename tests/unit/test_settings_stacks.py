"""Stack files that are accepted (`*.happy.yaml`), and such as are refused, each with its message (`*.error.yaml`)."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

import settings

STACKS = Path(__file__).parents[1] / "stacks"
PROJECT = Path(__file__).parents[2]
TODAY = datetime.date(2026, 6, 1)
HAPPY = sorted(path.name for path in STACKS.glob("*.happy.yaml"))
ERRORS = sorted(path.name for path in STACKS.glob("*.error.yaml"))


@pytest.fixture(autouse=True)
def _in_the_stacks_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages about a file that cannot be read name it as it was given."""
    monkeypatch.chdir(STACKS)


@pytest.mark.parametrize("name", HAPPY)
def test_happy_stack_is_accepted(name):
    assert settings.check_stack_file(name, "lab", TODAY).stack == "lab"


@pytest.mark.parametrize("name", ERRORS)
def test_error_stack_is_refused_with_its_message(name):
    expected = Path(name).with_suffix(".txt").read_text(encoding="utf-8").rstrip("\n")
    with pytest.raises((settings.SettingsError, settings.StackFileError)) as refusal:
        settings.check_stack_file(name, "lab", TODAY)
    assert str(refusal.value) == expected


def test_no_message_is_left_over():
    assert [path.name for path in sorted(STACKS.glob("*.error.txt"))] == [
        str(Path(name).with_suffix(".txt")) for name in ERRORS
    ]


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_committed_stack_is_accepted(stack):
    assert (
        settings.on_eks(settings.check_stack_file(PROJECT / f"Pulumi.{stack}.yaml", stack, TODAY)).cluster.name
        == f"gpulab-{stack}"
    )
