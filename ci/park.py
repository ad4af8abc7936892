"""`python -m ci.park [STACK]`: puts a lab to sleep, $STACK where none is named; see `ci.parking`.

Notebooks end. What remains on the bill: the control plane, addresses, volumes and what is stored.

Exit status 1 when the stack is no lab, or something stays.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ci.parking import Parking, step


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the step and returns its exit status."""
    return step(
        arguments,
        Parking.park,
        program="ci.park",
        does="Puts a lab to sleep: notebooks end, nodes go, databases stop.",
        summary="## {stack} is parked\n\n`python -m ci.unpark {stack}` wakes it, in about ten minutes.\n",
    )


if __name__ == "__main__":
    sys.exit(main())
