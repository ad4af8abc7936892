"""`python -m ci.destroy`: destroys the stack $STACK, and then asks the account what is left of it.

By hand the stack's name has to be typed twice: $CONFIRM is the second time. On schedule ($SCHEDULED is `true`) a stack
goes only if it is a lab that has expired. Exit status 1 when the destroy failed, or when something was forgotten.
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
    """Raises StepFailed unless the destroy was confirmed by name, or is due."""
    if scheduled:
        if not is_expired(stack, day):
            raise StepFailed(f"{stack} is no lab that expired before {day}: on schedule only such go")
    elif confirmed != stack:
        raise StepFailed(
            f"confirm has to be the stack's name, {stack}, and is {confirmed or 'empty'!r}: nothing was done"
        )


def settle(stack: str) -> None:
    """What an interrupted run made goes with the rest; what can't be told is no reason to stay, and is a leftover."""
    try:
        interrupted.settle(stack, pulumi.state(stack))
    except StepFailed as unclear:
        actions.error(str(unclear))


def leftovers(stack: str) -> subprocess.CompletedProcess[str]:
    """What the account still holds of the stack: the report for people, and its exit status."""
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
            # Karpenter takes its nodes away, and drivers their volumes: they have to run.
            parking.wake(stack)
            done = pulumi.run(stack, "destroy", "--yes", "--skip-preview", "--refresh")
            report(stack, "Destroy", done)
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    left = leftovers(stack)
    text = left.stdout + left.stderr
    print(text, flush=True)
    actions.summary(f"## What the account still holds of {stack}\n\n{actions.fenced(text)}\n")
    if left.returncode:
        actions.error(f"{stack}: not everything is gone, or not everything could be looked at: see the job's summary")
    return 1 if left.returncode or not done.ok or pulumi.unreachable(done.said) else 0


if __name__ == "__main__":
    sys.exit(main())
