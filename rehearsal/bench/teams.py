"""`python -m rehearsal.bench.teams`: the time and memory of stacks with 1, 10 and 100 teams.

Each stack is dev with that many teams instead of its own. "Settings to graph" runs the program against Pulumi's mocks;
the rest is a rehearsal without checks and pods.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

import settings
from rehearsal import command
from rehearsal.machine.workspace import PROJECT
from rehearsal.run import staged
from rehearsal.stack_phases import REHEARSAL_DAY, Options

from .phase_times import without_and_with_pack

COUNTS = (1, 10, 100)
_PREVIEWS = 3
_TEAM: dict[str, Any] = {
    "description": "One of many",
    "quota": {"slices": 2, "cpu": 16, "memory": 64, "notebooks": 8},
    "profiles": ["python", "pytorch-slice"],
    "buckets": {"read": ["s3://corpus/"], "write": ["s3://results/"]},
}


def main() -> int:
    """Prints the figures as JSON; exit status 1 when a rehearsal fails."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.bench.teams", description=__doc__)
    parser.add_argument("counts", metavar="TEAMS", type=int, nargs="*", default=COUNTS, help="default: 1 10 100")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    options = parser.parse_args()
    return command.run(lambda console: _measure(options, console), Console(stderr=True))


def _measure(options: argparse.Namespace, console: Console) -> int:
    figures = {}
    for count in options.counts:
        console.print(f"{count} teams")
        with tempfile.TemporaryDirectory() as folder:
            stack_file = stack_of(count, Path(folder))
            figures[count] = {**settings_to_graph(stack_file), **rehearsed(stack_file)}
    text = json.dumps(figures, indent=2)
    print(text)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    return command.OK


def stack_of(count: int, folder: Path) -> Path:
    """Dev's stack file with `count` teams, written to `folder`."""
    document = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    config = document["config"]
    names = [f"team-{number:03}" for number in range(count)]
    config["gpulab:teams"] = {name: {**_TEAM, "buckets": _buckets(name)} for name in names}
    config["gpulab:overcommit"] = True
    config["gpulab:identity"].pop("seedUsers", None)
    stack_file = folder / "Pulumi.dev.yaml"
    stack_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    return stack_file


def _buckets(team: str) -> dict[str, list[str]]:
    return {"read": ["s3://corpus/"], "write": [f"s3://results/{team}/"]}


def settings_to_graph(stack_file: Path) -> dict[str, float]:
    """Seconds from the stack file to every resource registered, in a process of its own."""
    script = PROJECT / "tests" / "unit" / "graph_time.py"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(script), str(stack_file)], env=environment, check=True, stdout=subprocess.PIPE
    )
    return json.loads(done.stdout)


def rehearsed(stack_file: Path) -> dict[str, Any]:
    """The figures of a rehearsal: an up, previews that change nothing, a destroy.

    The previews run alternately without and with the policy pack; the figures are medians.
    """
    with staged(Options(stack_file=stack_file, stack="dev"), Console(quiet=True)) as rehearsal:
        rehearsal.up()
        engine, report = rehearsal.engine, rehearsal.report
        teams = len(settings.check_stack_file(stack_file, "dev", REHEARSAL_DAY).teams)
        own = [item for item in engine.resources() if "gpulab:index:Teams$gpulab:index:Team$" in item["urn"]]
        rehearsal.second_preview()
        without, whole = without_and_with_pack(engine, _PREVIEWS)
        rehearsal.destroy()
        return {
            "resources": report.resources_created,
            "resources_a_team": len(own) / teams,
            "types": dict(Counter(item["type"] for item in own)) if teams == 1 else {},
            "preview_without_policies_seconds": round(without, 2),
            "preview_with_policies_seconds": round(whole, 2),
            "policies_add_seconds": round(whole - without, 2),
            "changes": len(report.second_preview_changes or ()),
            "up_seconds": round(report.seconds["up"], 2),
            "destroy_seconds": round(report.seconds["destroy"], 2),
            "memory_mib": report.memory_mib,
            "program_memory_mib": report.program_memory_mib,
        }


if __name__ == "__main__":
    sys.exit(main())
