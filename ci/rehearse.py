"""`python -m ci.rehearse`: rehearses the stack $STACK; its report is the job's summary, which forks get too."""

from __future__ import annotations

import subprocess
import sys

from ci import actions
from ci.actions import StepFailed
from ci.stacks import known


def main() -> int:
    """Runs the step and returns its exit status, which is the rehearsal's."""
    try:
        stack = known(actions.required("STACK"))
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    # The file, as a stack may be called like one of the rehearsal's own words.
    command = [sys.executable, "-m", "rehearsal", f"Pulumi.{stack}.yaml"]
    print(f"+ {' '.join(command[1:])}", flush=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None  # it was asked for
        said = []
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
    actions.summary(f"## Rehearsal of {stack}\n\n{actions.fenced(''.join(said))}\n")
    if process.returncode:
        actions.error(f"The rehearsal of {stack} ended with exit status {process.returncode}: its summary says why.")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
