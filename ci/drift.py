"""`python -m ci.drift`: compares the stack $STACK with its state and its stack file. It changes nothing.

A lab that is parked is not compared.

Exit status 1 if something differs, the engine failed, or the cluster did not answer.
"""

from __future__ import annotations

import sys

from ci import actions, parking, pulumi
from ci.actions import StepFailed
from ci.preview import UNREACHABLE
from ci.stacks import known

# Both only read. The first reads the cloud, the second runs the program.
_COMPARISONS = {
    "the cloud differs from the state": ("refresh", "--preview-only", "--diff", "--expect-no-changes"),
    "the stack file has changes that were not rolled out": ("preview", "--diff", "--expect-no-changes"),
}
_CHANGED = "no changes were expected"


def compare(stack: str) -> list[str]:
    """A sentence for each kind of drift; the details go into the job's summary. Raises StepFailed."""
    if not pulumi.resource_count(stack):
        actions.summary(f"## {stack}: not deployed\n\nIts state holds no resources.\n")
        return []
    if parking.is_parked(stack):
        actions.summary(
            f"## {stack}: parked\n\nA parked lab is not compared. `python -m ci.unpark {stack}` starts it again.\n"
        )
        return []
    found = []
    for meaning, command in _COMPARISONS.items():
        guardrails = pulumi.guarded(stack) if command[0] == "preview" else ()
        done = pulumi.run(stack, *command, *guardrails)
        if pulumi.unreachable(done.output):
            found.append(UNREACHABLE)
        elif _CHANGED in done.output:
            found.append(meaning)
        elif not done.ok:
            found.append(f"`pulumi {command[0]}` failed with exit status {done.exit_code}, so drift is not known")
        else:
            continue
        actions.summary(f"## {stack}: {found[-1]}\n\n{actions.fenced(done.output)}\n")
    if not found:
        actions.summary(f"## {stack}: no drift\n")
    return found


def main() -> int:
    """Runs the step and returns its exit status."""
    try:
        stack = known(actions.required("STACK"))
        found = compare(stack)
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    for difference in found:
        actions.error(f"{stack}: {difference}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
