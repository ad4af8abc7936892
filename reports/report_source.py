"""Reads the input of a report: a file, standard input or a stack's state, in the forms that shells and tools write."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# The last words of a program that failed. Such a line beside the JSON is an error.
_FAILED = re.compile(r"\s*(panic:|fatal error:|error:|goroutine \d|Traceback )")


class PreviewError(ValueError):
    """A report cannot read its input; the message says what is wrong and what to do."""


def text_of(path: str, name: str) -> str:
    """The text of a file; `-` is standard input, `name` is the user's name for it. Raises PreviewError."""
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
        raise PreviewError(f"{path}: cannot be written: {error.strerror}") from None


def decoded(raw: bytes, what: str) -> str:
    """Decodes UTF-8, UTF-16 or UTF-32, with or without a byte order mark. Raises PreviewError.

    `>` of Windows PowerShell writes UTF-16, and some editors put a byte order mark before UTF-8.
    """
    try:
        return raw.decode(json.detect_encoding(raw))
    except UnicodeDecodeError as error:
        raise PreviewError(
            f"{what} is not {error.encoding.upper()} text (byte {error.start}): save it as UTF-8"
        ) from None


def parser_of(report: str, description: str, *, reads: str) -> argparse.ArgumentParser:
    """The command line of a report on one stack: the stack, and `--from` for `text_or_state`."""
    parser = argparse.ArgumentParser(prog=f"python -m reports.{report}", description=description)
    parser.add_argument("stack", metavar="STACK", help="the stack's name")
    parser.add_argument("--from", dest="source", metavar="FILE", help=reads)
    return parser


def text_or_state(path: str | None, stack: str) -> str:
    """The text of the file in `--from`; without `--from` the stack's state. Raises PreviewError."""
    return text_of(path, stack) if path else state_of(stack)


def state_of(stack: str) -> str:
    """A stack's state, as the engine exports it. Raises PreviewError."""
    command = ["pulumi", "stack", "export", "--stack", stack, "--non-interactive"]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    except FileNotFoundError:
        raise PreviewError("pulumi is not on PATH. Give a file with --from FILE") from None
    if done.returncode:
        raise PreviewError(f"`pulumi stack export --stack {stack}` failed: {done.stderr.strip()}")
    return done.stdout


def parsed(text: str, name: str) -> Any:
    """The JSON that the engine wrote: a list of its events, or a document. Raises PreviewError.

    Lines before and after it, which the engine and policy packs print, are ignored.
    """
    lines = text.removeprefix("\ufeff").splitlines()
    written = [number for number, line in enumerate(lines) if line.strip()]
    if not written:
        raise PreviewError(
            f"{name}: is empty. The command ended before it wrote anything; its standard error has the reason"
        )
    first = next((number for number in written if lines[number].lstrip().startswith("{")), None)
    if first is None:
        said = lines[written[0]].strip()
        raise PreviewError(
            f"{name}: is not JSON, it begins with {said[:80]!r}. Give it only the standard output of "
            "`pulumi preview --json`"
        )
    try:
        event = json.loads(lines[first])
    except ValueError:
        event = None
    return _events(lines, first, name) if _is_event(event) else _document(lines, first, name)


def _events(lines: Sequence[str], first: int, name: str) -> list[Mapping[str, Any]]:
    """The events, one per line."""
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
            raise PreviewError(
                f"{name}: line {number + 1} is not an event of the engine. Give it the preview's own output"
            )
        events.append(event)
    return events


def _document(lines: Sequence[str], first: int, name: str) -> Any:
    """The document that begins in line `first`."""
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
    """Raises PreviewError if a line around the JSON is an error message, or begins another JSON text."""
    for number in [*range(first), *range(after, len(lines))]:
        if _FAILED.match(lines[number]) or lines[number].lstrip().startswith("{"):
            raise _no_json(lines, number, name)


def _no_json(lines: Sequence[str], number: int, name: str) -> PreviewError:
    return PreviewError(
        f"{name}: line {number + 1} is not JSON ({lines[number].strip()[:60]!r}): it is cut off, or another program "
        "wrote into it. Run the command again, and send its standard error elsewhere"
    )
