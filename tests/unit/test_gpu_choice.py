"""A choice of GPU by model or memory: which pools satisfy it, and by which labels the scheduler finds the node."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from gpu_pools import P4D, cpu_pool, gpu_pool
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import contracts
from components.nodes.gpu_affinity import match_expressions
from rehearsal.checks.overlays import labels
from rehearsal.controllers.selectors import matches
from settings import NodePool
from settings.language.section import Facts, Reading
from settings.pools.gpu_choice import GpuChoice, known_models, satisfying_types

ANY = {"categories": ["g", "p"], "minGeneration": 4, "limits": {"gpus": 64}}
POOLS = {
    "whole": gpu_pool(**ANY),
    "turns": gpu_pool(**ANY, gpu={"sharing": "time-slicing", "replicas": 4}),
    "parts": gpu_pool(**ANY, gpu={"sharing": "mps", "replicas": 4}),
    "slices": gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "3g.20gb"}),
    "cpu": cpu_pool(),
}
# Of the GPUs that have whole GiB just so many are asked for, too.
EXACT = sorted({one.gpu_memory_mib // 1024 for one in contracts.instance_types().values() if one.gpu_count})
CHOICES = st.builds(
    GpuChoice,
    model=st.none() | st.sampled_from(known_models()),
    minMemory=st.none() | st.sampled_from(EXACT) | st.integers(1, 300),
)


def choice(**keys: Any) -> GpuChoice:
    return GpuChoice.model_validate(keys)


def satisfying(wish: GpuChoice, pools: dict[str, NodePool]) -> set[str]:
    return {name for name, pool in pools.items() if satisfying_types(wish, pool)}


@given(CHOICES, st.sampled_from(sorted(set(POOLS) - {"cpu"})))
def test_labels_select_the_types_that_satisfy(wish: GpuChoice, name: str) -> None:
    """Only for pools that can satisfy the choice; for others the profile is refused."""
    pool = POOLS[name]
    types = satisfying_types(wish, pool)
    if types:
        selected = [one for one in pool.instance_types if matches(match_expressions(wish, pool), labels(one))]
        assert selected == list(types)


def test_model_is_found_where_the_pool_buys_it() -> None:
    assert satisfying(choice(model="a100"), POOLS) == {"whole", "turns", "parts", "slices"}
    assert satisfying(choice(model="t4"), {"slices": POOLS["slices"], "cpu": POOLS["cpu"]}) == set()


def test_memory_is_that_of_a_share() -> None:
    """Of 40 GiB of an A100, a 3g.20gb slice has 20, an MPS quarter has 10, and a time-sliced share has all."""
    a100 = {name: gpu_pool(**P4D, gpu=POOLS[name].gpu) for name in ("whole", "turns", "parts", "slices")}
    assert satisfying(choice(minMemory=10), a100) == {"whole", "turns", "parts", "slices"}
    assert satisfying(choice(minMemory=20), a100) == {"whole", "turns", "slices"}
    assert satisfying(choice(minMemory=40), a100) == {"whole", "turns"}
    assert satisfying(choice(minMemory=41), a100) == set()


@pytest.mark.parametrize(
    ("given_keys", "message"),
    [
        ({"model": "A100"}, 'is unknown: did you mean "a100"?'),
        ({"minMemory": 0}, "must be 1 to 2048 GiB"),
    ],
)
def test_choice_that_is_none(given_keys: dict[str, Any], message: str) -> None:
    reading = Reading(Facts(stack="lab", today=datetime.date(2026, 6, 1)))
    with pytest.raises(ValidationError) as refusal:
        GpuChoice.model_validate(given_keys, context=reading)
    assert message in str(refusal.value)
