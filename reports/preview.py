"""`python -m reports.preview [NAME=]FILE…`: one comment for a pull request, of the previews of any number of stacks.

Exit status 0 when nothing speaks against a merge; 1 when a stateful resource would be replaced or deleted that was not
allowed by name, a guardrail refuses something, or a preview failed; 2 when a file is not what a preview writes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .comment import comment, endangered, is_allowed, shortest_name
from .inputs import text_of
from .previews import Preview, PreviewError, read

OK, SPEAKS_AGAINST, UNREADABLE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; the comment goes to standard output, or to a file."""
    options = _parser().parse_args(arguments)
    previews: list[Preview] = []
    try:
        for given in options.previews:
            name, path = _named(given)
            if name in {one.stack for one in previews}:
                raise PreviewError(f"{name}: is given twice: name each, NAME=FILE")
            previews.append(read(text_of(path, name), name))
        for one in options.allow:
            _check_allowed(one, previews)
    except PreviewError as error:
        print(error, file=sys.stderr)
        return UNREADABLE
    text = comment(previews, options.allow)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)
    against = [reason for preview in previews for reason in _reasons(preview, options.allow)]
    for reason in against:
        print(reason, file=sys.stderr)
    return SPEAKS_AGAINST if against else OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports.preview",
        description="Makes a pull-request comment of what `pulumi preview --json` wrote.",
        epilog="Set PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true for the preview, so that it has the guardrails' results.",
    )
    parser.add_argument("previews", nargs="+", metavar="[NAME=]FILE", help="a preview, by its stack's name; - is stdin")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="a stateful resource (name or URN, * stands for anything) that may be replaced or deleted",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the comment to FILE")
    return parser


def _named(given: str) -> tuple[str, str]:
    """The stack's name and the file; without a name the file's own, such as dev of dev.json."""
    name, equals, path = given.partition("=")
    if equals and name:
        return name, path
    return ("stdin" if given == "-" else Path(given).stem), given


def _check_allowed(allowed: str, previews: Sequence[Preview]) -> None:
    """Says it where nothing in danger has the name. Raises PreviewError where one stack has several of the name."""
    found = [[step for step in endangered(preview) if is_allowed(step, [allowed])] for preview in previews]
    if not any(found):
        print(f"--allow {allowed}: nothing stateful of that name is replaced or deleted", file=sys.stderr)
    for steps in found:
        if len({step.urn for step in steps}) > 1 and "*" not in allowed:
            names = ", ".join(shortest_name(step, steps) for step in steps)
            raise PreviewError(f"--allow {allowed}: several resources have that name, allow each: {names}")


def _reasons(preview: Preview, allowed: Sequence[str]) -> list[str]:
    """What speaks against a merge."""
    danger = endangered(preview)
    found = [
        f"{preview.stack}: would {step.op} {step.name} ({step.type}), which is stateful; "
        f"--allow {shortest_name(step, danger)} if it is meant"
        for step in danger
        if not is_allowed(step, allowed)
    ]
    found += [
        f"{preview.stack}: {one.policy} refuses {one.resource}"
        for one in preview.violations or ()
        if one.mandatory and not one.undecided
    ]
    return [*found, *(f"{preview.stack}: {error}" for error in preview.errors)]


if __name__ == "__main__":
    sys.exit(main())
