"""`python -m ci.stacks changed|all|one`: the stacks that a workflow works on, as the step's output `stacks`.

`changed` are those that the commits since $BASE touch; `one` is $STACK. The output is a JSON list for a matrix. The
output `previews` also has the stacks whose file the change removes. A lab that has expired is left out unless its own
file changed: destroy.yml destroys it, and until then its file is refused and would block every other change. A stack on
a cluster that exists is only in the output `rehearsals`: workflows do not reach that cluster.
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
from ci.lifecycle import is_expired, is_in_account
from contracts.eks import today

# The stack names that Pulumi accepts. The name comes from a file in the pull request.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_STACK_FILE = re.compile(r"Pulumi\.(?P<stack>.+)\.yaml", re.DOTALL)
# Folders that are part of no stack. Every other folder, a new one too, may be part of any stack.
_IN_NO_STACK = ("docs", "tests", "bootstrap", "reports", "ci", ".github", ".ci", "schema")
_IN_NO_STACK_FILES = ("LICENSE", ".gitignore", ".pre-commit-config.yaml")
_NO_COMMIT = re.compile(r"0*")


def stacks(root: Path = Path()) -> list[str]:
    """The stacks that have a file in the repository. Raises StepFailed for a name that Pulumi refuses."""
    found = [match["stack"] for path in root.glob("Pulumi.*.yaml") if (match := _STACK_FILE.fullmatch(path.name))]
    return sorted(checked(name) for name in found)


def checked(name: str) -> str:
    """The name, if it can be a stack's name. Raises StepFailed."""
    if not _NAME.fullmatch(name):
        raise StepFailed(
            f"{name!r} is not a stack's name. Use at most 100 letters, digits, hyphens, underscores and dots"
        )
    return name


def known(name: str, root: Path = Path()) -> str:
    """The name of a stack that has a file here. Raises StepFailed."""
    if checked(name) not in stacks(root):
        raise StepFailed(f"there is no Pulumi.{name}.yaml here. Stacks: {', '.join(stacks(root)) or 'none'}")
    return name


def in_account(name: str) -> str:
    """The name of a stack in AWS. Raises StepFailed for one on a cluster that exists."""
    if not is_in_account(name):
        raise StepFailed(
            f"{name} is on a cluster that exists, which workflows do not reach: run pulumi where its kubeconfig is"
        )
    return name


def touched(changed: Iterable[str], every: Sequence[str]) -> list[str]:
    """The stacks of `every` that a change of these files touches.

    A stack's own file touches that stack, a file of the program all stacks.
    """
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
    """The stacks whose file the change removes."""
    names = [match["stack"] for name in changed if (match := _STACK_FILE.fullmatch(name))]
    return sorted(name for name in names if name not in every and _NAME.fullmatch(name))


def without_file(stack: str) -> str:
    """What to do if a change removes the file of a stack."""
    return (
        f"this change removes the file of stack {stack}. Destroy the stack first (start destroy.yml by hand): "
        "without its file no workflow can"
    )


def expired(chosen: Iterable[str], changed: Iterable[str]) -> list[str]:
    """The labs of `chosen` that have expired and whose own file did not change."""
    files = set(changed)
    return sorted(name for name in chosen if f"Pulumi.{name}.yaml" not in files and _is_expired(name))


def _is_expired(stack: str) -> bool:
    try:
        return is_expired(stack, today())
    except StepFailed:  # the next job reports what is wrong with the file
        return False


def _is_in_no_stack(path: PurePosixPath) -> bool:
    if len(path.parts) == 1:
        return path.suffix == ".md" or path.name in _IN_NO_STACK_FILES
    return path.parts[0] in _IN_NO_STACK


def changed_files(base: str, root: Path = Path()) -> list[str] | None:
    """The files that differ from the commit `base`, removed ones too; None if git does not know `base`."""
    if _NO_COMMIT.fullmatch(base):
        return None
    command = ["git", "diff", "--name-only", "--no-renames", "-z", "--end-of-options", base, "HEAD", "--"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"git does not know {base} (a forced push?), so all stacks count as touched", flush=True)
        return None
    return [name for name in done.stdout.split("\0") if name]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the step and returns its exit status."""
    (how,) = sys.argv[1:] if arguments is None else arguments
    try:
        every = stacks()
        chosen, removed_stacks, expired_labs = every, [], []
        if how == "one":
            chosen = [in_account(known(actions.required("STACK")))]
        elif how == "changed":
            changed = changed_files(os.environ.get("BASE", ""))
            if changed is not None:
                chosen, removed_stacks = touched(changed, every), removed(changed, every)
            expired_labs = expired(chosen, changed or ())
        elif how == "all":
            expired_labs = expired(chosen, ())
        else:
            raise StepFailed(f"{how!r} is not accepted. Use changed, all or one")
    except StepFailed as failed:
        actions.error(str(failed))
        return 1
    chosen = [name for name in chosen if name not in expired_labs]
    actions.output("rehearsals", json.dumps(chosen))
    chosen = [name for name in chosen if is_in_account(name)]
    actions.output("stacks", json.dumps(chosen))
    actions.output("previews", json.dumps([*chosen, *removed_stacks]))
    for name in expired_labs:
        who = "destroy.yml destroys it" if is_in_account(name) else "you destroy it where its kubeconfig is"
        _say(f"{name} is left out: it is a lab that has expired, and {who}. A later `expires` keeps it")
    for name in removed_stacks:
        _say(without_file(name))
    print(f"stacks: {', '.join(chosen) or 'none'}", flush=True)
    return 0


def _say(text: str) -> None:
    print(text, flush=True)
    actions.summary(f"- {text}")


if __name__ == "__main__":
    sys.exit(main())
