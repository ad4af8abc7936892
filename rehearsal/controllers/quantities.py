"""Kubernetes' quantities as numbers, to compare what is written in different ways: 1024Mi is 1Gi, and 1000m is 1."""

from __future__ import annotations

import re
from fractions import Fraction

_QUANTITY = re.compile(r"([+-]?[0-9.]+)([a-zA-Z]*)")
_UNITS = {
    "": Fraction(1),
    "m": Fraction(1, 1000),
    **{unit: Fraction(1000**power) for power, unit in enumerate(("k", "M", "G", "T", "P"), 1)},
    **{unit: Fraction(1024**power) for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), 1)},
}


def quantity(text: str) -> Fraction:
    """The number that a quantity stands for; of bytes where it is one of memory. Raises ValueError."""
    parts = _QUANTITY.fullmatch(text)
    if parts is None or parts[2] not in _UNITS:
        raise ValueError(f"{text} is no quantity")
    return Fraction(parts[1]) * _UNITS[parts[2]]
