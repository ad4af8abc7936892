"""Runs the Pulumi engine on a workspace and reads what happened from its event log."""

from __future__ import annotations

import json
import shlex
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from .processes import MARK, ProcessFailed
from .workspace import Workspace

_POLL_SECONDS = 0.05
_RELEASE = "kubernetes:helm.sh/v3:Release"
# Errors of the program and of other providers that only follow from another failure.
_CONSEQUENCES = ("unhandled exception", "client connection is closing", "resource monitor shut down")
# The application name that each engine command sends to AWS: `rehearsal.cloud.calls` counts by it.
APPLICATION = "pulumi-{command}"
# The commands that take a policy pack.
_WITH_PACK = ("preview", "up")
# Saving the whole state after each step takes a fifth of an update's time, and grows with the square of the resources.
_SAVES_AT_THE_END = {"PULUMI_SKIP_CHECKPOINTS": "true"}
# Steps that change nothing in the cloud or only read it.
_NO_CHANGE = frozenset({"same", "read", "refresh", "read-discard", "discard-replaced"})


@dataclass
class Step:
    """One thing the engine did, or would do, to a resource. `op` is the engine's word: create, update, replace.

    `at` is the time of its event, in seconds since the command began.
    """

    op: str
    urn: str
    type: str
    details: list[str] = field(default_factory=list)
    at: float = 0
    chart: dict[str, str] = field(default_factory=dict)
    """For a Helm release: its `chart`, `version` and `repository`, if known."""

    @property
    def name(self) -> str:
        """The resource's type and logical name, for people."""
        return f"{self.type} {self.urn.rpartition('::')[2]}"


@dataclass(frozen=True)
class Violation:
    """A policy's message about a resource, by its logical name: an error if `mandatory`, else a warning."""

    policy: str
    resource: str
    message: str
    mandatory: bool

    @property
    def undecided(self) -> bool:
        """Whether the policy waits for a value that the preview could not know."""
        return "not yet known: " in self.message

    def __str__(self) -> str:
        return f"{self.policy}: {self.resource}: {self.message}"


@dataclass
class Result:
    """The result of one engine command. `seconds` is its wall time.

    `steps` are in the order in which they ended. `begun` has each step at its start, and how many had ended by then.
    """

    command: str
    exit_code: int = 0
    seconds: float = 0
    steps: list[Step] = field(default_factory=list)
    begun: list[tuple[Step, int]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    output: str = ""

    @property
    def ok(self) -> bool:
        """Whether the command succeeded."""
        return self.exit_code == 0

    @property
    def causes(self) -> list[str]:
        """The errors that explain a failure. The program's stack traces are left out if there are other errors."""
        refused = [str(violation) for violation in self.violations if violation.mandatory]
        others = [error for error in self.errors if not any(mark in error for mark in _CONSEQUENCES)]
        return [*refused, *others] or self.errors

    @property
    def changes(self) -> list[Step]:
        """The steps that change something, in the engine's order."""
        return [step for step in self.steps if step.op not in _NO_CHANGE]

    @property
    def counts(self) -> Counter[str]:
        """How many steps there were of each kind."""
        return Counter(step.op for step in self.steps)


class Engine:
    """The engine on one workspace. With `with_policies` the policy pack checks previews and updates.

    With `saves_each_step` the state is saved after each step, as a user's engine does, else at the end of a command.
    """

    def __init__(self, workspace: Workspace, rehearsal_id: str, logs: Path) -> None:
        self.workspace = workspace
        self.rehearsal_id = rehearsal_id
        self.logs = logs
        self._runs = 0
        self.with_policies = True
        self.saves_each_step = False

    def initialise(self) -> None:
        """Creates the stack in the throw-away state. Raises ProcessFailed."""
        self._plain("stack", "init", self.workspace.stack)

    def config(self, key: str) -> str:
        """The value of a key in the copied stack file."""
        return self._plain("config", "get", key, "--stack", self.workspace.stack).strip()

    def configure(self, key: str, value: str, *, secret: bool = False) -> None:
        """Sets a value in the copied stack file, plain or encrypted."""
        kind = ["--secret"] if secret else []
        self._plain("config", "set", *kind, key, value, "--stack", self.workspace.stack)

    def resources(self) -> list[dict[str, Any]]:
        """The resources in the state, as in `pulumi stack export`, without the stack itself; secrets are masked."""
        deployment = json.loads(self._plain("stack", "export", "--stack", self.workspace.stack))["deployment"]
        return [resource for resource in deployment.get("resources", []) if resource["type"] != "pulumi:pulumi:Stack"]

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs; secrets are masked."""
        return json.loads(self._plain("stack", "output", "--json", "--stack", self.workspace.stack))

    def examine_state(self) -> str:
        """Checks the saved state with the policy pack, as users can do with a running stack.

        Raises ProcessFailed with the errors if a mandatory policy is violated.
        """
        saved = self.logs / "state.json"
        saved.write_text(self._plain("stack", "export", "--stack", self.workspace.stack), encoding="utf-8")
        self._plain("policy", "analyze", f"--file={saved}", f"--policy-pack={self.workspace.policy_pack}")
        return "`pulumi policy analyze` finds no errors"

    def time_preview(self) -> float:
        """The seconds of a preview as users run it, without an event log. Raises ProcessFailed."""
        started = time.monotonic()
        self._plain("preview", "--stack", self.workspace.stack, "--color=never", *self._examined("preview"))
        return time.monotonic() - started

    def _examined(self, command: str) -> list[str]:
        """The arguments that make the policy pack check a command."""
        wanted = self.with_policies and command in _WITH_PACK
        return [f"--policy-pack={self.workspace.policy_pack}"] if wanted else []

    def _plain(self, *arguments: str) -> str:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=self.workspace.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",  # whatever the user's locale is
            errors="replace",
            check=False,
        )
        if done.returncode:
            raise ProcessFailed(
                f"`pulumi {shlex.join(arguments)}` ended with exit status {done.returncode}: {done.stderr.strip()}"
            )
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**self.workspace.environment, MARK: self.rehearsal_id}

    def run(self, *command: str, on_step: Callable[[Step], None] = lambda step: None) -> Result:
        """Runs `pulumi COMMAND` on the stack and returns when it has ended, with any exit status.

        The policy pack checks previews and updates.
        """
        self._runs += 1
        stem = f"{self._runs:02}-{command[0]}"
        events, output = self.logs / f"{stem}.events.json", self.logs / f"{stem}.log"
        events.touch()
        result = Result(command[0])
        started = time.monotonic()
        arguments = ["--stack", self.workspace.stack, "--non-interactive", "--color=never", f"--event-log={events}"]
        arguments += self._examined(command[0])
        saving = {} if self.saves_each_step else _SAVES_AT_THE_END
        with output.open("wb") as log:
            process = subprocess.Popen(
                ["pulumi", *command, *arguments],
                cwd=self.workspace.folder,
                env={**self._environment(), **saving, "AWS_SDK_UA_APP_ID": APPLICATION.format(command=command[0])},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches only the rehearsal, which then ends the engine and all other processes.
                start_new_session=True,
            )
            with events.open(encoding="utf-8") as event_log:
                lines = _Lines(event_log)
                while process.poll() is None:
                    self._take(lines, result, on_step, started)
                    time.sleep(_POLL_SECONDS)
                self._take(lines, result, on_step, started)
        result.seconds = time.monotonic() - started
        result.exit_code = process.returncode
        result.output = output.read_text(encoding="utf-8", errors="replace")
        return result

    @staticmethod
    def _take(lines: Iterable[str], result: Result, on_step: Callable[[Step], None], started: float) -> None:
        """Reads the events since the last call."""
        at = time.monotonic() - started
        for line in lines:
            event = json.loads(line)
            if begun := event.get("resourcePreEvent"):
                result.begun.append((_step(begun["metadata"], at), len(result.steps)))
            elif outputs := event.get("resOutputsEvent"):
                step = _step(outputs["metadata"], at)
                result.steps.append(step)
                on_step(step)
            elif policy := event.get("policyEvent"):
                result.violations.append(_violation(policy))
            elif (diagnostic := event.get("diagnosticEvent")) and not diagnostic.get("ephemeral"):
                kept = {"error": result.errors, "warning": result.warnings}.get(diagnostic["severity"])
                if kept is not None:
                    kept.append(_text(diagnostic))


class _Lines:
    """The complete lines of a file that another process is writing. Each iteration gives the new ones."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._begun = ""

    def __iter__(self) -> Iterator[str]:
        while piece := self._file.readline():
            self._begun += piece
            if piece.endswith("\n"):
                line, self._begun = self._begun, ""
                yield line


def _step(metadata: dict[str, Any], at: float) -> Step:
    step = Step(metadata["op"], metadata["urn"], metadata["type"], at=at)
    # A refresh reports a difference in its detailed diff, not in the name of the step.
    step.details = sorted(metadata.get("detailedDiff") or metadata.get("diffs") or [])
    if step.type == _RELEASE:
        inputs = (metadata.get("new") or {}).get("inputs") or {}
        repository = inputs.get("repositoryOpts")
        named = {**inputs, "repository": repository.get("repo") if isinstance(repository, dict) else None}
        step.chart = {key: named[key] for key in ("chart", "version", "repository") if isinstance(named.get(key), str)}
    return step


def _violation(event: dict[str, Any]) -> Violation:
    name = event.get("resourceUrn", "").rpartition("::")[2]
    # The first line is the policy's description, the next lines are what it found.
    message = _plain(event["message"]).strip().replace("\n", ": ")
    return Violation(event["policyName"], name or "the stack", message, event["enforcementLevel"] == "mandatory")


def _text(diagnostic: dict[str, Any]) -> str:
    """A diagnostic for people: its resource, and its text without the engine's colour marks."""
    message = _plain(diagnostic["message"])
    name = diagnostic.get("urn", "").rpartition("::")[2]
    return f"{name}: {message.strip()}" if name else message.strip()


def _plain(message: str) -> str:
    for mark in ("<{%reset%}>", "<{%fg 1%}>", "<{%fg 3%}>", "<{%bold%}>"):
        message = message.replace(mark, "")
    return message
