"""Runs the engine for a step. Its output goes to the log while it runs, and is kept for the report."""

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

# A change that unlocks production breaks the policy that requires the lock.
_GUARDRAILS = ("--policy-pack", "policies")
_UNLOCKING = "--policy-pack-config=policies/unlock.json"
# Messages of the program, the Kubernetes provider and Helm when the cluster does not answer. In a preview the provider
# only warns, and the preview succeeds without a look at the cluster.
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
    """The result of a command. `output` is the end of its standard error, or of both outputs."""

    exit_code: int
    output: str

    @property
    def ok(self) -> bool:
        """Whether the engine succeeded."""
        return self.exit_code == 0


def no_state(stack: str) -> StepFailed:
    """The error for a stack that was never initialised."""
    return StepFailed(
        f"the stack {stack} has no state. Run the line `pulumi stack init {stack} --secrets-provider …` that bootstrap "
        f"prints, once, and commit what it adds to Pulumi.{stack}.yaml"
    )


def unreachable(text: str) -> bool:
    """Whether the engine's output shows that the cluster did not answer."""
    return any(mark in text for mark in _UNREACHABLE)


def guarded(stack: str) -> tuple[str, ...]:
    """The arguments that turn on the guardrails for a command, by the stack's file as it is now."""
    try:
        unlocked = lifecycle(stack).unlock
    except StepFailed:  # the program itself reports what is wrong with the file
        unlocked = False
    return (*_GUARDRAILS, _UNLOCKING) if unlocked else _GUARDRAILS


def run(stack: str, *command: str, to: Path | None = None, environment: Mapping[str, str] | None = None) -> Done:
    """Runs `pulumi COMMAND` on a stack. Standard output goes to the file `to` if given, else to the log."""
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
        assert stream is not None  # it is a pipe
        for raw in stream:
            line = raw.decode(errors="replace")
            print(line, end="", flush=True)
            kept.append(line)
        return Done(process.wait(), "".join(kept))


def state(stack: str) -> dict[str, Any] | None:
    """The stack's state, secrets encrypted; None for a stack that was never initialised. Raises StepFailed."""
    done = subprocess.run(
        # Not `stack ls`, which reads the states of all stacks: a deploy role may read only its own.
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
        f"cannot read the state of {stack} (exit status {done.returncode}): {done.stderr.strip()[-600:]}. Check that "
        "the variable GPULAB_STATE is what bootstrap prints, and that this role may read it"
    )


def resource_count(stack: str) -> int | None:
    """How many resources the stack's state holds; None for a stack that was never initialised. Raises StepFailed."""
    found = state(stack)
    return None if found is None else len((found.get("deployment") or {}).get("resources") or [])


@contextlib.contextmanager
def empty_state() -> Iterator[dict[str, str]]:
    """The environment variables for an empty, temporary state, for the preview of a stack that has none yet."""
    with tempfile.TemporaryDirectory(prefix="gpulab-state-") as folder:
        yield {"PULUMI_BACKEND_URL": Path(folder).as_uri(), "PULUMI_CONFIG_PASSPHRASE": secrets.token_urlsafe(16)}
