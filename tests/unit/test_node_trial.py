"""What the node trial computes before any pod runs: when drift is blocked, and which pods exceed a pool's limit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any, cast

import pytest

import settings
from rehearsal.checks.checking import DoesNotHold, NotTried, outcome
from rehearsal.checks.pods import Pods, Wish
from rehearsal.checks.trial_pods import BURST, burst, is_open, smallest_instance, types_to_buy
from rehearsal.machine.workspace import PROJECT
from settings.pools.gpu_shares import shares

SATURDAY = datetime(2026, 8, 29, tzinfo=UTC)


def stack(name: str) -> settings.EksSettings:
    return settings.on_eks(
        settings.check_stack_file(PROJECT / f"Pulumi.{name}.yaml", stack=name, today=date(2026, 9, 1))
    )


@pytest.mark.parametrize(
    ("hours", "opens"),
    [(-1, False), (0, False), (1.9, False), (2, True), (9.9, True), (10.1, False), (47, False), (7 * 24 + 3, True)],
)
def test_production_is_open_on_saturdays_from_two_to_ten(hours: float, opens: bool) -> None:
    window = stack("prod").node_pools["gpu"].maintenance_window
    assert window
    assert is_open(window, SATURDAY + timedelta(hours=hours)) is opens


@pytest.mark.parametrize("name", ["dev", "prod"])
def test_a_burst_asks_each_pool_for_more_than_its_limit_in_pods_that_fit_an_instance(name: str) -> None:
    pools = {pool: one for pool, one in stack(name).node_pools.items() if one.is_gpu and "spot" in one.capacity_types}
    pods = burst(pools)
    assert len(pods) == BURST
    for pool_name, pool in pools.items():
        (resource, each), *_ = shares(pool).items()
        gpus = [int(wish.requests[resource]) for asked, wish in pods if asked == pool_name]
        assert sum(gpus) > min((pool.limits.gpus or 0) * each, len(gpus) - 1)
        assert max(gpus) <= max(one.gpu_count for one in types_to_buy(pool))


def test_a_limit_that_no_burst_can_reach_makes_no_larger_burst() -> None:
    pool = stack("dev").node_pools["gpu-shared"]
    vast = pool.model_copy(update={"limits": pool.limits.model_copy(update={"gpus": 10_000})})
    assert len(burst({"vast": vast})) == BURST


def test_what_a_pool_may_buy_fits_each_of_its_limits() -> None:
    pool = stack("dev").node_pools["gpu"]
    small = pool.model_copy(update={"limits": pool.limits.model_copy(update={"gpus": 4, "cpu": 8})})
    assert types_to_buy(small)
    assert all(one.gpu_count <= 4 and one.vcpu <= 8 for one in types_to_buy(small))
    assert any(one.vcpu > 8 for one in types_to_buy(pool))


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


@pytest.mark.parametrize(
    ("pool", "amount", "least"), [("gpu", 1, 1), ("gpu", 3, 4), ("gpu", 5, 8), ("gpu-shared", 1, 4)]
)
def test_what_is_left_of_a_limit_has_to_be_a_machine_that_fits(pool: str, amount: int, least: int) -> None:
    assert smallest_instance(stack("prod").node_pools[pool], amount) == least


class Cluster:
    """Of a cluster's API what pods by name need."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}

    def create(self, path: str, obj: Any) -> Any:
        assert path not in self.objects
        self.objects[path] = obj

    def get(self, path: str) -> Any:
        return self.objects.get(path)

    def delete(self, path: str) -> None:
        del self.objects[path]


def test_a_pod_that_went_with_its_node_is_made_again_and_one_that_was_deleted_is_not() -> None:
    cluster = Cluster()
    pods = Pods(cast("Any", cluster))
    pods.run("gpu", Wish(requests={"cpu": "1"}))
    (made,) = cluster.objects.items()
    pods.run_again("gpu")
    assert [*cluster.objects.items()] == [made]
    cluster.objects.clear()
    pods.run_again("gpu")
    assert [*cluster.objects.items()] == [made]
    pods.delete("gpu")
    pods.run_again("gpu")
    assert cluster.objects == {}
