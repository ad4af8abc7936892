"""`python -m ci.up`: brings the stack $STACK up to what was merged.

Before it a job of the same workflow has previewed the stack, and for production a person has approved.
"""

from __future__ import annotations

import sys

from ci import actions, pulumi
from ci.actions import StepFailed
from ci.lifecycle import lifecycle
from ci.preview import UNREACHABLE
from ci.stacks import known

_LINES_SHOWN = 60


def up(stack: str) -> pulumi.Done:
    """Updates a stack. Raises StepFailed for one that was never initialised: that makes keys, which are committed."""
    if pulumi.resource_count(stack) is None:
        raise pulumi.no_state(stack)
    # What lifts production's protection is against the very policy that asks for it.
    unlocking = (f"--policy-pack-config={pulumi.UNLOCK}",) if lifecycle(stack).unlock else ()
    return pulumi.run(stack, "up", "--yes", "--skip-preview", "--policy-pack", pulumi.POLICY_PACK, *unlocking)


def report(stack: str, what: str, done: pulumi.Done) -> None:
    """The end of what the engine said, in the job's summary; and what went wrong at the top of the run."""
    end = "\n".join(done.said.splitlines()[-_LINES_SHOWN:])
    actions.summary(f"## {what} of {stack}: {'done' if done.ok else 'failed'}\n\n{actions.fenced(end)}\n")
    if pulumi.unreachable(done.said):
        actions.error(f"{stack}: {UNREACHABLE}")
    elif not done.ok:
        actions.error(
            f"{stack}: {what.lower()} ended with exit status {done.exit_code}. The same command goes on where it "
            "stopped; where the engine was killed, `pulumi cancel` takes its lock away first."
        )


def main() -> int:
    """Runs the step and returns its exit status."""
    try:
        stack = known(actions.required("STACK"))
        done = up(stack)
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    report(stack, "Update", done)
    return 0 if done.ok and not pulumi.unreachable(done.said) else 1


if __name__ == "__main__":
    sys.exit(main())
