"""Runs the engine for a step: what it says is seen while it runs, and kept for the report."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ci.actions import StepFailed
from ci.lifecycle import lifecycle

# What lifts production's protection is against the very policy that asks for it.
_GUARDRAILS = ("--policy-pack", "policies")
_UNLOCKING = "--policy-pack-config=policies/unlock.json"
# What the program (components/cluster.py), the Kubernetes provider and Helm say when no answer comes from the cluster.
# The provider only warns of it in a preview, which then ends well without having looked.
_UNREACHABLE = (
    "cannot be reached from here",
    "Kubernetes cluster is unreachable",
    "Kubernetes cluster unreachable",
    "failed to read resource state due to unreachable API server",
    "unable to load schema information from the API server",
)
_NO_STACK = "no stack named"
_LINES_KEPT = 400


@dataclass(frozen=True)
class Done:
    """What came of a command. `said` is the end of what it said on standard error, or on both."""

    exit_code: int
    said: str

    @property
    def ok(self) -> bool:
        """Whether the engine ended well."""
        return self.exit_code == 0


def no_state(stack: str) -> StepFailed:
    """What to do about a stack that was never initialised."""
    return StepFailed(
        f"the stack {stack} is not in the state: run the line `pulumi stack init {stack} --secrets-provider …` that "
        f"bootstrap prints, once, and commit what it adds to Pulumi.{stack}.yaml"
    )


def unreachable(text: str) -> bool:
    """Whether something that the engine said means that the cluster did not answer."""
    return any(mark in text for mark in _UNREACHABLE)


def guarded(stack: str) -> tuple[str, ...]:
    """The arguments that put the guardrails on a command, as they are meant for the stack as its file has it now."""
    try:
        unlocked = lifecycle(stack).unlock
    except StepFailed:  # the program says what is wrong with the file, in the engine's own words
        unlocked = False
    return (*_GUARDRAILS, _UNLOCKING) if unlocked else _GUARDRAILS


def run(stack: str, *command: str, to: Path | None = None, environment: Mapping[str, str] | None = None) -> Done:
    """Runs `pulumi COMMAND` on a stack. Standard output goes to the file `to`, where one is given, else to the log."""
    arguments = ["pulumi", *command, "--stack", stack, "--non-interactive", "--color=never"]
    print(f"+ {' '.join(arguments)}", flush=True)
    kept: deque[str] = deque(maxlen=_LINES_KEPT)
    with contextlib.ExitStack() as files:
        out: int | IO[bytes] = files.enter_context(to.open("wb")) if to else subprocess.PIPE
        process = subprocess.Popen(
            arguments,
            env={**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "true", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE if to else subprocess.STDOUT,
        )
        stream = process.stderr if to else process.stdout
        assert stream is not None  # it was asked for
        for raw in stream:
            line = raw.decode(errors="replace")
            print(line, end="", flush=True)
            kept.append(line)
        return Done(process.wait(), "".join(kept))


def state(stack: str) -> dict[str, Any] | None:
    """The stack's state, secrets encrypted; None for a stack that was never initialised. Raises StepFailed."""
    done = subprocess.run(
        # Not `stack ls`, which reads the states of all stacks: a deploy role may read its own alone.
        ["pulumi", "stack", "export", "--stack", stack, "--non-interactive"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return json.loads(done.stdout)
    if _NO_STACK in done.stderr:
        return None
    raise StepFailed(
        f"the state of {stack} can't be read (exit status {done.returncode}): {done.stderr.strip()[-600:]}. Is the "
        "variable GPULAB_STATE what bootstrap prints, and may this role read it?"
    )


def resource_count(stack: str) -> int | None:
    """How many resources the stack's state holds; None for a stack that was never initialised. Raises StepFailed."""
    found = state(stack)
    return None if found is None else len((found.get("deployment") or {}).get("resources") or [])


@contextlib.contextmanager
def empty_state() -> Iterator[dict[str, str]]:
    """The environment of a state that is thrown away, for the preview of a stack that is nowhere yet."""
    with tempfile.TemporaryDirectory(prefix="gpulab-state-") as folder:
        yield {"PULUMI_BACKEND_URL": Path(folder).as_uri(), "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(16)}
