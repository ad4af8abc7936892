"""`python -m ci.unpark [STACK]`: wakes a lab that `ci.park` put to sleep, $STACK where none is named.

The stack file says how many system nodes there are. One that runs already is left as it is, but that its pools are
opened, should a parking have ended half-way.
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
        parking.asked(parking.parking(stack).wake)
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    actions.summary(f"## {stack} is awake\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
