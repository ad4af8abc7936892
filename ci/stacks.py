"""`python -m ci.stacks changed|all|one`: which stacks a workflow is to work on, as the step's output `stacks`.

`changed` are those that the commits since $BASE touch; `one` is $STACK. The output is a JSON list for a matrix; the
output `previews` has those stacks too whose file the change removes. A lab past its day is left out unless its own file
changed: destroy.yml ends it, and until then its file is refused, so that it would stop every other change.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from ci import actions
from ci.actions import StepFailed
from ci.lifecycle import is_expired
from contracts.eks import today

# What Pulumi takes as a stack's name (a pull request brings the file, and so the name).
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_STACK_FILE = re.compile(r"Pulumi\.(?P<stack>.+)\.yaml", re.DOTALL)
# What is in no stack. Everything else may be in any, so that a folder that is new here is never taken for nothing.
_IN_NO_STACK = ("docs", "tests", "bootstrap", "reports", "ci", ".github", ".ci", "schema")
_IN_NO_STACK_FILES = ("LICENSE", ".gitignore", ".pre-commit-config.yaml")
_NO_COMMIT = re.compile(r"0*")


def stacks(root: Path = Path()) -> list[str]:
    """The stacks that have a file in the repository. Raises StepFailed for a name that Pulumi would not take."""
    found = [match["stack"] for path in root.glob("Pulumi.*.yaml") if (match := _STACK_FILE.fullmatch(path.name))]
    return sorted(checked(name) for name in found)


def checked(name: str) -> str:
    """A stack's name, where it is one. Raises StepFailed."""
    if not _NAME.fullmatch(name):
        raise StepFailed(f"{name!r} is no stack's name: letters, digits, hyphens, underscores and dots, 100 at most")
    return name


def known(name: str, root: Path = Path()) -> str:
    """The name of a stack that has a file here. Raises StepFailed."""
    if checked(name) not in stacks(root):
        raise StepFailed(f"there is no Pulumi.{name}.yaml here; stacks are {', '.join(stacks(root)) or 'none'}")
    return name


def touched(changed: Iterable[str], every: Sequence[str]) -> list[str]:
    """The stacks of `every` that a change of these files touches: a stack's own file its stack, the program all."""
    found: set[str] = set()
    for name in changed:
        path = PurePosixPath(name)
        own = _STACK_FILE.fullmatch(name)
        if own:
            found |= {own["stack"]} & set(every)
        elif not _is_in_no_stack(path):
            return list(every)
    return [name for name in every if name in found]


def removed(changed: Iterable[str], every: Sequence[str]) -> list[str]:
    """The stacks whose file was changed and is not there any more."""
    names = [match["stack"] for name in changed if (match := _STACK_FILE.fullmatch(name))]
    return sorted(name for name in names if name not in every and _NAME.fullmatch(name))


def without_file(stack: str) -> str:
    """What it means that the file of a stack goes."""
    return (
        f"this change removes the file of stack {stack}: destroy it first (start destroy.yml by hand), "
        "or nobody looks after it"
    )


def expired(chosen: Iterable[str], changed: Iterable[str]) -> list[str]:
    """The labs of `chosen` that are past their day, and whose own file is not among those that changed."""
    files = set(changed)
    return sorted(name for name in chosen if f"Pulumi.{name}.yaml" not in files and _is_expired(name))


def _is_expired(stack: str) -> bool:
    try:
        return is_expired(stack, today())
    except StepFailed:  # what is wrong with the file, the next job says
        return False


def _is_in_no_stack(path: PurePosixPath) -> bool:
    if len(path.parts) == 1:
        return path.suffix == ".md" or path.name in _IN_NO_STACK_FILES
    return path.parts[0] in _IN_NO_STACK


def changed_files(base: str, root: Path = Path()) -> list[str] | None:
    """The files that differ from the commit `base`, those that are gone too; None where git does not know `base`."""
    if _NO_COMMIT.fullmatch(base):
        return None
    command = ["git", "diff", "--name-only", "--no-renames", "-z", "--end-of-options", base, "HEAD", "--"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"git does not know {base} (a forced push?): all stacks are taken for touched", flush=True)
        return None
    return [name for name in done.stdout.split("\0") if name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the step and returns its exit status."""
    (how,) = sys.argv[1:] if arguments is None else arguments
    try:
        every = stacks()
        chosen, gone, over = every, [], []
        if how == "one":
            chosen = [known(actions.required("STACK"))]
        elif how == "changed":
            changed = changed_files(os.environ.get("BASE", ""))
            if changed is not None:
                chosen, gone = touched(changed, every), removed(changed, every)
            over = expired(chosen, changed or ())
        elif how == "all":
            over = expired(chosen, ())
        else:
            raise StepFailed(f"{how} is none of changed, all, one")
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    chosen = [name for name in chosen if name not in over]
    actions.output("stacks", json.dumps(chosen))
    actions.output("previews", json.dumps([*chosen, *gone]))
    for name in over:
        _say(f"{name} is left out: it is a lab past its day, which destroy.yml destroys; a later `expires` keeps it")
    for name in gone:
        _say(without_file(name))
    print(f"stacks: {', '.join(chosen) or 'none is touched'}", flush=True)
    return 0


def _say(text: str) -> None:
    print(text, flush=True)
    actions.summary(f"- {text}")


if __name__ == "__main__":
    sys.exit(main())
