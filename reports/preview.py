"""`python -m reports.preview [NAME=]FILE…`: one comment for a pull request, from the previews of any number of stacks.

Exit status 0 if nothing is against the merge; 1 if a resource that holds data, or may hold data, would be replaced or
deleted without permission by name, a guardrail refuses something, or a preview failed; 2 if a file is not a preview.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .comment import comment
from .danger import Danger, dangers, endangered, is_allowed, is_named, shortest_name, why
from .preview_output import Preview, Step, read
from .report_source import PreviewError, text_of, write

OK, SPEAKS_AGAINST, UNREADABLE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; the comment goes to standard output, or to a file."""
    options = _parser().parse_args(arguments)
    previews: list[Preview] = []
    try:
        for given in options.previews:
            name, path = _named(given)
            if name in {item.stack for item in previews}:
                raise PreviewError(f"{name}: is given twice. Give each a name: NAME=FILE")
            previews.append(read(text_of(path, name), name))
        for item in options.allow:
            _check_allowed(item, previews)
        text = comment(previews, options.allow)
        if options.output:
            write(options.output, text)
    except PreviewError as error:
        print(error, file=sys.stderr)
        return UNREADABLE
    if not options.output:
        sys.stdout.write(text)
    against = [reason for preview in previews for reason in _reasons(preview, options.allow)]
    for reason in against:
        print(reason, file=sys.stderr)
    return SPEAKS_AGAINST if against else OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m reports.preview",
        description="Makes a pull-request comment from the output of `pulumi preview --json`.",
        epilog="Set PULUMI_ENABLE_STREAMING_JSON_PREVIEW=true for the preview, so that it has the guardrails' results.",
    )
    parser.add_argument("previews", nargs="+", metavar="[NAME=]FILE", help="a preview, by its stack's name; - is stdin")
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="NAME",
        help="may be replaced or deleted, with everything that goes with it (name or URN, * matches anything)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the comment to FILE")
    return parser


def _named(given: str) -> tuple[str, str]:
    """The stack's name and the file. Without a name it is the file's: dev for dev.json."""
    name, equals, path = given.partition("=")
    if equals and name:
        return name, path
    return ("stdin" if given == "-" else Path(given).stem), given


def _check_allowed(allowed: str, previews: Sequence[Preview]) -> None:
    """Warns if nothing in danger has the name. Raises PreviewError if several resources of one stack have it."""
    found = [_named_in(preview, allowed) for preview in previews]
    if not any(found):
        print(f"--allow {allowed}: nothing with that name that may hold data is replaced or deleted", file=sys.stderr)
    for steps in found:
        if len(steps) > 1 and "*" not in allowed:
            names = ", ".join(shortest_name(step, steps) for step in steps)
            raise PreviewError(f"--allow {allowed}: several resources have that name. Allow each one: {names}")


def _named_in(preview: Preview, allowed: str) -> list[Step]:
    """The steps that a name allows: steps in danger, and causes of danger."""
    steps = [*endangered(preview), *(item.first for item in dangers(preview))]
    return list({step.urn: step for step in steps if is_named(step, allowed)}.values())


def _reasons(preview: Preview, allowed: Sequence[str]) -> list[str]:
    """The reasons against a merge."""
    found = [f"{preview.stack}: {_said(item)}" for item in dangers(preview) if not is_allowed(item, allowed)]
    found += [
        f"{preview.stack}: {item.policy} refuses {item.resource}"
        for item in preview.violations or ()
        if item.mandatory and not item.undecided
    ]
    return [*found, *(f"{preview.stack}: {error}" for error in preview.errors)]


def _said(danger: Danger) -> str:
    """What would be destroyed, why that matters, and how to allow it."""
    first = danger.first
    others = [step for step in danger.steps if step.urn != first.urn]
    lost = f", which {why(first)}" if len(others) < len(danger.steps) else ""
    kinds = Counter(step.type for step in others)
    taken = ", ".join(f"{count} {type_}" for type_, count in kinds.items())
    with_it = f", and with it {taken}" if taken else ""
    return f"would {first.op} {first.name} ({first.type}){lost}{with_it}; use --allow {danger.allow} if you intend this"


if __name__ == "__main__":
    sys.exit(main())
