"""`python -m reports.timeline STACK`: how long an `up` from nothing takes, and what it waits for.

It needs what depends on what, which is in a stack's state and in a plan that a preview saved; a preview's events have
none of it. How long each resource takes is published (contracts/aws/durations.json). The engine starts a resource once
what it depends on is there, so the longest chain of them, the critical path, is what an `up` takes at least.
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
from .inputs import PreviewError, parser_of, text_or_state, write
from .previews import component_types, name_of
from .resources import Resource, resources_of

OK, UNREADABLE = 0, 2
# What is drawn, on the critical path and beside it: the rest takes no time that anybody would look for.
_DRAWN_SECONDS = {True: 5, False: 20}
_HOW = (
    "give it a state (pulumi stack export) or a plan (pulumi preview --save-plan=FILE), which say what depends on what"
)


@dataclass(frozen=True, kw_only=True)
class Task:
    """When a resource is made, in seconds since the `up` began. `estimated`: nobody published what it takes."""

    resource: Resource
    start: float
    end: float
    estimated: bool
    critical: bool

    @property
    def seconds(self) -> float:
        """What it takes."""
        return self.end - self.start

    @property
    def component(self) -> str:
        """The innermost component of ours that it is in."""
        within = [one for one in component_types(self.resource.urn) if not one.startswith("eks:")]
        return within[-1].rpartition(":")[2] if within else "the stack itself"


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The resources in the order in which they begin. `unknown` are types of which no duration is known."""

    tasks: tuple[Task, ...]
    unknown: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """What an `up` takes at least."""
        return max((task.end for task in self.tasks), default=0.0)

    @property
    def critical_path(self) -> list[Task]:
        """The chain of resources that takes longest, each of which waits for the one before it."""
        return [task for task in self.tasks if task.critical]


def read(text: str, name: str) -> list[Resource]:
    """The resources of a state or of a plan. Raises PreviewError."""
    found = resources_of(text, name)
    if any(one.after is None for one in found):
        raise PreviewError(f"{name}: is a preview, which does not say what depends on what: {_HOW}")
    return found


def timeline(resources: Sequence[Resource]) -> Timeline:
    """When each resource is made, if each begins as soon as it can. Raises PreviewError for what waits for itself."""
    by_urn = {one.urn: one for one in resources}
    children: dict[str, list[str]] = {}
    for one in resources:
        children.setdefault(one.parent, []).append(one.urn)
    # A component is there as soon as it is registered; who depends on it waits for all that it has.
    waits: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for one in resources:
        parent = by_urn.get(one.parent)
        begins = {(urn, "end") for urn in one.after or () if urn in by_urn}
        if parent:
            begins.add((parent.urn, "end" if parent.custom else "begin"))
        waits[one.urn, "begin"] = begins
        inside = [] if one.custom else children.get(one.urn, [])
        waits[one.urn, "end"] = {(one.urn, "begin"), *((child, "end") for child in inside)}
    at: dict[tuple[str, str], float] = {}
    because: dict[tuple[str, str], tuple[str, str] | None] = {}
    known = {one.urn: duration(one.type, one.inputs) if one.custom else None for one in resources}
    try:
        for event in TopologicalSorter(waits).static_order():
            urn, side = event
            last = max(waits[event], key=lambda one: (at[one], one), default=None)
            taken = known[urn]
            at[event] = (at[last] if last else 0.0) + (taken.seconds if taken and side == "end" else 0.0)
            because[event] = last
    except CycleError as error:
        urns = dict.fromkeys(name_of(urn) for urn, _ in error.args[1])
        raise PreviewError(f"{', '.join(urns)}: wait for each other") from None
    critical = _path(at, because)
    tasks = [
        Task(
            resource=one,
            start=at[one.urn, "begin"],
            end=at[one.urn, "end"],
            estimated=bool((figure := known[one.urn]) and figure.estimated),
            critical=one.urn in critical,
        )
        for one in resources
        if one.custom
    ]
    unknown = {
        one.type for one in resources if one.custom and known[one.urn] is None and not one.type.startswith("pulumi:")
    }
    return Timeline(
        tasks=tuple(sorted(tasks, key=lambda task: (task.start, task.end, task.resource.urn))),
        unknown=tuple(sorted(unknown)),
    )


def _path(at: Mapping[tuple[str, str], float], because: Mapping[tuple[str, str], tuple[str, str] | None]) -> set[str]:
    """The URNs of the chain that ends last."""
    event = max(at, key=lambda one: (at[one], one), default=None)
    found = set()
    while event:
        if event[1] == "end" and (begun := because[event]) and begun[0] == event[0]:
            found.add(event[0])
        event = because[event]
    return found


def described(line: Timeline, stack: str) -> str:
    """The timeline in words: the critical path, in minutes."""
    estimated = sum(task.seconds for task in line.critical_path if task.estimated)
    said = f"{stack}: {minutes(line.seconds)} minutes from nothing by published durations"
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
        rows += ["", f"taken for nothing, as no duration is known: {', '.join(line.unknown)}"]
    return "\n".join(rows) + "\n"


def drawing(line: Timeline, stack: str) -> str:
    """The timeline as a Gantt chart in SVG, alike resources in one bar."""
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
    title = f"Stack {stack} from nothing: {minutes(line.seconds)} minutes by published durations"
    return gantt(bars, title)


def minutes(seconds: float) -> str:
    """A time in minutes with one decimal."""
    return f"{seconds / 60:.1f}"


def _label(found: Sequence[Task]) -> str:
    kind = found[0].resource.type.rpartition(":")[2]
    names = [name_of(task.resource.urn) for task in found]
    return f"{kind} {names[0]}" if len(names) == 1 else f"{kind} ({len(names)}) {names[0]} …"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; words go to standard output, the SVG to a file."""
    parser = parser_of(
        "timeline",
        "Says how long an `up` from nothing takes, and what it waits for.",
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
