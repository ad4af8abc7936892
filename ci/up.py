"""`python -m ci.up`: brings the stack $STACK up to what was merged.

Before it a job of the same workflow has previewed the stack, and for production a person has approved. That may take
days: an update that later ones have overtaken would take the stack back to what it was, and is refused.

Environment: GITHUB_SHA, what is rolled out; GITHUB_REF_NAME, the branch that it is of; GITHUB_REPOSITORY and GH_TOKEN.
"""

from __future__ import annotations

import sys

from ci import actions, github, interrupted, parking, pulumi
from ci.actions import StepFailed
from ci.preview import UNREACHABLE
from ci.stacks import known, stacks, touched

_LINES_SHOWN = 60
# GitHub names no more files of a comparison (REST API, "Compare two commits").
_MOST_FILES = 300


def refuse_overtaken(stack: str) -> None:
    """Raises StepFailed when the branch has gone on to a commit that touches the stack, or is no longer this one's."""
    # Not `git ls-remote`: a checkout keeps no credentials, without which a private repository does not answer.
    commit, branch = actions.required("GITHUB_SHA"), actions.required("GITHUB_REF_NAME")
    compared = github.api(f"repos/{actions.required('GITHUB_REPOSITORY')}/compare/{commit}...{branch}")
    if compared["status"] == "identical":
        return
    files = compared.get("files") or []
    names = [name for one in files for name in (one["filename"], one.get("previous_filename")) if name]
    gone_on = compared["status"] == "ahead"
    if gone_on and len(files) < _MOST_FILES and stack not in touched(names, stacks()):
        print(f"{branch} has gone on since {commit}, with nothing that touches {stack}", flush=True)
        return
    why = f"has gone on, with changes that touch {stack}" if gone_on else "has been reset to another history"
    raise StepFailed(
        f"{stack}: since {commit} {branch} {why}, and this update would take the stack back to then: nothing was done. "
        f"Where no later run is under way, start up.yml by hand on {branch}, with stack {stack}"
    )


def up(stack: str) -> pulumi.Done:
    """Updates a stack, which is woken if it is parked.

    Raises StepFailed for one that was never initialised: that makes keys, which are committed.
    """
    state = pulumi.state(stack)
    if state is None:
        raise pulumi.no_state(stack)
    interrupted.settle(stack, state)
    parking.wake(stack)
    return pulumi.run(stack, "up", "--yes", "--skip-preview", "--refresh", *pulumi.guarded(stack))


def report(stack: str, what: str, done: pulumi.Done) -> None:
    """The end of what the engine said, in the job's summary; and what went wrong at the top of the run."""
    end = "\n".join(done.said.splitlines()[-_LINES_SHOWN:])
    actions.summary(f"## {what} of {stack}: {'done' if done.ok else 'failed'}\n\n{actions.fenced(end)}\n")
    if pulumi.unreachable(done.said):
        actions.error(f"{stack}: {UNREACHABLE}")
    elif not done.ok:
        actions.error(
            f"{stack}: {what.lower()} ended with exit status {done.exit_code}. The same job goes on where it stopped; "
            "where the engine was killed, `pulumi cancel` takes its lock away first."
        )


def main() -> int:
    """Runs the step and returns its exit status."""
    try:
        stack = known(actions.required("STACK"))
        refuse_overtaken(stack)
        done = up(stack)
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    report(stack, "Update", done)
    return 0 if done.ok and not pulumi.unreachable(done.said) else 1


if __name__ == "__main__":
    sys.exit(main())
