"""`python -m ci.comment`: the previews in previews/ as the job's summary and, on a pull request, as its one comment.

The comment is found again by its marker and written anew in place. Exit status 1 when a preview speaks against the
merge: see reports/preview.py; 2 when GitHub refused it.

Environment: GITHUB_REPOSITORY and GH_TOKEN for `gh`; PULL_REQUEST, its number, for the comment; STACKS, the JSON list
of stacks that should be there; ALLOW, names of stateful resources that may go, one a line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ci import actions
from ci.actions import StepFailed
from ci.preview import PREVIEWS, Outcome
from reports.comment import MARKER
from reports.fitting import LIMIT
from reports.preview import main as preview_report

# Whose comments this token may change; others could hold the marker too.
_AUTHOR = "github-actions[bot]"
# A line of a pull request's description, or of a commit message, that lets a stateful resource go.
_TRAILER = "allow-replace:"


def allowed(event: dict[str, Any], given: str) -> list[str]:
    """The names that may go: `given`, and `Allow-Replace: NAME` lines of a pull request's description or a commit."""
    texts = (
        (event.get("pull_request") or {}).get("body"),
        (event.get("head_commit") or {}).get("message"),
    )
    lines = [line.strip() for text in texts for line in (text or "").splitlines()]
    named = [line[len(_TRAILER) :].strip() for line in lines if line.lower().startswith(_TRAILER)]
    return list(dict.fromkeys(name for name in [*given.splitlines(), *named] if name.strip()))


def outcomes(folder: Path, stacks: Sequence[str]) -> list[Outcome]:
    """How the preview of each stack ended; one that left nothing has failed."""
    found = []
    for stack in stacks:
        path = folder / f"{stack}.outcome.json"
        if path.is_file():
            found.append(Outcome(**json.loads(path.read_text(encoding="utf-8"))))
        else:
            found.append(Outcome(stack, "failed", "the job left no preview: its log says why"))
    return found


def body(folder: Path, ended: Sequence[Outcome], allow: Sequence[str]) -> tuple[str, bool]:
    """The comment, and whether anything speaks against the merge."""
    files = [f"{one.stack}={folder / f'{one.stack}.json'}" for one in ended if _written(folder, one)]
    against = any(one.how != "previewed" for one in ended)
    text = f"{MARKER}\n## Preview\n"
    if files:
        out, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            status = preview_report([*files, *(part for name in allow for part in ("--allow", name))])
        sys.stdout.write(said.getvalue())
        against = against or status != 0
        text = (
            out.getvalue()
            or f"{text}\nNo comment could be made of the previews:\n\n{actions.fenced(said.getvalue())}\n"
        )
    notes = "".join(_note(one) for one in ended if one.said)
    return fitted(text, notes), against


def fitted(text: str, notes: str) -> str:
    """The notes straight below the marker, which nothing pushes out; where it gets too long the end of `text` goes."""
    whole = text.replace(MARKER, f"{MARKER}\n{notes}", 1)
    encoded, cut = whole.encode(), "\n\n… cut here: the job's log has the rest.\n"
    if len(encoded) <= LIMIT:
        return whole
    return encoded[: LIMIT - len(cut.encode())].decode(errors="ignore") + cut


def _written(folder: Path, one: Outcome) -> bool:
    """Whether there is a preview to show. Of one that did not see the cluster there is not: it would look like one."""
    path = folder / f"{one.stack}.json"
    return one.how != "unreachable" and path.is_file() and path.stat().st_size > 0


def _note(one: Outcome) -> str:
    title = {"previewed": "", "failed": "failed", "unreachable": "not previewed: the cluster cannot be reached"}[
        one.how
    ]
    said = actions.fenced(one.said) if one.how == "failed" else one.said
    return f"\n> [!{'NOTE' if one.how == 'previewed' else 'CAUTION'}]\n> **Stack {one.stack}** {title}\n\n{said}\n"


def put(repository: str, number: str, text: str, *, first: bool = True) -> str:
    """Writes the pull request's comment, in the place of the one before. Returns what it did. Raises StepFailed.

    Without `first` it writes none where there is none.
    """
    if not number.isdecimal():
        raise StepFailed(f"{number!r} is no number of a pull request")
    pages = json.loads(_gh("--paginate", "--slurp", f"repos/{repository}/issues/{number}/comments?per_page=100"))
    ours = [
        one["id"]
        for page in pages
        for one in page
        if MARKER in (one.get("body") or "") and (one.get("user") or {}).get("login") == _AUTHOR
    ]
    content = json.dumps({"body": text})
    if ours:
        _gh("--method", "PATCH", f"repos/{repository}/issues/comments/{ours[0]}", "--input", "-", given=content)
        return f"comment {ours[0]} was written anew"
    if not first:
        return "there is no comment, and nothing to say in one"
    _gh("--method", "POST", f"repos/{repository}/issues/{number}/comments", "--input", "-", given=content)
    return "a comment was added"


def _gh(*arguments: str, given: str | None = None) -> str:
    done = subprocess.run(["gh", "api", *arguments], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepFailed(
            f"`gh api {' '.join(arguments)}` ended with exit status {done.returncode}: {done.stderr.strip()}"
        )
    return done.stdout


def main() -> int:
    """Runs the step and returns its exit status."""
    try:
        stacks = json.loads(actions.required("STACKS"))
        text, against = body(
            PREVIEWS, outcomes(PREVIEWS, stacks), allowed(actions.event(), os.environ.get("ALLOW", ""))
        )
        if not stacks:
            text = f"{MARKER}\n## Preview\n\nThis change touches no stack.\n"
        actions.summary(text)
        if number := os.environ.get("PULL_REQUEST"):
            print(put(actions.required("GITHUB_REPOSITORY"), number, text, first=bool(stacks)), flush=True)
    except StepFailed as failed:
        actions.error(str(failed))
        return 2
    if against:
        actions.error("The preview speaks against this: its comment, and the job's summary, say what and why.")
    return 1 if against else 0


if __name__ == "__main__":
    sys.exit(main())
