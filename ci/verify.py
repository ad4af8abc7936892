"""`python -m ci.verify`: tries whether the stack $STACK works, by `python -m verify`.

$ONLY and $PROFILE narrow it. The job's summary has the checks that failed, with the sections that help; the folder
$REPORTS gets what was found as JSON, JUnit XML and a page. A stack that is not deployed, or parked, is not tried.

Exit status: that of `python -m verify`; 1 if the stack or its cluster can't be read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3

from ci import actions, parking, pulumi
from ci.actions import StepFailed
from ci.lifecycle import stack_of
from ci.parking import calling_aws, on_eks
from ci.stacks import in_account, known


def verify(stack: str, reports: Path) -> int:
    """Runs the checks, and writes the summary. Returns the exit status of `python -m verify`. Raises StepFailed."""
    from ci.parked_cluster import kubeconfig  # noqa: PLC0415 (the Kubernetes client takes a second to load)

    found = on_eks(stack_of(stack))
    session = boto3.Session(region_name=found.region)
    document = calling_aws(lambda: kubeconfig(session, found.cluster.name))
    reports.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="gpulab-verify-") as folder:
        config = Path(folder) / "kubeconfig"
        config.write_text(json.dumps(document), encoding="utf-8")
        done = subprocess.run(_command(stack, config, reports), check=False)
    report = reports / "verify.json"
    found_by_it = json.loads(report.read_text(encoding="utf-8")) if report.exists() else None
    actions.summary(summary(stack, found_by_it))
    return done.returncode


def summary(stack: str, report: dict[str, Any] | None) -> str:
    """What the job's summary says of a run; None: it ended before its first check, and the log has the reason."""
    if report is None:
        return f"## {stack}: could not be tried\n\nThe log of this step has the reason.\n"
    failed = [one for one in report["checks"] if one["state"] == "failed"]
    counts = ", ".join(
        f"{sum(one['state'] == state for one in report['checks'])} {state}" for state in ("passed", "failed", "skipped")
    )
    lines = [f"## {stack} {'works' if report['ok'] else 'does not work'}", "", f"{counts}. {report['cutOff']}".rstrip()]
    for one in failed:
        lines += ["", f"**{one['name']}**: {one['detail']} ({one.get('help', '')})"]
        lines += ["", actions.fenced(one["said"])] if one.get("said") else []
    return "\n".join(lines) + "\n"


def main() -> int:
    """Runs the step and returns its exit status."""
    try:
        stack = in_account(known(actions.required("STACK")))
        if not pulumi.resource_count(stack):
            actions.summary(f"## {stack}: not deployed\n\nThere is nothing to try.\n")
            return 0
        if parking.is_parked(stack):
            actions.summary(f"## {stack}: parked\n\n`python -m ci.unpark {stack}` starts it again.\n")
            return 0
        status = verify(stack, Path(os.environ.get("REPORTS") or "verify-reports"))
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    if status:
        actions.error(f"{stack} does not work, or not all of it was tried: the job's summary says what")
    return status


def _command(stack: str, config: Path, reports: Path) -> list[str]:
    command = [sys.executable, "-m", "verify", stack, "--kubeconfig", str(config)]
    command += ["--json", str(reports / "verify.json"), "--junit", str(reports / "verify.xml")]
    command += ["--history", str(reports), "--html", str(reports / "verify.html")]
    for option, variable in (("--only", "ONLY"), ("--profile", "PROFILE")):
        if value := os.environ.get(variable):
            command += [option, value]
    return command


if __name__ == "__main__":
    sys.exit(main())
