"""The report of a rehearsal: a table or lines for people, and JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .checks.leftovers import Left
from .machine.engine import Violation

_NAMES_SHOWN = 12
_STYLES = {"ok": "green", "NO": "bold red", "--": "yellow"}
_MARK_WIDTH = max(map(len, _STYLES))
# A mark or an empty text, the name, and the detail.
_Row: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True)
class Check:
    """The result of one check: `name` says what must hold, `detail` what was seen. `ok` is None if it did not run."""

    name: str
    ok: bool | None
    detail: str


@dataclass
class Report:
    """What a rehearsal found.

    `violations` are those of the policy pack in the preview, and those that only the `up` could find.
    `seconds` is wall time and `memory_mib` the peak memory of all processes, both by phase; `program_memory_mib` is
    that of the Pulumi program only. `warnings` are the warnings of the first preview. `left` is None until the destroy
    has ended; `retained` is what the destroy kept in AWS because the stack wants that. `plugin_differences` are those
    between the real aws plugin and its stand-in, None if the plugin was not used; they fail nothing. `failure` says to
    the user why the rehearsal ended early. `next_steps` are the last lines to print: how to work with a stack that was
    kept.
    """

    stack: str
    resources_created: int = 0
    second_preview_changes: list[str] = field(default_factory=list)
    refresh_changes: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    left: Left | None = None
    retained: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    memory_mib: dict[str, float] = field(default_factory=dict)
    program_memory_mib: dict[str, float] = field(default_factory=dict)
    peak_memory_mib: float = 0
    stand_ins: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    plugin_differences: list[dict[str, Any]] | None = None
    failure: str | None = None
    kept: bool = False
    next_steps: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything passed."""
        return (
            self.failure is None
            and self.resources_created > 0
            and not self.second_preview_changes
            and not self.refresh_changes
            and all(check.ok is not False for check in self.checks)
            and not any(violation.mandatory for violation in self.violations)
            and (self.kept or (self.left is not None and not self.left))
        )

    def as_json(self) -> dict[str, Any]:
        """The report for programs: numbers to compare, and the names with them."""
        return {
            "stack": self.stack,
            "ok": self.ok,
            "failure": self.failure,
            "resources_created": self.resources_created,
            "second_preview_changes": len(self.second_preview_changes),
            "refresh_changes": len(self.refresh_changes),
            "changed": {"second_preview": self.second_preview_changes, "refresh": self.refresh_changes},
            "checks": [{"name": check.name, "ok": check.ok, "detail": check.detail} for check in self.checks],
            "policies": [
                {
                    "policy": violation.policy,
                    "resource": violation.resource,
                    "message": violation.message,
                    "mandatory": violation.mandatory,
                    "not_yet_known": violation.undecided,
                }
                for violation in self.violations
            ],
            "left": None if self.left is None else self.left.as_json(),
            "retained": self.retained,
            "seconds": _rounded(self.seconds),
            "memory_mib": _rounded(self.memory_mib),
            "program_memory_mib": _rounded(self.program_memory_mib),
            "peak_memory_mib": round(self.peak_memory_mib),
            "stand_ins": self.stand_ins,
            "warnings": self.warnings,
            "plugin_differences": self.plugin_differences,
        }

    def show(self, console: Console) -> None:
        """Prints the report for people: a table on a terminal, otherwise whole lines that grep finds."""
        findings, figures = list(self._findings()), list(self._figures())
        if console.is_terminal:
            console.print(_table(f"Rehearsal of {self.stack}", findings, figures))
        else:
            for line in [f"Rehearsal of {self.stack}", *map(_line, [*findings, *figures])]:
                console.out(line, highlight=False)
        if self.failure:
            console.print(Text.assemble(("Failed:", _STYLES["NO"]), f" {self.failure}"), soft_wrap=True)
        skipped = sum(check.ok is None for check in self.checks)
        passed = f"All checks passed{f' ({skipped} not tried)' if skipped else ''}."
        failed = "[bold red]The rehearsal failed: see the lines with NO or Failed.[/]"
        verdict = f"[bold green]{passed}[/]" if self.ok else failed
        console.print(f"{verdict} The stack was kept: nothing was destroyed." if self.kept else verdict)
        for line in self.next_steps:
            console.out(line, highlight=False)

    def _findings(self) -> Iterator[_Row]:
        yield _mark(self.resources_created > 0), "resources created", str(self.resources_created)
        yield from self._changes("second preview", self.second_preview_changes)
        yield from self._changes("refresh", self.refresh_changes)
        yield from self._policies()
        for check in self.checks:
            yield _mark(check.ok), check.name, f"not tried: {check.detail}" if check.ok is None else check.detail
        if self.left is not None:
            for place, names in self.left.as_json()["names"].items():
                yield _mark(not names), f"left in {place}", _listed(names)
        if self.retained:
            yield "", "kept", _listed(self.retained)
        for one in self.plugin_differences or []:
            values = f"plugin {json.dumps(one['plugin'])}, stand-in {json.dumps(one['stand_in'])}"
            yield "", f"{one['type']} {one['property']}".rstrip(), f"{values} ({one['resources']} resources)"
        for warning in self.warnings:
            yield "", "preview warning", warning

    def _figures(self) -> Iterator[_Row]:
        yield "", "seconds", ", ".join(f"{phase} {spent:.1f}" for phase, spent in self.seconds.items())
        yield "", "peak memory", f"{self.peak_memory_mib:.0f} MiB in all processes"
        yield "", "stand-ins", "; ".join(self.stand_ins)

    def _policies(self) -> Iterator[_Row]:
        """The counts of errors, warnings and unknown values, and a line for each error and warning."""
        found = [violation for violation in self.violations if not violation.undecided]
        waiting = len(self.violations) - len(found)
        unknown = f"; {waiting} not yet known in the preview" if waiting else ""
        errors = sum(violation.mandatory for violation in found)
        if "preview" in self.seconds:
            yield _mark(not errors), "policies", f"{errors} errors, {len(found) - errors} warnings{unknown}"
        for violation in found:
            mark = _mark(False if violation.mandatory else None)
            yield mark, f"  {violation.policy}", f"{violation.resource}: {violation.message}"

    def _changes(self, phase: str, changes: list[str]) -> Iterator[_Row]:
        if phase in self.seconds:
            found = f"{len(changes)} changes: {_listed(changes)}" if changes else "no changes"
            yield _mark(not changes), phase, found


def _mark(ok: bool | None) -> str:
    return {True: "ok", False: "NO", None: "--"}[ok]


def _table(title: str, *sections: Iterable[_Row]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for section in sections:
        for mark, name, detail in section:
            table.add_row(Text(mark, _STYLES.get(mark, "")), Text(name), Text(detail))
        table.add_section()
    return table


def _line(row: _Row) -> str:
    """One line of any length: a line break in a detail becomes a space."""
    mark, name, detail = row
    return f"{mark:<{_MARK_WIDTH}}  {name}: {' '.join(map(str.strip, detail.splitlines()))}"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN]) or "nothing"
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more (all in the JSON report)" if more > 0 else shown


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {phase: round(figure, 2) for phase, figure in figures.items()}
