"""When a notebook ends: after its profile's idle time, and in any case after its lifetime. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from .catalogue import Catalogue
from .choices import profile_of

SERVICE = "gpulab-culler"
# It stops notebooks, and may not list people. The hub gives it a token for each notebook.
SCOPES = ("delete:servers",)

# Seconds, for a profile that is no longer in the stack file.
DEFAULT_IDLE, DEFAULT_LIFETIME = 3600, 604_800

# A notebook ends as idle only after it was silent for this many rounds in a row.
SILENT_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Seen:
    """When a notebook was last active, as far as known, and for how many rounds it has not answered since."""

    active: datetime
    silent: int = 0


@dataclass(frozen=True, kw_only=True)
class End:
    """When a notebook ends, and why; `since` is when anything was last done in it."""

    at: datetime
    why: Literal["idle", "lifetime", "machine"]
    since: datetime

    def is_near(self, now: datetime, warn: timedelta) -> bool:
        """Whether to warn now. Half of a short idle time must pass first, so that people who work see no warning."""
        window = min(warn, (self.at - self.since) / 2) if self.why == "idle" else warn
        return self.at - now <= window

    def has_come(self, now: datetime, silent: int) -> bool:
        """Whether it ends now. A notebook that has just stopped answering may compute, so it is not idle yet."""
        return self.at <= now and (self.why == "lifetime" or not 0 < silent < SILENT_ROUNDS)


def end_of(catalogue: Catalogue, slug: str, started: datetime, active: datetime) -> End:
    """The end of a notebook of that choice, which began at `started`, if it stays unused after `active`."""
    _, profile = profile_of(catalogue, slug)
    idle, lifetime = (profile.idle, profile.lifetime) if profile else (DEFAULT_IDLE, DEFAULT_LIFETIME)
    since = max(active, started)
    ends: list[tuple[datetime, Literal["idle", "lifetime"]]] = [
        (started + timedelta(seconds=lifetime), "lifetime"),
        (since + timedelta(seconds=idle), "idle"),
    ]
    at, why = min(ends)
    return End(at=at, why=why, since=since)


def last_active(status: Any, kernels: Any, now: datetime) -> datetime:
    """When a notebook was last used, by what its server says at `/api/status` and `/api/kernels`.

    The server counts messages of kernels, terminals, and what people do. It does not count a cell that computes for
    hours and prints nothing, but it reports that its kernel is busy. The server is its owner's and may say anything:
    raises ValueError for an answer of another form.
    """
    if not isinstance(kernels, list) or not all(isinstance(one, dict) for one in kernels):
        raise ValueError("its kernels are not a list of objects")
    if any(kernel.get("execution_state") == "busy" for kernel in kernels):
        return now
    match status:
        case {"last_activity": str(text)}:
            return min(time_of(text), now)
        case _:
            raise ValueError("its status has no last_activity")


def without_answer(before: Seen | None, reported: datetime, now: datetime) -> Seen:
    """What is known of a notebook that does not answer, from what it said `before` and what the hub was `reported`.

    One that has never answered counts as active now, because the reports leave out cells that compute silently.
    """
    if before is None:
        return Seen(active=now, silent=1)
    return Seen(active=max(before.active, min(reported, now)), silent=before.silent + 1)


def time_of(text: str) -> datetime:
    """A time as Jupyter writes it. Raises ValueError, also for a time without a zone."""
    found = datetime.fromisoformat(text)
    if found.utcoffset() is None:
        raise ValueError(f"{text!r} is a time without a zone")
    return found
