"""`python -m reports.timeline STACK`: how long a first `up` takes, and what it waits for.

This needs the dependencies of resources. A stack's state and a saved plan have them; the events of a preview do not.
contracts/aws/durations.json has published durations. The engine starts a resource as soon as its dependencies exist, so
the longest chain of resources, the critical path, is the least time that a first `up` takes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from contracts.durations import duration

from .gantt import Bar, gantt
from .preview_output import component_types, name_of
from .report_source import PreviewError, parser_of, text_or_state, write
from .resources import Resource, resources_of

OK, UNREADABLE = 0, 2
# Shorter tasks are not drawn. True: on the critical path, False: beside it.
_DRAWN_SECONDS = {True: 5, False: 20}
_HOW = "give it a state (pulumi stack export) or a plan (pulumi preview --save-plan=FILE), which have the dependencies"


@dataclass(frozen=True, kw_only=True)
class Task:
    """When a resource is made, in seconds after the start of the `up`. `estimated`: there is no published duration."""

    resource: Resource
    start: float
    end: float
    estimated: bool
    critical: bool

    @property
    def seconds(self) -> float:
        """Its duration."""
        return self.end - self.start

    @property
    def component(self) -> str:
        """The innermost component of the program that it is in."""
        within = [item for item in component_types(self.resource.urn) if not item.startswith("eks:")]
        return within[-1].rpartition(":")[2] if within else "the stack itself"


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The resources in the order of their start. `unknown` are the types without a known duration."""

    tasks: tuple[Task, ...]
    unknown: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """The least time that an `up` takes."""
        return max((task.end for task in self.tasks), default=0.0)

    @property
    def critical_path(self) -> list[Task]:
        """The chain of resources that takes longest, each of which waits for the one before it."""
        return [task for task in self.tasks if task.critical]


def read(text: str, name: str) -> list[Resource]:
    """The resources of a state or of a plan. Raises PreviewError."""
    found = resources_of(text, name)
    if any(item.after is None for item in found):
        raise PreviewError(f"{name}: is a preview, which does not have the dependencies of resources: {_HOW}")
    return found


def timeline(resources: Sequence[Resource]) -> Timeline:
    """When each resource is made if each starts as soon as it can. Raises PreviewError for a circle of dependencies."""
    by_urn = {item.urn: item for item in resources}
    children: dict[str, list[str]] = {}
    for item in resources:
        children.setdefault(item.parent, []).append(item.urn)
    # A component exists as soon as it is registered. What depends on it waits for everything in it.
    waits: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for item in resources:
        parent = by_urn.get(item.parent)
        begins = {(urn, "end") for urn in item.after or () if urn in by_urn}
        if parent:
            begins.add((parent.urn, "end" if parent.custom else "begin"))
        waits[item.urn, "begin"] = begins
        inside = [] if item.custom else children.get(item.urn, [])
        waits[item.urn, "end"] = {(item.urn, "begin"), *((child, "end") for child in inside)}
    at: dict[tuple[str, str], float] = {}
    because: dict[tuple[str, str], tuple[str, str] | None] = {}
    known = {item.urn: duration(item.type, item.inputs) if item.custom else None for item in resources}
    try:
        for event in TopologicalSorter(waits).static_order():
            urn, side = event
            last = max(waits[event], key=lambda item: (at[item], item), default=None)
            taken = known[urn]
            at[event] = (at[last] if last else 0.0) + (taken.seconds if taken and side == "end" else 0.0)
            because[event] = last
    except CycleError as error:
        urns = dict.fromkeys(name_of(urn) for urn, _ in error.args[1])
        raise PreviewError(f"{', '.join(urns)}: wait for each other") from None
    critical = _path(at, because)
    tasks = [
        Task(
            resource=item,
            start=at[item.urn, "begin"],
            end=at[item.urn, "end"],
            estimated=bool((figure := known[item.urn]) and figure.estimated),
            critical=item.urn in critical,
        )
        for item in resources
        if item.custom
    ]
    unknown = {
        item.type
        for item in resources
        if item.custom and known[item.urn] is None and not item.type.startswith("pulumi:")
    }
    return Timeline(
        tasks=tuple(sorted(tasks, key=lambda task: (task.start, task.end, task.resource.urn))),
        unknown=tuple(sorted(unknown)),
    )


def _path(at: Mapping[tuple[str, str], float], because: Mapping[tuple[str, str], tuple[str, str] | None]) -> set[str]:
    """The URNs of the chain that ends last."""
    event = max(at, key=lambda item: (at[item], item), default=None)
    found = set()
    while event:
        if event[1] == "end" and (begun := because[event]) and begun[0] == event[0]:
            found.add(event[0])
        event = because[event]
    return found


def described(line: Timeline, stack: str) -> str:
    """The timeline in words: the critical path, in minutes."""
    estimated = sum(task.seconds for task in line.critical_path if task.estimated)
    said = f"{stack}: {minutes(line.seconds)} minutes for a first `up`, by published durations"
    rows = [said + (f", {minutes(estimated)} of them estimated (~)" if estimated else ""), ""]
    rows.append("critical path (minutes)")
    rows.append(f"{'from':>6} {'takes':>6}  resource")
    for task in line.critical_path:
        mark = "~" if task.estimated else " "
        rows.append(
            f"{minutes(task.start):>6} {minutes(task.seconds):>6}{mark} {task.resource.type} "
            f"{name_of(task.resource.urn)} ({task.component})"
        )
    if line.unknown:
        rows += ["", f"counted as 0 seconds, because no duration is known: {', '.join(line.unknown)}"]
    return "\n".join(rows) + "\n"


def drawing(line: Timeline, stack: str) -> str:
    """The timeline as a Gantt chart in SVG. Similar resources share a bar."""
    groups: dict[tuple[Any, ...], list[Task]] = {}
    for task in line.tasks:
        if task.seconds >= _DRAWN_SECONDS[task.critical]:
            key = (task.component, task.resource.type, task.start, task.end, task.critical)
            groups.setdefault(key, []).append(task)
    bars = [
        Bar(
            label=_label(found),
            group=found[0].component,
            start=found[0].start / 60,
            end=found[0].end / 60,
            marked=found[0].critical,
            faint=found[0].estimated,
        )
        for found in groups.values()
    ]
    title = f"Stack {stack}, first up: {minutes(line.seconds)} minutes by published durations"
    return gantt(bars, title)


def minutes(seconds: float) -> str:
    """A time in minutes with one decimal."""
    return f"{seconds / 60:.1f}"


def _label(found: Sequence[Task]) -> str:
    kind = found[0].resource.type.rpartition(":")[2]
    names = [name_of(task.resource.urn) for task in found]
    return f"{kind} {names[0]}" if len(names) == 1 else f"{kind} ({len(names)}) {names[0]} …"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status. The text goes to standard output, the SVG to a file."""
    parser = parser_of(
        "timeline",
        "Shows how long a first `up` takes, and what it waits for.",
        reads="a state (pulumi stack export) or a plan (pulumi preview --save-plan); - is stdin (default: the state)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="draw a Gantt chart in SVG to FILE")
    options = parser.parse_args(arguments)
    try:
        text = text_or_state(options.source, options.stack)
        line = timeline(read(text, options.stack))
        if options.output:
            write(options.output, drawing(line, options.stack))
    except PreviewError as error:
        print(error, file=sys.stderr)
        return UNREADABLE
    sys.stdout.write(described(line, options.stack))
    return OK


if __name__ == "__main__":
    sys.exit(main())
