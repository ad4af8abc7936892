"""`python -m ci.up`: updates the stack $STACK to what was merged.

A job of the same workflow previews the stack first, and a person approves an update of production. That may take days.
If a later update has run in the meantime, this one would undo it, and is refused.

Environment: GITHUB_SHA, the commit to roll out; GITHUB_REF_NAME, its branch; GITHUB_REPOSITORY and GH_TOKEN.
"""

from __future__ import annotations

import sys

from ci import actions, github, interrupted, parking, pulumi
from ci.actions import StepFailed
from ci.preview import UNREACHABLE
from ci.stacks import known, stacks, touched

_LINES_SHOWN = 60
# GitHub lists at most this many files of a comparison (REST API, "Compare two commits").
_MOST_FILES = 300


def refuse_overtaken(stack: str) -> None:
    """Raises StepFailed if the branch has later commits that touch the stack, or no longer has this commit."""
    # Not `git ls-remote`: the checkout keeps no credentials, and a private repository needs them.
    commit, branch = actions.required("GITHUB_SHA"), actions.required("GITHUB_REF_NAME")
    compared = github.api(f"repos/{actions.required('GITHUB_REPOSITORY')}/compare/{commit}...{branch}")
    if compared["status"] == "identical":
        return
    files = compared.get("files") or []
    names = [name for file in files for name in (file["filename"], file.get("previous_filename")) if name]
    has_later_commits = compared["status"] == "ahead"
    if has_later_commits and len(files) < _MOST_FILES and stack not in touched(names, stacks()):
        print(f"{branch} has commits after {commit}, and none of them touches {stack}", flush=True)
        return
    why = f"has later commits that touch {stack}" if has_later_commits else "no longer has this commit"
    raise StepFailed(
        f"{stack}: {branch} {why} ({commit}), and this update would undo what came later. Nothing was done. "
        f"If no later run is under way, start up.yml by hand on {branch}, with stack {stack}"
    )


def up(stack: str) -> pulumi.Done:
    """Updates a stack. If it is parked, it is started first.

    Raises StepFailed if it was never initialised: a person must do that, and commit the keys that it makes.
    """
    state = pulumi.state(stack)
    if state is None:
        raise pulumi.no_state(stack)
    interrupted.settle(stack, state)
    parking.wake(stack)
    return pulumi.run(stack, "up", "--yes", "--skip-preview", "--refresh", *pulumi.guarded(stack))


def report(stack: str, what: str, done: pulumi.Done) -> None:
    """Writes the end of the engine's output to the job's summary, and an error to the top of the run."""
    end = "\n".join(done.output.splitlines()[-_LINES_SHOWN:])
    actions.summary(f"## {what} of {stack}: {'done' if done.ok else 'failed'}\n\n{actions.fenced(end)}\n")
    if pulumi.unreachable(done.output):
        actions.error(f"{stack}: {UNREACHABLE}")
    elif not done.ok:
        actions.error(
            f"{stack}: {what.lower()} ended with exit status {done.exit_code}. Run the same job again to go on. "
            "If the engine was killed, remove its lock with `pulumi cancel` first."
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
    return 0 if done.ok and not pulumi.unreachable(done.output) else 1


if __name__ == "__main__":
    sys.exit(main())
