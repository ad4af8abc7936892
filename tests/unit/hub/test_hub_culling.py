"""When a notebook ends, and what is reported about it."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hub_catalogue import NOON, dev
from hypothesis import given
from hypothesis import strategies as st

from components.hub.inside import notices
from components.hub.inside.culling import DEFAULT_IDLE, End, end_of, last_active, time_of

HOUR = timedelta(hours=1)
PYTORCH = dev().profiles["pytorch"]


def ends(started: datetime = NOON, active: datetime = NOON, slug: str = "research_pytorch") -> End:
    return end_of(dev(), slug, started, active)


def test_each_profile_has_its_own_time() -> None:
    assert ends().at == NOON + timedelta(seconds=PYTORCH.idle)
    agents = dev().profiles["agents"]
    assert agents.idle != PYTORCH.idle
    assert ends(slug="research_agents").at == NOON + timedelta(seconds=agents.idle)


def test_a_profile_that_is_gone_leaves_the_usual_time() -> None:
    assert ends(slug="research_gone").at == NOON + timedelta(seconds=DEFAULT_IDLE)


def test_work_goes_on_until_the_lifetime_is_over() -> None:
    lifetime = timedelta(seconds=PYTORCH.lifetime)
    found = ends(active=NOON + lifetime - timedelta(minutes=1))
    assert (found.at, found.why) == (NOON + lifetime, "lifetime")


def test_what_was_done_before_the_start_is_not_idleness() -> None:
    assert ends(active=NOON - 24 * HOUR).at == ends(active=NOON).at


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_work_never_ends_a_notebook_sooner(earlier: int, later: int) -> None:
    first, second = sorted((earlier, later))
    assert ends(active=NOON + timedelta(seconds=first)).at <= ends(active=NOON + timedelta(seconds=second)).at


def test_a_kernel_that_computes_in_silence_is_work() -> None:
    status = {"last_activity": "2026-09-01T09:00:00.123456Z"}
    assert last_active(status, [{"execution_state": "idle"}], NOON) == time_of(status["last_activity"])
    assert last_active(status, [{"execution_state": "idle"}, {"execution_state": "busy"}], NOON) == NOON
    assert last_active(status, [], NOON).utcoffset() == timedelta(0)


def test_the_page_tells_of_what_ends_soon_and_of_nothing_else() -> None:
    warn = timedelta(minutes=10)
    known = {
        ("ada", ""): End(at=NOON + timedelta(minutes=9), why="idle", since=NOON - HOUR),
        ("ada", "second"): End(at=NOON + timedelta(minutes=1), why="lifetime", since=NOON),
        ("ada", "third"): End(at=NOON + timedelta(minutes=11), why="idle", since=NOON),
    }
    first, second = notices.notices(known, NOON, warn)
    assert first.startswith("Your notebook ends at 12:09 UTC, in 9 minutes: nobody has used it since 11:00 UTC")
    assert second.startswith("Your notebook second ends at 12:01 UTC, in 1 minute: it has run as long as")


def test_of_a_short_idle_time_half_passes_in_silence() -> None:
    end = End(at=NOON + timedelta(minutes=5), why="idle", since=NOON)
    warn = timedelta(minutes=10)
    assert not end.is_near(NOON + timedelta(minutes=2), warn)
    assert end.is_near(NOON + timedelta(minutes=3), warn)


def test_what_the_culler_tells_is_what_the_hub_reads() -> None:
    known = {("ada@example.com", "second"): End(at=NOON, why="lifetime", since=NOON - HOUR)}
    assert notices.read(notices.document(known)) == known


@pytest.mark.parametrize("text", ["2026-09-01T12:00:00Z", "2026-09-01T12:00:00.000000+00:00"])
def test_times_as_jupyter_writes_them(text: str) -> None:
    assert time_of(text) == NOON


@pytest.mark.parametrize("text", ["2026-09-01T12:00:00", "2026-09-01", "noon"])
def test_what_is_no_time_or_of_no_zone(text: str) -> None:
    with pytest.raises(ValueError, match=text):
        time_of(text)
