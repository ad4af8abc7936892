"""`python -m ci.preview`: previews a merge for the stack $STACK. The files in previews/ are for the comment.

`previews/STACK.json` is the engine's output, `previews/STACK.outcome.json` says how the preview ended. Exit status 1 if
the engine failed, or if the cluster did not answer: the engine only warns then, and does not compare the cluster. If
the change removes the stack's file, the step fails if the state still has resources.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from ci import actions, pulumi
from ci.actions import StepFailed
from ci.stacks import checked, stacks, without_file

PREVIEWS = Path("previews")
# With this variable the engine writes its events, with the results of the guardrails: see reports/preview_output.py.
_STREAMING = {"PULUMI_ENABLE_STREAMING_JSON_PREVIEW": "true"}
UNREACHABLE = (
    "The cluster's API server could not be reached from this runner, so nothing in the cluster was compared. Set the "
    "repository's variable GPULAB_RUNNER to the label of a runner that reaches it (docs/pull-requests.md)."
)
_LONGEST_SAID = 3000
How = Literal["previewed", "failed", "unreachable"]


@dataclass(frozen=True)
class Outcome:
    """How the preview of a stack ended; `said` is the message for people."""

    stack: str
    how: How
    said: str = ""


def preview(stack: str, folder: Path) -> Outcome:
    """Previews a stack against its state, or against an empty state if it was never initialised. Raises StepFailed."""
    file = folder / f"{stack}.json"
    command = ("preview", "--json", *pulumi.guarded(stack))
    note = ""
    if pulumi.resource_count(stack) is None:
        note = "The stack has no state yet: this is what a first update would make."
        with pulumi.empty_state() as environment:
            made = pulumi.run(stack, "stack", "init", environment=environment)
            done = pulumi.run(stack, *command, to=file, environment=_STREAMING | environment) if made.ok else made
    else:
        done = pulumi.run(stack, *command, to=file, environment=_STREAMING)
    return _outcome(stack, done, file, note)


def removal(stack: str) -> Outcome:
    """The outcome for a stack whose file the change removes. Raises StepFailed."""
    count = pulumi.resource_count(stack)
    if count:
        return Outcome(stack, "failed", f"{without_file(stack)}. Its state holds {count} resources.")
    return Outcome(stack, "previewed", "This change removes the stack's file. Its state holds no resources.")


def _outcome(stack: str, done: pulumi.Done, file: Path, note: str) -> Outcome:
    written = file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
    if pulumi.unreachable(written) or pulumi.unreachable(done.output):
        return Outcome(stack, "unreachable", UNREACHABLE)
    if not done.ok:
        said = done.output.strip() or "nothing on standard error; the comment has the engine's output"
        return Outcome(stack, "failed", f"exit status {done.exit_code}: {said[-_LONGEST_SAID:]}")
    return Outcome(stack, "previewed", note)


def main() -> int:
    """Runs the step and returns its exit status."""
    try:
        stack = checked(actions.required("STACK"))
        PREVIEWS.mkdir(parents=True, exist_ok=True)
        outcome = preview(stack, PREVIEWS) if stack in stacks() else removal(stack)
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    path = PREVIEWS / f"{stack}.outcome.json"
    path.write_text(json.dumps(asdict(outcome)) + "\n", encoding="utf-8")
    if outcome.how != "previewed":
        actions.error(f"{stack}: {outcome.said}")
    return 0 if outcome.how == "previewed" else 1


if __name__ == "__main__":
    sys.exit(main())
