"""What the trial of nodes knows before any pod runs: when drift is held, and which pods exceed a pool's limit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

import settings
from components.node_pools import GPU_RESOURCE
from rehearsal.checks import DoesNotHold, NotTried, outcome
from rehearsal.node_trial import is_open, more_than_the_limit, nvidia_types
from rehearsal.pods import Wish
from rehearsal.workspace import PROJECT

SATURDAY = datetime(2026, 8, 29, tzinfo=UTC)


def stack(name: str) -> settings.Settings:
    return settings.check_stack_file(PROJECT / f"Pulumi.{name}.yaml", stack=name, today=date(2026, 9, 1))


@pytest.mark.parametrize(
    ("hours", "opens"),
    [(-1, False), (0, False), (1.9, False), (2, True), (9.9, True), (10.1, False), (47, False), (7 * 24 + 3, True)],
)
def test_production_is_open_on_saturdays_from_two_to_ten(hours: float, opens: bool) -> None:
    window = stack("prod").node_pools["gpu"].maintenance_window
    assert window
    assert is_open(window, SATURDAY + timedelta(hours=hours)) is opens


@pytest.mark.parametrize("name", ["dev", "prod"])
@pytest.mark.parametrize("count", [1, 25, 100])
def test_a_burst_asks_for_more_than_the_limit_in_pods_that_fit_an_instance(name: str, count: int) -> None:
    for pool_name, pool in stack(name).node_pools.items():
        if not pool.is_gpu:
            continue
        wishes = more_than_the_limit(pool_name, pool, count)
        gpus = [int(wish.requests[GPU_RESOURCE]) for wish in wishes]
        assert len(wishes) >= count
        assert sum(gpus) > (pool.limits.gpus or 0)
        assert max(gpus) <= max(one.gpu_count for one in nvidia_types(pool))


def test_a_lasting_pod_asks_not_to_be_disrupted() -> None:
    asked = "karpenter.sh/do-not-disrupt"
    assert Wish(requests={}, lasting=True).template({})["metadata"]["annotations"][asked] == "true"
    assert asked not in Wish(requests={}).template({})["metadata"]["annotations"]


def test_a_check_that_can_not_be_made_neither_holds_nor_fails() -> None:
    def raising(error: Exception) -> str:
        raise error

    assert outcome("one", lambda: raising(NotTried("no such pool"))).ok is None
    assert outcome("one", lambda: raising(DoesNotHold("lost"))).ok is False
    assert outcome("one", lambda: raising(OSError("no route"))).detail == "OSError: no route"
    assert outcome("one", lambda: "seen").ok is True
