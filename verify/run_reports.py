"""The reports of a run: a table for people, JSON for programs, JUnit XML for CI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from verify.checks import Outcome, State
from verify.run import Run

_MARKS = {
    State.PASSED: "[green]ok[/]",
    State.FAILED: "[bold red]failed[/]",
    State.SKIPPED: "[dim]skipped[/]",
    State.NOT_REACHED: "[yellow]not reached[/]",
}
_SAID_LINES = 12


def table(done: Run, console: Console) -> None:
    """Prints a line for each check, then what the failures quote and where to read on."""
    lines = Table(box=None, pad_edge=False)
    for heading in ("", "part", "check", "found", "s"):
        lines.add_column(heading, overflow="fold", justify="right" if heading == "s" else "left")
    for one in done.outcomes:
        seconds = f"{one.seconds:.1f}" if one.state in (State.PASSED, State.FAILED) else ""
        lines.add_row(_MARKS[one.state], escape(one.group), escape(one.name), escape(one.detail), seconds)
    console.print(lines)
    for one in _failed(done):
        console.print(f"\n[bold]{escape(one.name)}[/]: {escape(one.detail)}", highlight=False)
        for line in one.said.strip().splitlines()[:_SAID_LINES]:
            console.print(f"  [dim]{escape(line)}[/]", highlight=False)
        if one.section:
            console.print(f"  What helps: {one.section.link}", highlight=False)
    console.print(f"\n{summary(done)}", highlight=False)


def summary(done: Run) -> str:
    """One sentence about all checks."""
    counts = {state: sum(one.state is state for one in done.outcomes) for state in State}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    end = f"; {done.cut_off}" if done.cut_off else ""
    return f"{'The site works' if done.ok else 'The site does not work'}: {told or 'nothing was tried'}{end}."


def write_json(done: Run, path: Path) -> None:
    """Writes the run as JSON: `ok`, `cutOff`, and `checks` with what became of each."""
    checks = [
        {
            "name": one.name,
            "group": one.group,
            "state": one.state,
            "detail": one.detail,
            "seconds": round(one.seconds, 3),
            **({"help": one.section.link} if one.section else {}),
            **({"said": one.said} if one.said else {}),
            **({"phases": dict(one.phases)} if one.phases else {}),
        }
        for one in done.outcomes
    ]
    document = {"ok": done.ok, "cutOff": done.cut_off, "checks": checks}
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def write_junit(done: Run, path: Path, name: str) -> None:
    """Writes the run as JUnit XML, a test case for each check. A check that was not reached is an error."""
    suite = ElementTree.Element("testsuite", name=name, tests=str(len(done.outcomes)))
    for attribute, state in (("failures", State.FAILED), ("skipped", State.SKIPPED), ("errors", State.NOT_REACHED)):
        suite.set(attribute, str(sum(one.state is state for one in done.outcomes)))
    for one in done.outcomes:
        case = ElementTree.SubElement(suite, "testcase", classname=one.group, name=one.name, time=f"{one.seconds:.3f}")
        if one.state is State.PASSED:
            ElementTree.SubElement(case, "system-out").text = _printable(one.detail)
            continue
        kind = {State.FAILED: "failure", State.SKIPPED: "skipped", State.NOT_REACHED: "error"}[one.state]
        told = ElementTree.SubElement(case, kind, message=_printable(one.detail))
        told.text = _printable("\n".join(filter(None, [one.said, one.section.link if one.section else ""])))
    ElementTree.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)


def _failed(done: Run) -> Iterator[Outcome]:
    return (one for one in done.outcomes if one.state is State.FAILED)


def _printable(text: str) -> str:
    """The text without the control characters that XML has no way to write, such as those of coloured logs."""
    return "".join(sign for sign in text if sign in "\n\t" or sign.isprintable())
