"""`python -m ci.rehearsals_passed`: checks that every rehearsal that a change needs succeeded.

This is a check that the branch main can require. The rehearsals' own checks have the names of stacks, and do not exist
if a change touches no stack. $NEEDS is GitHub's description of the jobs `stacks` and `rehearse`. Exit status 1 if a
rehearsal failed or is missing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from ci import actions
from ci.actions import StepFailed


def verdict(needs: Mapping[str, Any]) -> str:
    """The result in words. Raises StepFailed if the rehearsal of a touched stack failed or is missing."""
    which, rehearse = needs["stacks"], needs["rehearse"]
    if which["result"] != "success":
        raise StepFailed(
            f"cannot find out which stacks the change touches: the job `stacks` ended as {which['result']}"
        )
    if rehearse["result"] == "success":
        return "every touched stack was rehearsed"
    touched = json.loads(which["outputs"]["rehearsals"])
    if rehearse["result"] == "skipped" and not touched:
        return "the change touches no stack, so there is nothing to rehearse"
    raise StepFailed(f"the rehearsal of {', '.join(touched)} ended as {rehearse['result']}: see the logs of those jobs")


def main() -> int:
    """Runs the step and returns its exit status."""
    return actions.print_result(lambda: verdict(json.loads(actions.required("NEEDS"))))


if __name__ == "__main__":
    sys.exit(main())
