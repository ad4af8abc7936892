"""`python -m ci.park [STACK]`: parks a lab, by default $STACK; see `ci.parking`.

Notebooks end. The control plane, addresses, volumes and stored data are still billed.

Exit status 1 if the stack is not a lab, or some nodes stay.
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
        does="Parks a lab: ends notebooks, removes nodes, stops databases.",
        summary="## {stack} is parked\n\n`python -m ci.unpark {stack}` starts it again, in about ten minutes.\n",
    )


if __name__ == "__main__":
    sys.exit(main())
