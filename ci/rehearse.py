"""`python -m ci.rehearse`: rehearses the stack $STACK. The report is the job's summary, on forks too."""

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
    # The file name, because a stack may have the name of a subcommand of the rehearsal.
    command = [sys.executable, "-m", "rehearsal", f"Pulumi.{stack}.yaml"]
    print(f"+ {' '.join(command[1:])}", flush=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None  # it is a pipe
        output = []
        for line in process.stdout:
            print(line, end="", flush=True)
            output.append(line)
    actions.summary(f"## Rehearsal of {stack}\n\n{actions.fenced(''.join(output))}\n")
    if process.returncode:
        actions.error(
            f"The rehearsal of {stack} ended with exit status {process.returncode}. The job's summary says why."
        )
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
