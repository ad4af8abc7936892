"""`python -m ci.rehearsed`: whether every rehearsal that the change asks for was a success.

A check that main can require: the rehearsals' own have the stacks' names, and are not there where none is touched.
$NEEDS is what GitHub says of the jobs `stacks` and `rehearse`. Exit status 1 unless all is well.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from ci import actions
from ci.actions import StepFailed


def verdict(needs: Mapping[str, Any]) -> str:
    """What was found. Raises StepFailed unless each touched stack was rehearsed, or there is none."""
    which, rehearse = needs["stacks"], needs["rehearse"]
    if which["result"] != "success":
        raise StepFailed(f"which stacks are touched is not known: that job ended as {which['result']}")
    if rehearse["result"] == "success":
        return "every touched stack was rehearsed"
    touched = json.loads(which["outputs"]["stacks"])
    if rehearse["result"] == "skipped" and not touched:
        return "no stack is touched, so there is nothing to rehearse"
    raise StepFailed(f"the rehearsal of {', '.join(touched)} ended as {rehearse['result']}: see those jobs")


def main() -> int:
    """Runs the step and returns its exit status."""
    return actions.told(lambda: verdict(json.loads(actions.required("NEEDS"))))


if __name__ == "__main__":
    sys.exit(main())
