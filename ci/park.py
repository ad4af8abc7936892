"""`python -m ci.park [STACK]`: puts a lab to sleep, $STACK where none is named; see `ci.parking`.

Notebooks end. What remains on the bill: the control plane, addresses, volumes and what is stored.

Exit status 1 when the stack is no lab, or something stays.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ci import actions, parking
from ci.actions import StepFailed
from ci.stacks import known


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the step and returns its exit status."""
    named = sys.argv[1:] if arguments is None else arguments
    try:
        stack = known(named[0] if named else actions.required("STACK"))
        parking.asked(parking.parking(stack).park)
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    actions.summary(f"## {stack} is parked\n\n`python -m ci.unpark {stack}` wakes it, in about ten minutes.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
