"""What a check is, and what can become of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from components.hub.inside.sections import Section


class Skipped(Exception):
    """A check that was not tried; its text says why."""


class Failed(Exception):
    """What does not hold. `section` of the troubleshooting page helps; `said` quotes Kubernetes or another program."""

    def __init__(self, what: str, section: Section, said: str = "") -> None:
        super().__init__(what)
        self.section = section
        self.said = said


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a check found, in a few words, and the seconds of the phases that it timed."""

    words: str
    phases: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing to try. `try_it` says in a few words what it found; it raises Skipped, Failed, or any other error.

    Another error is a failure too, for which `section` helps. Checks of one `group` are about the same part of a site.
    """

    name: str
    group: str
    try_it: Callable[[], str | Found]
    section: Section


Steps: TypeAlias = Mapping[str, tuple[Callable[[], str | Found], Section]]
"""By the names of checks what each tries, and the section that helps."""


def checks_of(group: str, steps: Steps) -> list[Check]:
    """The checks of a group, in their order."""
    return [Check(name=name, group=group, try_it=try_it, section=section) for name, (try_it, section) in steps.items()]


class State(StrEnum):
    """What became of a check. One that a run did not come to is `NOT_REACHED`."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    NOT_REACHED = "not reached"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a check. `detail` is what it found, or why it failed or was skipped. `phases` are in seconds."""

    name: str
    group: str
    state: State
    detail: str
    seconds: float = 0.0
    section: Section | None = None
    said: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
