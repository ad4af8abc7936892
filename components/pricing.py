"""What nodes and GPUs cost by the hour, on demand, by list price in us-east-1 (contracts/aws/instance-types.json)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from settings.gpu_shares import shares

if TYPE_CHECKING:
    from contracts import InstanceType
    from settings import NodePool


@dataclass(frozen=True, kw_only=True)
class PoolPrices:
    """USD an hour. `gpu` is a GPU's part of the cheapest way to have one, `share` a pod's part of it; None without."""

    cheapest: InstanceType
    dearest: InstanceType
    cheapest_gpu: InstanceType | None
    gpu: float | None
    share: float | None


def pool_prices(pool: NodePool) -> PoolPrices | None:
    """The prices of a pool; None when no price is known of any of its types."""
    priced = [one for one in pool.instance_types if one.price is not None]
    if not priced:
        return None
    with_gpus = [one for one in priced if one.gpu_count]
    cheapest_gpu = min(with_gpus, key=_gpu_price) if pool.is_gpu and with_gpus else None
    gpu = _gpu_price(cheapest_gpu) if cheapest_gpu else None
    return PoolPrices(
        cheapest=min(priced, key=_price),
        dearest=max(priced, key=_price),
        cheapest_gpu=cheapest_gpu,
        gpu=gpu,
        share=gpu / sum(shares(pool).values()) if gpu is not None else None,
    )


def cost_table(pools: Mapping[str, NodePool]) -> str:
    """The pools' prices as a table in Markdown."""
    rows = ["| pool | cheapest node | dearest node | a GPU | what a pod asks for |", "| --- | --- | --- | --- | --- |"]
    for name, pool in pools.items():
        prices = pool_prices(pool)
        if prices is None:
            rows.append(f"| `{name}` | not sold in us-east-1 | | | |")
            continue
        gpu = f"{prices.gpu:.3f} ({_name(prices.cheapest_gpu)})" if prices.gpu is not None else ""
        asked = "; ".join(f"`{resource}`" for resource in shares(pool)) if pool.is_gpu else "CPU and memory"
        share = f"{asked}: {prices.share:.3f}" if prices.share is not None else asked
        rows.append(f"| `{name}` | {_node(prices.cheapest)} | {_node(prices.dearest)} | {gpu} | {share} |")
    return "\n".join(rows)


def _price(instance_type: InstanceType) -> float:
    return instance_type.price or 0.0


def _gpu_price(instance_type: InstanceType) -> float:
    return _price(instance_type) / instance_type.gpu_count


def _name(instance_type: InstanceType | None) -> str:
    return instance_type.name if instance_type else ""


def _node(instance_type: InstanceType) -> str:
    return f"{_price(instance_type):.3f} ({instance_type.name})"
