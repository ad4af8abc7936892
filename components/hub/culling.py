"""When a notebook ends: after its profile's idle time, and in any case after its lifetime. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from .catalogue import Catalogue
from .choices import profile_of

SERVICE = "gpulab-culler"
# It asks notebooks what runs in them, and stops them; it reads no list of people.
SCOPES = ("access:servers", "delete:servers")

# Of a profile that the stack file has no more: seconds.
DEFAULT_IDLE, DEFAULT_LIFETIME = 3600, 604_800


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


def last_active(status: Mapping[str, Any], kernels: Iterable[Mapping[str, Any]], now: datetime) -> datetime:
    """When anything was last done in a notebook, by what its server says at `/api/status` and `/api/kernels`.

    The server counts messages of kernels, terminals, and what people do; it does not count a cell that computes for
    hours and prints nothing, but tells that its kernel is busy.
    """
    if any(kernel.get("execution_state") == "busy" for kernel in kernels):
        return now
    return time_of(status["last_activity"])


def time_of(text: str) -> datetime:
    """A time as Jupyter writes it."""
    return datetime.fromisoformat(text)
