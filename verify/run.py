"""Runs checks one after the other, for as long as there is time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from verify.checks import Check, Failed, Outcome, Skipped, State

INTERRUPTED = "interrupted"
"""Why a run ended that somebody has ended."""


@dataclass
class Run:
    """What became of the checks so far. `cut_off` says why the run ended before its last check; empty if it did not."""

    outcomes: list[Outcome] = field(default_factory=list)
    cut_off: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing failed, and each check was tried or skipped with a reason."""
        return not self.cut_off and all(one.state in (State.PASSED, State.SKIPPED) for one in self.outcomes)


def run(checks: Sequence[Check], show: Callable[[str], None], *, seconds: float) -> Run:
    """Runs the checks. One that begins in time is not interrupted; the others are not reached. Ctrl-C ends the run.

    `show` gets the name of each check before it is tried.
    """
    done, deadline = Run(), time.monotonic() + seconds
    for number, check in enumerate(checks):
        if time.monotonic() > deadline:
            done.cut_off = f"the time is over ({seconds:.0f} s, --timeout)"
        else:
            show(check.name)
            try:
                done.outcomes.append(tried(check))
            except KeyboardInterrupt:
                done.cut_off = INTERRUPTED
        if done.cut_off:
            done.outcomes += [_not_reached(one, done.cut_off) for one in checks[number:]]
            break
    return done


def selected(checks: Iterable[Check], only: Sequence[str]) -> list[Check]:
    """The checks whose group or name contains one of these texts; all without any. Raises ValueError if none does."""
    checks = list(checks)
    for text in only:
        if not any(_has(check, text) for check in checks):
            groups = ", ".join(dict.fromkeys(check.group for check in checks))
            raise ValueError(f"--only {text}: no check and no group has it; the groups are {groups}")
    return [check for check in checks if not only or any(_has(check, text) for text in only)]


def tried(check: Check) -> Outcome:
    """What becomes of a check."""
    started = time.monotonic()
    state, section, said = State.PASSED, None, ""
    phases: Mapping[str, float] = {}
    try:
        found = check.try_it()
        detail, phases = (found, {}) if isinstance(found, str) else (found.words, found.phases)
    except Skipped as skipped:
        state, detail = State.SKIPPED, str(skipped)
    except Failed as failed:
        state, detail, section, said = State.FAILED, str(failed), failed.section, failed.said
    except Exception as error:  # of a client or a program that it needs
        state, detail, section = State.FAILED, f"{type(error).__name__}: {error}", check.section
    return Outcome(
        name=check.name,
        group=check.group,
        state=state,
        detail=detail,
        seconds=time.monotonic() - started,
        section=section,
        said=said,
        phases=phases,
    )


def _has(check: Check, text: str) -> bool:
    return text.casefold() in f"{check.group}\n{check.name}".casefold()


def _not_reached(check: Check, why: str) -> Outcome:
    return Outcome(name=check.name, group=check.group, state=State.NOT_REACHED, detail=why)
