"""`python -m ci.destroy`: destroys the stack $STACK, and then lists what is left of it in the account.

A person who starts it types the stack's name twice: $CONFIRM is the second one. On schedule ($SCHEDULED is `true`) it
destroys only a lab that has expired. Exit status 1 if the destroy failed or something is left.
"""

from __future__ import annotations

import datetime
import os
import subprocess
import sys

from ci import actions, interrupted, parking, pulumi
from ci.actions import StepFailed
from ci.lifecycle import is_expired
from ci.stacks import known
from ci.up import report
from contracts.eks import today


def may_go(stack: str, *, confirmed: str, scheduled: bool, day: datetime.date) -> None:
    """Raises StepFailed if the destroy was not confirmed by name, or on schedule is not due."""
    if scheduled:
        if not is_expired(stack, day):
            raise StepFailed(
                f"{stack} is not a lab that expired before {day}. On schedule, only expired labs are destroyed"
            )
    elif confirmed != stack:
        raise StepFailed(
            f"confirm must be the stack's name, {stack}, and is {confirmed or 'empty'!r}. Nothing was done"
        )


def settle(stack: str) -> None:
    """Adds what an interrupted run made to the state, so that it is destroyed too.

    What cannot be added does not stop the destroy; the report on leftovers lists it.
    """
    try:
        interrupted.settle(stack, pulumi.state(stack))
    except StepFailed as unclear:
        actions.error(str(unclear))


def leftovers(stack: str) -> subprocess.CompletedProcess[str]:
    """The report on what is left of the stack in the account, and its exit status."""
    command = [sys.executable, "-m", "reports.leftovers", stack]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def main() -> int:
    """Runs the step and returns its exit status."""
    scheduled = os.environ.get("SCHEDULED") == "true"
    try:
        stack = known(actions.required("STACK"))
        may_go(stack, confirmed=os.environ.get("CONFIRM", ""), scheduled=scheduled, day=today())
        settle(stack)
        if not pulumi.resource_count(stack):
            actions.summary(f"## {stack}: nothing to destroy\n\nIts state holds no resources.\n")
            if scheduled:
                return 0
            done = pulumi.Done(0, "")
        else:
            # Karpenter and the storage drivers must run, because they delete their nodes and volumes.
            parking.wake(stack)
            done = pulumi.run(stack, "destroy", "--yes", "--skip-preview", "--refresh")
            report(stack, "Destroy", done)
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    left = leftovers(stack)
    text = left.stdout + left.stderr
    print(text, flush=True)
    actions.summary(f"## What is left of {stack} in the account\n\n{actions.fenced(text)}\n")
    if left.returncode:
        actions.error(f"{stack}: something is left, or could not be checked. See the job's summary")
    return 1 if left.returncode or not done.ok or pulumi.unreachable(done.output) else 0


if __name__ == "__main__":
    sys.exit(main())
