"""`make bench`: the time and memory of each phase of a rehearsal, as the median of several runs.

It also measures what the policy pack adds to a preview: the same preview with and without it, alternately.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from rich.console import Console

from rehearsal import command
from rehearsal.machine.engine import Engine
from rehearsal.machine.workspace import PROJECT
from rehearsal.run import rehearse, staged
from rehearsal.stack_phases import Options


def main() -> int:
    """Rehearses a stack several times and prints the medians as JSON; exit status 1 when a rehearsal fails."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.bench.phase_times", description=__doc__)
    parser.add_argument("stack", metavar="STACK")
    parser.add_argument("--runs", type=int, default=3, metavar="N", help="how often (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be 1 or more")
    return command.run(lambda console: _measure(options, console), Console(stderr=True))


def _measure(options: argparse.Namespace, console: Console) -> int:
    reports = []
    for number in range(1, options.runs + 1):
        console.print(f"run {number} of {options.runs}")
        report = rehearse(_options(options), console).as_json()
        if not report["ok"]:
            console.print("a rehearsal failed, so there are no figures; run `make rehearse` to see why")
            return command.CHECKS_FAILED
        reports.append(report)
    figures = {
        "stack": options.stack,
        "runs": options.runs,
        "resources": reports[0]["resources_created"],
        "seconds": _medians(report["seconds"] for report in reports),
        "memory_mib": _medians(report["memory_mib"] for report in reports),
        "program_memory_mib": _medians(report["program_memory_mib"] for report in reports),
        "peak_memory_mib": statistics.median(report["peak_memory_mib"] for report in reports),
    }
    figures["policy_pack"] = _policy_pack(_options(options), options.runs, console)
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return command.OK


def _options(options: argparse.Namespace) -> Options:
    return Options(stack_file=PROJECT / f"Pulumi.{options.stack}.yaml", stack=options.stack)


def _policy_pack(options: Options, runs: int, console: Console) -> dict[str, float]:
    """The seconds of a first preview without and with the pack, and how much the pack adds in percent."""
    with staged(options, console) as rehearsal:
        engine = rehearsal.engine
        engine.run("preview")  # the first preview fills the system's caches
        without, whole = without_and_with_pack(engine, runs)
    return {
        "preview_seconds_without": round(without, 2),
        "preview_seconds_with": round(whole, 2),
        "adds_percent": round((whole / without - 1) * 100, 1),
    }


def without_and_with_pack(engine: Engine, runs: int) -> tuple[float, float]:
    """The median seconds of previews without and with the policy pack, which run alternately."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(runs):
        for with_policies, taken in seconds.items():
            engine.with_policies = with_policies
            taken.append(engine.time_preview())
    return statistics.median(seconds[False]), statistics.median(seconds[True])


def _medians(runs: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The median of each phase over all runs."""
    figures = list(runs)
    return {phase: round(statistics.median(run[phase] for run in figures), 2) for phase in figures[0]}


if __name__ == "__main__":
    sys.exit(main())
