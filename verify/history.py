"""The runs of a stack over time: a line of JSON each in a file, and a page with the last run and the trend."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from verify import timing
from verify.checks import Outcome, State
from verify.run import Run
from verify.run_reports import summary

PUBLISHED: Mapping[str, int] = {"plain pull": 125, "SOCI": 97, "snapshot": 50, "warm": 1}
"""Seconds from submit to ready on a GPU node with an image of 9.35 GB, as others have measured them."""

_WIDTH, _HEIGHT, _MARGIN, _LABELS = 720, 160, 24, 110
_COLOURS = {State.PASSED: "#1a7f37", State.FAILED: "#cf222e", State.SKIPPED: "#6e7781", State.NOT_REACHED: "#9a6700"}
_PAGE = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
td, th {{ padding: .3rem .6rem; border-bottom: 1px solid #d0d7de; text-align: left; vertical-align: top; }}
pre {{ margin: .3rem 0 0; white-space: pre-wrap; color: #57606a; }}
text {{ font-size: 11px; fill: #57606a; }}
</style>
<h1>{title}</h1>
<p>{summary} Run at {at}.</p>
{trends}
<h2>The last run</h2>
<table><tr><th>part</th><th>check</th><th></th><th>found</th></tr>
{rows}
</table>
</html>
"""


def add(folder: Path, stack: str, done: Run, now: datetime) -> list[dict[str, Any]]:
    """Adds a run to the stack's file in the folder, and returns all of its runs, oldest first.

    A line that is no run, such as one that a full disk has cut, is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"verify-{stack}.jsonl"
    line = {
        "at": now.astimezone(UTC).isoformat(timespec="seconds"),
        "ok": done.ok,
        "states": {one.name: one.state for one in done.outcomes},
        "seconds": {one.name: one.phases for one in done.outcomes if one.phases},
    }
    with path.open("a", encoding="utf-8") as file:
        # After a line that was cut, this one is a line of its own.
        file.write(f"\n{json.dumps(line)}\n")
    return [run for text in path.read_text(encoding="utf-8").splitlines() if (run := _parsed(text))]


def write_page(path: Path, stack: str, done: Run, runs: Sequence[Mapping[str, Any]]) -> None:
    """Writes the page: one file, which any browser opens without a server."""
    names = dict.fromkeys(name for run in runs for name in run["seconds"])
    page = _PAGE.format(
        title=escape(f"Does {stack} work?"),
        summary=escape(summary(done)),
        at=escape(runs[-1]["at"]) if runs else "",
        trends="\n".join(_trend(name, runs) for name in names),
        rows="\n".join(map(_row, done.outcomes)),
    )
    path.write_text(page, encoding="utf-8")


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        run = json.loads(text)
    except ValueError:
        return None
    return run if isinstance(run, dict) and {"at", "ok", "states", "seconds"} <= run.keys() else None


def _row(one: Outcome) -> str:
    said = f"<pre>{escape(one.said)}</pre>" if one.said else ""
    helps = f"<br>What helps: {escape(one.section.link)}" if one.section else ""
    state = f'<b style="color: {_COLOURS[one.state]}">{one.state}</b>'
    cells = (escape(one.group), escape(one.name), state, f"{escape(one.detail)}{helps}{said}")
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _trend(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """A line of the seconds from submit to ready over the runs, with the published figures beside it."""
    points = [(run["at"], run["seconds"][name][timing.TOTAL]) for run in runs if name in run["seconds"]]
    most = max(*(seconds for _, seconds in points), *PUBLISHED.values())

    def y(seconds: float) -> float:
        return _HEIGHT - _MARGIN - seconds / most * (_HEIGHT - 2 * _MARGIN)

    right = _WIDTH - _LABELS
    step = (right - _MARGIN) / max(1, len(points) - 1)
    places = [(_MARGIN + number * step, y(seconds)) for number, (_, seconds) in enumerate(points)]
    line = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
    dots = "".join(
        f'<circle cx="{left:.1f}" cy="{top:.1f}" r="3"><title>{escape(at)}: {seconds:.0f} s</title></circle>'
        for (left, top), (at, seconds) in zip(places, points, strict=True)
    )
    others = "".join(
        f'<path d="M {_MARGIN} {y(seconds):.1f} H {right}" stroke="#d0d7de"/>'
        f'<text x="{right + 4}" y="{y(seconds) + 4:.1f}">{label} {seconds} s</text>'
        for label, seconds in PUBLISHED.items()
    )
    drawn = f'<polyline points="{line}" fill="none" stroke="#0969da" stroke-width="2"/><g fill="#0969da">{dots}</g>'
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img">{others}{drawn}</svg>'
    last = ", ".join(f"{phase} {seconds:.0f} s" for phase, seconds in runs[-1]["seconds"].get(name, {}).items())
    return f"<h2>{escape(name)}: submit to ready</h2>\n{svg}\n<p>{escape(last)}</p>"
