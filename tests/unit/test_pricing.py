"""What pools cost, and that the README says so."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from gpu_pools import P4D, cpu_pool, gpu_pool

import settings
from components.pricing import cost_table, pool_prices

PROJECT = Path(__file__).parents[2]


def test_cheapest_and_dearest_node_of_a_pool() -> None:
    prices = pool_prices(gpu_pool(families=["g5"], categories=[]))
    assert prices
    assert (prices.cheapest.name, prices.dearest.name) == ("g5.xlarge", "g5.48xlarge")
    assert prices.gpu == prices.share == prices.cheapest.price


def test_gpu_costs_its_part_of_the_node_and_a_share_its_part_of_the_gpu() -> None:
    prices = pool_prices(gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "1g.5gb"}))
    assert prices
    assert prices.cheapest.price
    assert prices.gpu == pytest.approx(prices.cheapest.price / 8)
    assert prices.share == pytest.approx(prices.cheapest.price / 56)


def test_cpu_pools_have_no_gpu_to_pay() -> None:
    prices = pool_prices(cpu_pool())
    assert prices
    assert prices.gpu is None
    assert prices.cheapest_gpu is None


def test_types_without_a_price_are_left_out() -> None:
    assert pool_prices(gpu_pool(families=["p5e"], categories=[])) is None


def test_readme_has_the_prices_of_dev() -> None:
    dev = settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", datetime.date(2026, 6, 1))
    assert cost_table(dev.node_pools) in (PROJECT / "README.md").read_text(encoding="utf-8")
