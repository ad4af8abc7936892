"""What a report is given: a file, standard input or a stack's state, in whatever encoding a shell wrote it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from .previews import PreviewError


def text_of(path: str, name: str) -> str:
    """The text of a file; `-` is standard input, `name` what the user calls it. Raises PreviewError."""
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise PreviewError(f"{name}: {path}: {error.strerror}") from None
    return decoded(raw, f"{name}: {path}")


def decoded(raw: bytes, what: str) -> str:
    """A text as UTF-8, UTF-16 or UTF-32, with a byte order mark or without. Raises PreviewError.

    `>` of Windows PowerShell writes UTF-16, and some editors put a byte order mark before UTF-8.
    """
    try:
        return raw.decode(json.detect_encoding(raw))
    except UnicodeDecodeError as error:
        raise PreviewError(f"{what} is not {error.encoding} text (byte {error.start}): save it as UTF-8") from None


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
