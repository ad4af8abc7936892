"""A preview's warnings are in the report, but not failures. The command line sets quotas of the simulated account."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from rehearsal.__main__ import main
from rehearsal.checks.leftovers import Left
from rehearsal.report import Report


def test_warning_is_shown_and_fails_nothing() -> None:
    report = Report(stack="dev", resources_created=1, left=Left(), warnings=["gpulab-dev: node pool gpu can grow to 0"])
    assert report.ok
    assert report.as_json()["warnings"] == report.warnings
    shown = io.StringIO()
    report.show(Console(file=shown, width=200))
    assert "node pool gpu can grow to 0" in shown.getvalue()


@pytest.mark.parametrize("text", ["L-DB2E81BA", "L-DB2E81BA=many"])
def test_quota_that_is_none_is_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["dev", "--quota", text])
    assert f"{text} is not a quota; write CODE=VALUE, such as L-DB2E81BA=64" in capsys.readouterr().err
