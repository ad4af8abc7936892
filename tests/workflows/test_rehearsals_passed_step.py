"""The step that main can require: a single verdict on any number of rehearsals."""

from __future__ import annotations

import json

import pytest
from step_bench import Bench

from ci import rehearsals_passed


def needs(stacks: str, rehearse: str, touched: list[str]) -> str:
    outputs = {"rehearsals": json.dumps(touched)} if stacks == "success" else {}
    return json.dumps(
        {"stacks": {"result": stacks, "outputs": outputs}, "rehearse": {"result": rehearse, "outputs": {}}}
    )


@pytest.mark.parametrize(
    ("stacks", "rehearse", "touched", "status"),
    [
        ("success", "success", ["dev"], 0),
        ("success", "skipped", [], 0),  # a change of docs
        ("success", "failure", ["dev"], 1),
        ("success", "cancelled", ["dev"], 1),
        ("success", "skipped", ["dev"], 1),
        ("failure", "skipped", [], 1),  # which stacks, nobody knows
        ("cancelled", "skipped", [], 1),
    ],
)
def test_only_a_rehearsal_or_nothing_to_rehearse_passes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, stacks: str, rehearse: str, touched: list[str], status: int
) -> None:
    monkeypatch.setenv("NEEDS", needs(stacks, rehearse, touched))
    assert rehearsals_passed.main() == status
