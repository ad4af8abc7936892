"""What a step writes for GitHub Actions (outputs, the job's summary, annotations), and the event that started it."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

# A step's summary may have 1 MiB (GitHub, "Workflow commands": GITHUB_STEP_SUMMARY).
_LONGEST_SUMMARY = 1024 * 1024
_CUT = "\n\n… cut here. The job's log has the rest.\n"


class StepFailed(Exception):
    """A step cannot do its work; the message says what to do."""


def output(name: str, value: str) -> None:
    """Sets an output of the step. A value with several lines cannot set another output."""
    end = secrets.token_hex(16)
    _append("GITHUB_OUTPUT", f"{name}<<{end}\n{value}\n{end}\n")


def summary(text: str) -> None:
    """Adds Markdown to the job's summary. Everybody who can see the run can read it, on forks too."""
    room = _LONGEST_SUMMARY - len(_CUT.encode())
    encoded = text.encode()
    if len(encoded) > room:
        text = encoded[:room].decode(errors="ignore") + _CUT
    _append("GITHUB_STEP_SUMMARY", f"{text}\n")


def error(text: str) -> None:
    """Shows an error at the top of the run, in one line."""
    escaped = text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    print(f"::error::{escaped}", flush=True)


def print_result(find: Callable[[], str]) -> int:
    """Prints the result of a step, or its error. Returns the exit status."""
    try:
        print(find(), flush=True)
    except StepFailed as failed:
        error(str(failed))
        return 1
    return 0


def event() -> dict[str, Any]:
    """The event that started the workflow, as GitHub describes it; empty outside of GitHub."""
    path = os.environ.get("GITHUB_EVENT_PATH")
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else {}


def fenced(text: str) -> str:
    """Text in a code block that no line of the text can end."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}text\n{text.rstrip()}\n{fence}"


def required(name: str) -> str:
    """An environment variable that the workflow must set. Raises StepFailed."""
    value = os.environ.get(name, "")
    if not value:
        raise StepFailed(f"{name} is not set. docs/pull-requests.md lists the variables that the repository needs")
    return value


def _append(variable: str, text: str) -> None:
    path = os.environ.get(variable)
    if path:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    else:  # on a developer's machine
        sys.stdout.write(text)
