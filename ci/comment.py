"""`python -m ci.comment`: the previews in previews/ as the job's summary and, on a pull request, as its one comment.

The comment is found again by its marker and written anew in place. What may go is read from the pull request as it is
now: after an edit of its description it is enough to run the step again. Exit status 1 when a preview speaks against
the merge: see reports/preview.py; 2 when GitHub refused it.

Environment: GITHUB_REPOSITORY and GH_TOKEN for `gh`; PULL_REQUEST, its number, for the comment; STACKS, the JSON list
of stacks that should be there; ALLOW, names of stateful resources that may go, one a line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from ci import actions, github
from ci.actions import StepFailed
from ci.preview import PREVIEWS, How, Outcome
from reports.comment import MARKER
from reports.fitting import LIMIT
from reports.preview import main as preview_report

# Whose comments this token may change; others could hold the marker too.
_AUTHOR = "github-actions[bot]"
# A line of a pull request's description, or of a commit message, that lets a stateful resource go. It may be an item of
# a list, and be set as code, as may the name alone.
_TRAILER = re.compile(r"\s*([-*+]\s+)?`?allow-replace:`?(?P<name>.*)", re.IGNORECASE)


def allowed(*texts: str | None, given: str = "") -> list[str]:
    """The names that may go: the lines of `given`, and those of `Allow-Replace: NAME` in texts that people wrote."""
    lines = [line for text in texts for line in (text or "").splitlines()]
    named = [match["name"].strip().strip("`").strip() for line in lines if (match := _TRAILER.fullmatch(line))]
    return list(dict.fromkeys(name for name in [*map(str.strip, given.splitlines()), *named] if name))


def description(repository: str, number: str) -> str | None:
    """What a pull request says of itself now: what started the workflow holds what it said then. Raises StepFailed."""
    return github.api(f"repos/{repository}/pulls/{_number(number)}").get("body")


def outcomes(folder: Path, stacks: Sequence[str]) -> list[Outcome]:
    """How the preview of each stack ended; one that left nothing has failed."""
    found = []
    for stack in stacks:
        path = folder / f"{stack}.outcome.json"
        if path.is_file():
            found.append(_outcome(stack, path.read_text(encoding="utf-8", errors="replace")))
        else:
            found.append(Outcome(stack, "failed", "the job left no preview: its log says why"))
    return found


def _outcome(stack: str, written: str) -> Outcome:
    """An outcome as the pull request's own code wrote it, whose version is another: what is unknown here has failed."""
    try:
        kept = json.loads(written)
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or kept.get("how") not in get_args(How):
        return Outcome(stack, "failed", f"how the preview ended is not known here: {written}")
    return Outcome(stack, kept["how"], str(kept.get("said") or ""))


def body(folder: Path, ended: Sequence[Outcome], allow: Sequence[str]) -> tuple[str, bool]:
    """The comment, and whether anything speaks against the merge."""
    files = [f"{one.stack}={folder / f'{one.stack}.json'}" for one in ended if _written(folder, one)]
    against = any(one.how != "previewed" for one in ended)
    text = f"{MARKER}\n## Preview\n"
    notes = "".join(_note(one) for one in ended if one.said)
    if files:
        shown, said, ok = _reported(files, allow)
        if not shown:  # one of the names may be what is in the way
            why, clear = said, [name for name in allow if _reported(files, [name])[0]]
            shown, said, ok = _reported(files, clear)
            if shown:
                notes += f"\n> [!CAUTION]\n> Not every name that may go is clear:\n\n{actions.fenced(why)}\n"
        against = against or not ok
        text = shown or f"{text}\nNo comment could be made of the previews:\n\n{actions.fenced(said)}\n"
    return fitted(text, notes), against


def _reported(files: Sequence[str], allow: Sequence[str]) -> tuple[str, str, bool]:
    """The report on previews, empty where none could be made; what it said beside it; whether all is well."""
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        status = preview_report([*files, *(f"--allow={name}" for name in allow)])
    sys.stdout.write(said.getvalue())
    return out.getvalue(), said.getvalue(), status == 0


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
    pages = github.api("--paginate", "--slurp", f"repos/{repository}/issues/{_number(number)}/comments?per_page=100")
    ours = [
        one["id"]
        for page in pages
        for one in page
        if MARKER in (one.get("body") or "") and (one.get("user") or {}).get("login") == _AUTHOR
    ]
    content = json.dumps({"body": text})
    if ours:
        github.api("--method", "PATCH", f"repos/{repository}/issues/comments/{ours[0]}", "--input", "-", given=content)
        return f"comment {ours[0]} was written anew"
    if not first:
        return "there is no comment, and nothing to say in one"
    github.api("--method", "POST", f"repos/{repository}/issues/{number}/comments", "--input", "-", given=content)
    return "a comment was added"


def _number(number: str) -> str:
    """A pull request's number, where it is one. Raises StepFailed."""
    if not number.isdecimal():
        raise StepFailed(f"{number!r} is no number of a pull request")
    return number


def main() -> int:
    """Runs the step and returns its exit status."""
    try:
        stacks = json.loads(actions.required("STACKS"))
        repository, number = actions.required("GITHUB_REPOSITORY"), os.environ.get("PULL_REQUEST")
        written = description(repository, number) if number else None
        merged = (actions.event().get("head_commit") or {}).get("message")
        allow = allowed(written, merged, given=os.environ.get("ALLOW", ""))
        text, against = body(PREVIEWS, outcomes(PREVIEWS, stacks), allow)
        if not stacks:
            text = f"{MARKER}\n## Preview\n\nThis change touches no stack.\n"
        actions.summary(text)
        if number:
            print(put(repository, number, text, first=bool(stacks)), flush=True)
    except StepFailed as failed:
        actions.error(str(failed))
        return 2
    if against:
        actions.error("The preview speaks against this: its comment, and the job's summary, say what and why.")
    return 1 if against else 0


if __name__ == "__main__":
    sys.exit(main())
