"""`python -m ci.sleepers`: the labs whose stack files say `lifecycle.parkAtNight`, as the step's output `stacks`.

If $STACK is set, only that lab, also if its file does not say so.
"""

from __future__ import annotations

import json
import os
import sys

from ci import actions
from ci.actions import StepFailed
from ci.lifecycle import is_expired, lifecycle
from ci.stacks import known, stacks
from contracts.eks import today


def main() -> int:
    """Runs the step and returns its exit status."""
    found, unknown = [], []
    try:
        if item := os.environ.get("STACK"):
            found = [known(item)]
        else:
            for stack in stacks():
                try:
                    # destroy.yml destroys a lab that has expired.
                    found += [stack] if lifecycle(stack).park_at_night and not is_expired(stack, today()) else []
                except StepFailed as failed:
                    unknown.append(stack)
                    actions.error(f"{stack}: cannot find out whether to park it: {failed}")
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    actions.output("stacks", json.dumps(found))
    print(f"stacks: {', '.join(found) or 'none'}", flush=True)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
