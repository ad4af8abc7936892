"""`python -m ci.comment`: writes the previews in previews/ to the job's summary and to a comment on the pull request.

The step finds its earlier comment by a marker and replaces it. It reads from the pull request as it is now what may be
replaced or deleted: after an edit of the description it is enough to run the step again. Exit status 1 if a preview
has a reason against the merge (see reports/preview.py); 2 if GitHub refused the comment.

Environment: GITHUB_REPOSITORY and GH_TOKEN for `gh`; PULL_REQUEST, its number, for the comment; STACKS, the JSON list
of the expected stacks; ALLOW, the names of resources with data that may be replaced or deleted, one per line.
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

# The author of the comments that this token may change. Other people's comments may have the marker too.
_AUTHOR = "github-actions[bot]"
# A line of a pull request's description or of a commit message that allows to replace or delete a resource with data.
# It may be a list item. The line or its name may be formatted as code.
_TRAILER = re.compile(r"\s*([-*+]\s+)?`?allow-replace:`?(?P<name>.*)", re.IGNORECASE)


def allowed(*texts: str | None, given: str = "") -> list[str]:
    """The allowed names: the lines of `given`, and those of `Allow-Replace: NAME` in texts that people wrote."""
    lines = [line for text in texts for line in (text or "").splitlines()]
    named = [match["name"].strip().strip("`").strip() for line in lines if (match := _TRAILER.fullmatch(line))]
    return list(dict.fromkeys(name for name in [*map(str.strip, given.splitlines()), *named] if name))


def description(repository: str, number: str) -> str | None:
    """The description of a pull request as it is now; the event has the earlier one. Raises StepFailed."""
    return github.api(f"repos/{repository}/pulls/{_number(number)}").get("body")


def outcomes(folder: Path, stacks: Sequence[str]) -> list[Outcome]:
    """How the preview of each stack ended; a preview without a file has failed."""
    found = []
    for stack in stacks:
        path = folder / f"{stack}.outcome.json"
        if path.is_file():
            found.append(_outcome(stack, path.read_text(encoding="utf-8", errors="replace")))
        else:
            found.append(Outcome(stack, "failed", "the job wrote no preview; its log says why"))
    return found


def _outcome(stack: str, written: str) -> Outcome:
    """Reads an outcome that the pull request's own version of the code wrote. What is not known here has failed."""
    try:
        kept = json.loads(written)
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or kept.get("how") not in get_args(How):
        return Outcome(stack, "failed", f"this version cannot read how the preview ended: {written}")
    return Outcome(stack, kept["how"], str(kept.get("said") or ""))


def body(folder: Path, ended: Sequence[Outcome], allow: Sequence[str]) -> tuple[str, bool]:
    """The comment, and whether there is a reason against the merge."""
    files = [f"{item.stack}={folder / f'{item.stack}.json'}" for item in ended if _written(folder, item)]
    against = any(item.how != "previewed" for item in ended)
    text = f"{MARKER}\n## Preview\n"
    notes = "".join(_note(item) for item in ended if item.said)
    if files:
        shown, said, ok = _reported(files, allow)
        if not shown:  # perhaps because a name in `allow` is not unique
            why, clear = said, [name for name in allow if _reported(files, [name])[0]]
            shown, said, ok = _reported(files, clear)
            if shown:
                notes += f"\n> [!CAUTION]\n> Some of the allowed names are not unique:\n\n{actions.fenced(why)}\n"
        against = against or not ok
        text = shown or f"{text}\nThe previews could not be turned into a comment:\n\n{actions.fenced(said)}\n"
    return fitted(text, notes), against


def _reported(files: Sequence[str], allow: Sequence[str]) -> tuple[str, str, bool]:
    """The report on previews (empty if there is none), its messages, and whether nothing is against the merge."""
    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        status = preview_report([*files, *(f"--allow={name}" for name in allow)])
    sys.stdout.write(said.getvalue())
    return out.getvalue(), said.getvalue(), status == 0


def fitted(text: str, notes: str) -> str:
    """`text` with the notes below its marker. If it is too long, the end of `text` is cut, and never the notes."""
    whole = text.replace(MARKER, f"{MARKER}\n{notes}", 1)
    encoded, cut = whole.encode(), "\n\n… cut here. The job's log has the rest.\n"
    if len(encoded) <= LIMIT:
        return whole
    return encoded[: LIMIT - len(cut.encode())].decode(errors="ignore") + cut


def _written(folder: Path, item: Outcome) -> bool:
    """Whether there is a preview to show. A preview that did not reach the cluster is not shown: it looks complete."""
    path = folder / f"{item.stack}.json"
    return item.how != "unreachable" and path.is_file() and path.stat().st_size > 0


def _note(item: Outcome) -> str:
    title = {"previewed": "", "failed": "failed", "unreachable": "not previewed: the cluster cannot be reached"}[
        item.how
    ]
    said = actions.fenced(item.said) if item.how == "failed" else item.said
    return f"\n> [!{'NOTE' if item.how == 'previewed' else 'CAUTION'}]\n> **Stack {item.stack}** {title}\n\n{said}\n"


def put(repository: str, number: str, text: str, *, first: bool = True) -> str:
    """Writes the pull request's comment, or replaces the earlier one. Returns what it did. Raises StepFailed.

    Without `first` it only replaces.
    """
    pages = github.api("--paginate", "--slurp", f"repos/{repository}/issues/{_number(number)}/comments?per_page=100")
    ours = [
        item["id"]
        for page in pages
        for item in page
        if MARKER in (item.get("body") or "") and (item.get("user") or {}).get("login") == _AUTHOR
    ]
    content = json.dumps({"body": text})
    if ours:
        github.api("--method", "PATCH", f"repos/{repository}/issues/comments/{ours[0]}", "--input", "-", given=content)
        return f"comment {ours[0]} was replaced"
    if not first:
        return "there is no earlier comment, and no need for one"
    github.api("--method", "POST", f"repos/{repository}/issues/{number}/comments", "--input", "-", given=content)
    return "a comment was added"


def _number(number: str) -> str:
    """Checks the number of a pull request. Raises StepFailed."""
    if not number.isdecimal():
        raise StepFailed(f"{number!r} is not the number of a pull request")
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
        actions.error("The preview has a reason against the merge. The comment and the job's summary have the details.")
    return 1 if against else 0


if __name__ == "__main__":
    sys.exit(main())
