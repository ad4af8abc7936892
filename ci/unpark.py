"""`python -m ci.unpark [STACK]`: wakes a lab that `ci.park` put to sleep, $STACK where none is named.

The stack file says how many system nodes there are. One that runs already is left as it is, but that its pools are
opened, should a parking have ended half-way.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ci.parking import Parking, step


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the step and returns its exit status."""
    return step(
        arguments,
        Parking.wake,
        program="ci.unpark",
        does="Wakes a lab that sleeps, in about ten minutes.",
        summary="## {stack} is awake\n",
    )


if __name__ == "__main__":
    sys.exit(main())
