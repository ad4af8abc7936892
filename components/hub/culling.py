"""When a notebook ends: after its profile's idle time, and in any case after its lifetime. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from .catalogue import Catalogue
from .choices import profile_of

SERVICE = "gpulab-culler"
# It stops notebooks, and reads no list of people. What it asks notebooks by, the hub gives it for each alone.
SCOPES = ("delete:servers",)

# Of a profile that the stack file has no more: seconds.
DEFAULT_IDLE, DEFAULT_LIFETIME = 3600, 604_800

# So many rounds in a row a notebook has to be silent before it ends as an idle one.
SILENT_ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Seen:
    """When a notebook was last active, as far as is known, and for how many rounds it has been silent since."""

    active: datetime
    silent: int = 0


@dataclass(frozen=True, kw_only=True)
class End:
    """When a notebook ends, and why; `since` is when anything was last done in it."""

    at: datetime
    why: Literal["idle", "lifetime"]
    since: datetime

    def is_near(self, now: datetime, warn: timedelta) -> bool:
        """Whether it is time to tell. Of a short idle time half has to pass: who works is told nothing."""
        window = min(warn, (self.at - self.since) / 2) if self.why == "idle" else warn
        return self.at - now <= window

    def has_come(self, now: datetime, silent: int) -> bool:
        """Whether it ends now. One that has just fallen silent may compute: it is no idle one yet."""
        return self.at <= now and (self.why == "lifetime" or not 0 < silent < SILENT_ROUNDS)


def end_of(catalogue: Catalogue, slug: str, started: datetime, active: datetime) -> End:
    """The end of a notebook of that choice, which began at `started`, if nothing is done in it after `active`."""
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
    """When anything was last done in a notebook, by what its server says at `/api/status` and `/api/kernels`.

    The server counts messages of kernels, terminals, and what people do; it does not count a cell that computes for
    hours and prints nothing, but tells that its kernel is busy. It is its owner's, and may say anything: raises
    ValueError for what is no such answer.
    """
    if not isinstance(kernels, list) or not all(isinstance(one, dict) for one in kernels):
        raise ValueError("its kernels are no list of objects")
    if any(kernel.get("execution_state") == "busy" for kernel in kernels):
        return now
    match status:
        case {"last_activity": str(text)}:
            return min(time_of(text), now)
        case _:
            raise ValueError("its status has no last_activity")


def in_silence(before: Seen | None, reported: datetime, now: datetime) -> Seen:
    """What is known of a notebook that does not answer, by what it said before and what was `reported` to the hub.

    One that has said nothing yet counts as active now: what is reported leaves out whatever computes in silence.
    """
    if before is None:
        return Seen(active=now, silent=1)
    return Seen(active=max(before.active, min(reported, now)), silent=before.silent + 1)


def time_of(text: str) -> datetime:
    """A time as Jupyter writes it. Raises ValueError, for one without a zone too."""
    found = datetime.fromisoformat(text)
    if found.utcoffset() is None:
        raise ValueError(f"{text!r} is a time of no zone")
    return found
