"""Calls GitHub's API with its command line program `gh`, which reads the job's token from GH_TOKEN."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from ci.actions import StepFailed


def api(*arguments: str, given: str | None = None) -> Any:
    """The answer to `gh api ARGUMENTS`; `given` is its standard input. Raises StepFailed if GitHub refuses."""
    done = subprocess.run(["gh", "api", *arguments], input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepFailed(
            f"`gh api {' '.join(arguments)}` ended with exit status {done.returncode}: {done.stderr.strip()}"
        )
    return json.loads(done.stdout)
