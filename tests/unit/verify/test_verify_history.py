"""What is kept of a stack's runs, and the page with their trend."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

from components.hub.inside.sections import Section
from verify import history, timing
from verify.checks import Outcome, State
from verify.run import Run

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
GPU = "a pod sees the GPU of <gpu>"


def done(seconds: float, *, failed: bool = False) -> Run:
    phases = {timing.NODE_BOUGHT: seconds - 5, timing.STARTED: 5.0, timing.TOTAL: seconds}
    outcomes = [Outcome(name=GPU, group="gpus", state=State.PASSED, detail="NVIDIA L4", phases=phases)]
    if failed:
        text = "the hub answers <500>"
        section = Section.LOGS
        outcomes.append(
            Outcome(name="hub", group="services", state=State.FAILED, detail=text, section=section, said="disk <full>")
        )
    return Run(outcomes)


def test_each_run_is_a_line_and_a_line_that_was_cut_hides_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    history.add(folder, "dev", done(90), FIRST)
    path = folder / "verify-dev.jsonl"
    path.write_text(path.read_text() + '{"at": "2026-01-02', encoding="utf-8")
    runs = history.add(folder, "dev", done(80, failed=True), FIRST + timedelta(days=2))
    assert [run["at"] for run in runs] == ["2026-01-01T00:00:00+00:00", "2026-01-03T00:00:00+00:00"]
    assert [run["seconds"][GPU][timing.TOTAL] for run in runs] == [90, 80]
    assert [run["ok"] for run in runs] == [True, False]
    assert json.loads(json.dumps(runs[1]))["states"] == {GPU: "passed", "hub": "failed"}


def test_the_page_shows_the_trend_and_quotes_what_failed(tmp_path: Path) -> None:
    runs = []
    for day in range(5):
        runs = history.add(tmp_path, "dev", done(100 - day, failed=day == 4), FIRST + timedelta(days=day))
    page = tmp_path / "verify.html"
    history.write_page(page, "dev", done(96, failed=True), runs)
    text = page.read_text(encoding="utf-8")
    assert "the hub answers &lt;500&gt;" in text
    assert "disk &lt;full&gt;" in text
    assert Section.LOGS.link in text
    (svg,) = [text[text.index("<svg") : text.index("</svg>") + 6]]
    drawn = ElementTree.fromstring(svg)
    titles = [one.text for one in drawn.iter("title")]
    assert titles[0] == "2026-01-01T00:00:00+00:00: 100 s"
    assert len(titles) == 5
    assert "node bought 91 s, started 5 s, submit to ready 96 s" in text


def test_a_first_run_without_times_has_a_page_too(tmp_path: Path) -> None:
    run = Run([Outcome(name="nodes are ready", group="cluster", state=State.PASSED, detail="2 nodes")])
    history.write_page(tmp_path / "verify.html", "dev", run, history.add(tmp_path, "dev", run, FIRST))
    assert "2 nodes" in (tmp_path / "verify.html").read_text(encoding="utf-8")
