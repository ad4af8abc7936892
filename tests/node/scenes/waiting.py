"""Waiting for what becomes true."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(holds: Callable[[], T | None], what: str, *, seconds: float = 120, every: float = 0.5) -> T:
    """What `holds` returns, once that is true. Fails after so many seconds with `what` never came."""
    deadline = time.monotonic() + seconds
    while not (result := holds()):
        assert time.monotonic() < deadline, f"never came within {seconds:g} s: {what}"
        time.sleep(every)
    return result
