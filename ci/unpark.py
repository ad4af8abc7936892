"""`python -m ci.unpark [STACK]`: starts a parked lab again, by default $STACK.

The stack file has the number of system nodes. A lab that runs already is left as it is, except that its pools are
opened: a parking may have ended half-way.
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
        does="Starts a parked lab again, in about ten minutes.",
        summary="## {stack} runs again\n",
    )


if __name__ == "__main__":
    sys.exit(main())
