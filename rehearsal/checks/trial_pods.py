"""What the trial of nodes asks for: pods that fit the stack's pools, and more of them than the pools' limits admit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Iterable, Mapping
from datetime import datetime

from contracts import InstanceType, instance_types
from rehearsal.cloud.capacity import ON_DEMAND, SPOT
from rehearsal.controllers.world import Object
from settings import NodePool
from settings.language.schedules import MINUTES_A_DAY, MINUTES_A_WEEK, weekly_starts
from settings.language.values import seconds
from settings.pools.gpu_shares import GPU_TAINT, shares
from settings.pools.labels import POOL_LABEL
from settings.pools.node_pools import MaintenanceWindow

from .checking import require
from .pods import CAPACITY_TYPE, INSTANCE_TYPE, Wish
from .trial_waits import described

BURST = 50


def is_open(window: MaintenanceWindow, now: datetime) -> bool:
    """Whether a pool's maintenance window is open at the time `now`, in UTC."""
    minute = (now.isoweekday() % 7) * MINUTES_A_DAY + now.hour * 60 + now.minute
    length = seconds(window.duration) // 60
    return any((minute - start) % MINUTES_A_WEEK < length for start in weekly_starts(window.schedule))


def types_to_buy(pool: NodePool, sold: Container[str] | None = None) -> list[InstanceType]:
    """The instance types of a pool that its NodePool and its limits admit, and whose price is known.

    `sold` are those that the region has; None stands for all.
    """
    limits = pool.limits
    return [
        one
        for one in pool.instance_types
        if one.price is not None
        and (sold is None or one.name in sold)
        and one.vcpu <= (limits.cpu or math.inf)
        and one.memory_mib <= 1024 * (limits.memory or math.inf)
        and (not pool.is_gpu or (one.gpu_manufacturer == "NVIDIA" and one.gpu_count <= (limits.gpus or 0)))
    ]


def smallest_instance(pool: NodePool, amount: int, sold: Container[str] | None = None) -> int:
    """The least that a machine of the pool has of what its pods ask for, of those that have `amount` of it."""
    return min(has for one in types_to_buy(pool, sold) if (has := one.gpu_count * share(pool)[1]) >= amount)


def burst(pools: Mapping[str, NodePool], sold: Container[str] | None = None) -> list[tuple[str, Wish]]:
    """The pods of a burst, each with its pool: together they ask each pool for more than its limit, where they can.

    Of GPUs that are shared a pod gets one share.
    """
    names = list(itertools.islice(itertools.cycle(pools), BURST))
    wishes = {}
    for name, pool in pools.items():
        largest = max(one.gpu_count for one in types_to_buy(pool, sold)) if pool.gpu.sharing == "none" else 1
        enough = limit(pool) // max(names.count(name), 1) + 1
        wishes[name] = gpu_wish(name, pool, gpus=min(enough, largest))
    return [(name, wishes[name]) for name in names]


def amount_requested(wishes: Iterable[tuple[str, Wish]], pool: str) -> int:
    """How many GPUs, or shares of them, are asked of a pool."""
    return sum(int(amount) for name, wish in wishes if name == pool for amount in wish.requests.values())


def share(pool: NodePool) -> tuple[str, int]:
    """What pods of a GPU pool ask for, the first kind where there are several, and how many of it a GPU gives."""
    return next(iter(shares(pool).items()))


def limit(pool: NodePool) -> int:
    """The most that a GPU pool may have of what its pods ask for."""
    return (pool.limits.gpus or 0) * share(pool)[1]


def gpu_wish(name: str, pool: NodePool, *, gpus: int = 1, apart: bool = False, lasting: bool = False) -> Wish:
    """A pod for GPUs, or shares of them, of one pool."""
    return Wish(
        requests={share(pool)[0]: str(gpus)},
        selects={POOL_LABEL: name},
        tolerations=[{"key": GPU_TAINT.key, "operator": "Exists"}, *tolerations(pool)],
        apart=apart,
        lasting=lasting,
    )


def tolerations(pool: NodePool) -> list[dict[str, str]]:
    """Tolerations of a pool's extra taints."""
    return [{"key": taint.key, "operator": "Exists"} for taint in pool.taints]


def gpus_of(resources: Mapping[str, str]) -> dict[str, str]:
    """The GPUs, or shares of them, among the resources of a node or a NodeClaim."""
    return {name: count for name, count in resources.items() if name.startswith("nvidia.com/") and count != "0"}


def cheapest(claim: Object, pool: NodePool, sold: Container[str]) -> str:
    """What was bought for one GPU of a pool, which has to be the cheapest of all that fit, and spot if it may."""
    kind = SPOT if SPOT in pool.capacity_types else ON_DEMAND
    least = min(one.price for one in types_to_buy(pool, sold) if one.price and (kind == ON_DEMAND or one.spot))
    bought = instance_types()[claim["metadata"]["labels"][INSTANCE_TYPE]]
    require(bought.price == least, f"{bought.name} costs {bought.price} USD/h on demand, others {least}")
    require(claim["metadata"]["labels"][CAPACITY_TYPE] == kind, f"it is {described(claim)}, not {kind}")
    return f"{described(claim)} ({least} USD/h on demand)"
