"""What a report is given: a file, standard input or a stack's state, as shells and tools write them."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# How a program ends that did not do what it had to: such a line beside the JSON is not passed over.
_FAILED = re.compile(r"\s*(panic:|fatal error:|error:|goroutine \d|Traceback )")


class PreviewError(ValueError):
    """Not what a report reads; the message says what is wrong and what to do."""


def text_of(path: str, name: str) -> str:
    """The text of a file; `-` is standard input, `name` what the user calls it. Raises PreviewError."""
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise PreviewError(f"{name}: {path}: {error.strerror}") from None
    return decoded(raw, f"{name}: {path}")


def write(path: Path, text: str) -> None:
    """Writes a report. Raises PreviewError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise PreviewError(f"{path}: can't be written: {error.strerror}") from None


def decoded(raw: bytes, what: str) -> str:
    """A text in UTF-8, UTF-16 or UTF-32, with a byte order mark or without. Raises PreviewError.

    `>` of Windows PowerShell writes UTF-16, and some editors put a byte order mark before UTF-8.
    """
    try:
        return raw.decode(json.detect_encoding(raw))
    except UnicodeDecodeError as error:
        raise PreviewError(
            f"{what} is not {error.encoding.upper()} text (byte {error.start}): save it as UTF-8"
        ) from None


def parser_of(report: str, description: str, *, reads: str) -> argparse.ArgumentParser:
    """What a report of one stack takes on its command line: the stack, and `--from`, for `text_or_state`."""
    parser = argparse.ArgumentParser(prog=f"python -m reports.{report}", description=description)
    parser.add_argument("stack", metavar="STACK", help="the stack's name")
    parser.add_argument("--from", dest="source", metavar="FILE", help=reads)
    return parser


def text_or_state(path: str | None, stack: str) -> str:
    """What `--from` names, or without it the stack's state. Raises PreviewError."""
    return text_of(path, stack) if path else state_of(stack)


def state_of(stack: str) -> str:
    """A stack's state, as the engine exports it. Raises PreviewError."""
    command = ["pulumi", "stack", "export", "--stack", stack, "--non-interactive"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        raise PreviewError("pulumi is not on PATH: give a file with --from FILE") from None
    if done.returncode:
        raise PreviewError(f"`pulumi stack export --stack {stack}` failed: {done.stderr.strip()}")
    return done.stdout


def parsed(text: str, name: str) -> Any:
    """What the engine wrote as JSON: a list of its events, or a document. Raises PreviewError.

    Lines before and after it, as the engine and policy packs print them, are passed over.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    written = [number for number, line in enumerate(lines) if line.strip()]
    if not written:
        raise PreviewError(
            f"{name}: is empty: the command ended before it wrote anything; what it said on standard error says why"
        )
    first = next((number for number in written if lines[number].lstrip().startswith("{")), None)
    if first is None:
        said = lines[written[0]].strip()
        raise PreviewError(
            f"{name}: is no JSON, it begins with {said[:80]!r}: give it the standard output of "
            "`pulumi preview --json` alone"
        )
    try:
        event = json.loads(lines[first])
    except ValueError:
        event = None
    return _events(lines, first, name) if _is_event(event) else _document(lines, first, name)


def _events(lines: Sequence[str], first: int, name: str) -> list[Mapping[str, Any]]:
    """The events in lines, each in its own."""
    last = max(number for number, line in enumerate(lines) if line.lstrip().startswith("{"))
    _check_around(lines, first, last + 1, name)
    events = []
    for number in range(first, last + 1):
        if not lines[number].strip():
            continue
        try:
            event = json.loads(lines[number])
        except ValueError:
            raise _no_json(lines, number, name) from None
        if not _is_event(event):
            raise PreviewError(f"{name}: line {number + 1} is no event of the engine's: give it what the preview wrote")
        events.append(event)
    return events


def _document(lines: Sequence[str], first: int, name: str) -> Any:
    """The document that begins in a line."""
    text = "\n".join(lines[first:]).lstrip()
    try:
        document, end = json.JSONDecoder().raw_decode(text)
    except json.JSONDecodeError as error:
        raise _no_json(lines, min(first + error.lineno, len(lines)) - 1, name) from None
    _check_around(lines, first, first + text[:end].count("\n") + 1, name)
    return document


def _is_event(document: Any) -> bool:
    return isinstance(document, dict) and "sequence" in document and "timestamp" in document


def _check_around(lines: Sequence[str], first: int, after: int, name: str) -> None:
    """Refuses lines around the JSON that say that something failed, or that begin another. Raises PreviewError."""
    for number in [*range(first), *range(after, len(lines))]:
        if _FAILED.match(lines[number]) or lines[number].lstrip().startswith("{"):
            raise _no_json(lines, number, name)


def _no_json(lines: Sequence[str], number: int, name: str) -> PreviewError:
    return PreviewError(
        f"{name}: line {number + 1} is no JSON ({lines[number].strip()[:60]!r}): it is cut off, or something else was "
        "written into it; run the command again, and keep its standard error apart"
    )
