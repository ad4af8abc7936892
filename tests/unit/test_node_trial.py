"""What the trial of nodes knows before any pod runs: when drift is held, and which pods exceed a pool's limit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

import settings
from components.node_pools import GPU_RESOURCE, disruption_budgets
from rehearsal.checks import DoesNotHold, NotTried, outcome
from rehearsal.node_trial import drift_is_held, more_than_the_limit, nvidia_types
from rehearsal.pods import Wish
from rehearsal.workspace import PROJECT

SATURDAY = datetime(2026, 8, 29, tzinfo=UTC)


def stack(name: str) -> settings.Settings:
    return settings.check_stack_file(PROJECT / f"Pulumi.{name}.yaml", stack=name, today=date(2026, 9, 1))


@pytest.mark.parametrize("hours", [0, 1.9, 10.1, 23, 47, 7 * 24 + 1, -1])
def test_drift_is_held_outside_the_window(hours: float) -> None:
    """Production's GPU pools open on Saturdays from 02:00 to 10:00."""
    budgets = disruption_budgets(stack("prod").node_pools["gpu"])
    assert drift_is_held(budgets, SATURDAY + timedelta(hours=hours))


@pytest.mark.parametrize("hours", [2, 5, 9.9, 7 * 24 + 3])
def test_drift_is_not_held_in_the_window(hours: float) -> None:
    budgets = disruption_budgets(stack("prod").node_pools["gpu"])
    assert not drift_is_held(budgets, SATURDAY + timedelta(hours=hours))


@pytest.mark.parametrize(
    ("budgets", "held"),
    [
        ([{"nodes": "0"}], True),  # no reasons are all reasons
        ([{"nodes": "0", "reasons": ["Empty"]}], False),
        ([{"nodes": "10%"}], False),
        ([{"nodes": "0", "schedule": "0 0 1 * *", "duration": "24h"}], False),  # no week of which is like another
    ],
)
def test_budgets_that_hold_drift(budgets: list[dict], held: bool) -> None:
    assert drift_is_held(budgets, SATURDAY) is held


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
