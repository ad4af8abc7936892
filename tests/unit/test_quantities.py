"""Kubernetes' quantities: what outside the hub reads them, and that the hub reads the same."""

from __future__ import annotations

import pytest

from components.hub.inside import quantities as in_the_hub
from contracts.quantities import amount


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("1024Mi", "1Gi"),
        ("1000m", "1"),
        ("0.5Gi", "512Mi"),
        ("2k", "2000"),
        ("1e3", "1k"),
        ("1E", "1000P"),
        ("-1", "-1"),
    ],
)
def test_quantities_are_compared_as_numbers(left: str, right: str) -> None:
    assert amount(left) == amount(right) == in_the_hub.amount(left) == in_the_hub.amount(right)


@pytest.mark.parametrize(
    "suffix", ["n", "u", "m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
)
def test_the_hub_knows_the_same_suffixes(suffix: str) -> None:
    assert amount(f"3{suffix}") == in_the_hub.amount(f"3{suffix}")


@pytest.mark.parametrize("text", ["", "many", "1 Gi", "1ki", "1Ki1", "1e", "0x1"])
def test_text_that_is_not_a_quantity_is_refused(text: str) -> None:
    for read in (amount, in_the_hub.amount):
        with pytest.raises(ValueError, match="quantity of Kubernetes"):
            read(text)
