"""Repairs the state of a stack after a run of the engine was killed, before the next run begins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ci import actions, pulumi
from ci.actions import StepFailed


def settle(stack: str, state: Mapping[str, Any] | None) -> None:
    """Adds to the state what the cloud made and the state did not record. Otherwise it would be made twice.

    The next run must refresh, and so must each run after it until one succeeds, because some resources are added only
    by their name. Raises StepFailed and leaves the state as it was if several things could be the resource, the account
    cannot be read, the stack is locked, or another run changes the state in the meantime.
    """
    if not ((state or {}).get("deployment") or {}).get("pending_operations"):
        return
    print(f"{stack}: an earlier run was interrupted", flush=True)
    search = _run([sys.executable, "-m", "reports.interrupted", stack], json.dumps(state))
    if search.returncode:
        raise StepFailed(
            f"{stack}: an earlier run was interrupted, and what it made cannot be added to the state: "
            f'{search.stderr.strip()}. The state was not changed; see docs/destroy.md, "It was interrupted"'
        )
    # The search takes a while and does not lock the stack. A run that is under way has pending operations too.
    if pulumi.state(stack) != state:
        raise StepFailed(
            f"{stack}: another run is under way and changes the state. Start this job again when it has ended"
        )
    imported = _run(["pulumi", "stack", "import", "--stack", stack, "--non-interactive"], search.stdout)
    if imported.returncode:
        raise StepFailed(
            f"{stack}: an earlier run was interrupted, and the state cannot be changed: {imported.stderr.strip()}. "
            "If no other run is under way, remove the lock with `pulumi cancel` and start this job again"
        )
    print(search.stderr, flush=True)
    actions.summary(f"## An earlier run of {stack} was interrupted\n\n{actions.fenced(search.stderr)}\n")


def _run(command: Sequence[str], given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)
