"""What a run of the engine that was killed left open in a stack's state, settled before the next run begins."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ci import actions, pulumi
from ci.actions import StepFailed


def settle(stack: str, state: Mapping[str, Any] | None) -> None:
    """Takes what the cloud had made, and the stack's state had not noted, into the state: else it is made twice.

    What then runs has to refresh, each time until it ends well: some of it is taken for made by its name alone. Raises
    StepFailed, with the state as it was, when a resource can't be told from others, the account can't be asked, the
    stack is locked, or another run changes it meanwhile.
    """
    if not ((state or {}).get("deployment") or {}).get("pending_operations"):
        return
    print(f"{stack}: an earlier run was interrupted", flush=True)
    looked = _run([sys.executable, "-m", "reports.interrupted", stack], json.dumps(state))
    if looked.returncode:
        raise StepFailed(
            f"{stack}: an earlier run was interrupted, and what it made can't be taken into the state: "
            f'{looked.stderr.strip()}. The state is as it was; see docs/destroy.md, "It was interrupted"'
        )
    # To look takes a while, and nothing holds the stack meanwhile: what runs has pending operations too.
    if pulumi.state(stack) != state:
        raise StepFailed(f"{stack}: another run is under way, and changes the state; start this job again after it")
    imported = _run(["pulumi", "stack", "import", "--stack", stack, "--non-interactive"], looked.stdout)
    if imported.returncode:
        raise StepFailed(
            f"{stack}: an earlier run was interrupted, and the state can't be changed: {imported.stderr.strip()}. "
            "Where no other run is under way, `pulumi cancel` takes a lock away; then start this job again"
        )
    print(looked.stderr, flush=True)
    actions.summary(f"## An earlier run of {stack} was interrupted\n\n{actions.fenced(looked.stderr)}\n")


def _run(command: Sequence[str], given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)
