"""`python -m ci.expired`: the labs in AWS that have expired, as the step's output `stacks`."""

from __future__ import annotations

import json
import sys

from ci import actions
from ci.actions import StepFailed
from ci.lifecycle import is_expired, is_in_account
from ci.stacks import stacks
from contracts.eks import today


def main() -> int:
    """Runs the step and returns its exit status."""
    day = today()
    found, unknown = [], []
    for stack in stacks():
        try:
            found += [stack] if is_in_account(stack) and is_expired(stack, day) else []
        except StepFailed as failed:
            unknown.append(stack)
            actions.error(f"{stack}: cannot find out whether it has expired: {failed}")
    actions.output("stacks", json.dumps(found))
    print(f"expired before {day}: {', '.join(found) or 'none'}", flush=True)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
