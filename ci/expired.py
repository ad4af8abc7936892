"""`python -m ci.expired`: the labs that are past their day, as the step's output `stacks`."""

from __future__ import annotations

import datetime
import json
import sys

from ci import actions
from ci.actions import StepFailed
from ci.lifecycle import lifecycle
from ci.stacks import stacks


def is_expired(stack: str, today: datetime.date) -> bool:
    """Whether a stack is a lab whose last day is over. Raises StepFailed for a stack file that is wrong."""
    expires = lifecycle(stack).expires
    return expires is not None and today > expires


def main() -> int:
    """Runs the step and returns its exit status."""
    today = datetime.datetime.now(datetime.UTC).date()
    found, unknown = [], []
    for stack in stacks():
        try:
            found += [stack] if is_expired(stack, today) else []
        except StepFailed as failed:
            unknown.append(stack)
            actions.error(f"whether {stack} has expired is not known: {failed}")
    actions.output("stacks", json.dumps(found))
    print(f"expired before {today}: {', '.join(found) or 'none'}", flush=True)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
