"""What a rehearsal found: as a table for people, and as JSON for machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .engine import Violation
from .leftovers import Left

_NAMES_SHOWN = 12


@dataclass(frozen=True)
class Check:
    """Something that has to hold: `name` says what, `detail` what was seen. `ok` is None where it was not tried."""

    name: str
    ok: bool | None
    detail: str


@dataclass
class Report:
    """What a rehearsal found.

    `violations` are the policy pack's, of the preview, and of the `up` where values are known then.
    `seconds` is wall time and `memory_mib` the peak of the memory of all processes, both by phase;
    `program_memory_mib` that of the Pulumi program alone. `warnings` is what the first preview warned of. `left` is
    None until the destroy has ended; `retained` is what it kept in AWS because the stack asked for that. `failure` is
    why the rehearsal ended early, in words for the person who started it.
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
    failure: str | None = None
    kept: bool = False

    @property
    def ok(self) -> bool:
        """Whether everything holds."""
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
        """The report for machines; numbers where a program would compare, names beside them."""
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
        }

    def show(self, console: Console) -> None:
        """Prints the report for people."""
        table = Table(title=f"Rehearsal of {self.stack}", title_justify="left", show_header=False, pad_edge=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        created = self.resources_created
        table.add_row(_mark(created > 0), "resources created", str(created))
        self._add_changes(table, "second preview", "second preview", self.second_preview_changes)
        self._add_changes(table, "refresh", "refresh", self.refresh_changes)
        self._add_policies(table)
        for check in self.checks:
            detail = f"not tried: {check.detail}" if check.ok is None else check.detail
            table.add_row(_mark(check.ok), escape(check.name), escape(detail))
        if self.left is not None:
            for place, names in self.left.as_json()["names"].items():
                table.add_row(_mark(not names), f"left in {place}", escape(_listed(names)))
        if self.retained:
            table.add_row("", "kept in aws", escape(_listed(self.retained)))
        for warning in self.warnings:
            table.add_row("", "preview warns", escape(warning))
        table.add_section()
        table.add_row("", "seconds", ", ".join(f"{phase} {spent:.1f}" for phase, spent in self.seconds.items()))
        table.add_row("", "peak memory", f"{self.peak_memory_mib:.0f} MiB over all processes")
        table.add_row("", "stand-ins", escape("; ".join(self.stand_ins)))
        console.print(table)
        if self.failure:
            console.print(f"[bold red]Failed:[/] {escape(self.failure)}", highlight=False)
        all_tried = all(check.ok is not None for check in self.checks)
        good = "[bold green]All holds.[/]" if all_tried else "[bold green]All holds that was tried.[/]"
        verdict = good if self.ok else "[bold red]Not all holds.[/]"
        console.print(verdict, "It was kept: nothing was destroyed." if self.kept else "")

    def _add_policies(self, table: Table) -> None:
        """A line for each violation, advices too; of what the preview could not know, how many there were."""
        found = [violation for violation in self.violations if not violation.undecided]
        waiting = f"; {len(self.violations) - len(found)} were not yet known in the preview" if self.violations else ""
        refused = sum(violation.mandatory for violation in found)
        said = f"{refused} refusals, {len(found) - refused} advices{waiting}"
        if "preview" in self.seconds:
            table.add_row(_mark(not refused), "policies", said)
        for violation in found:
            mark = _mark(False) if violation.mandatory else "[yellow]--[/]"
            table.add_row(mark, escape(f"  {violation.policy}"), escape(f"{violation.resource}: {violation.message}"))

    def _add_changes(self, table: Table, phase: str, title: str, changes: list[str]) -> None:
        if phase in self.seconds:
            found = f"{len(changes)} changes: {_listed(changes)}" if changes else "no changes"
            table.add_row(_mark(not changes), title, escape(found))


def _mark(ok: bool | None) -> str:
    return {True: "[green]ok[/]", False: "[bold red]NO[/]", None: "[yellow]--[/]"}[ok]


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMES_SHOWN]) or "nothing"
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {more} more (all in the JSON report)" if more > 0 else shown


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {phase: round(figure, 2) for phase, figure in figures.items()}
