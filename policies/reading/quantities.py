"""Quantities and durations in the notation of Kubernetes and Karpenter."""

from __future__ import annotations

import math
import re
from typing import Any

from contracts.quantities import amount

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|m|s)")
_SECONDS = {"h": 3600, "m": 60, "s": 1}

# KubeSpawner has units for memory only: K, M, G and T, all of them binary.
_KUBESPAWNER_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def quantity(value: Any) -> float | None:
    """The number that a quantity (`4`, `500m`, `16Gi`) stands for; None if it is not a quantity, or negative."""
    try:
        number = None if isinstance(value, bool) else float(amount(str(value).strip()))
    except ValueError:
        return None
    return number if number is not None and number >= 0 else None


def kubespawner_memory(value: Any) -> float | None:
    """The bytes of a KubeSpawner memory setting (`16G`, or a number)."""
    text = str(value).strip()
    if text and text[-1] in _KUBESPAWNER_UNITS:
        number = quantity(text[:-1])
        return None if number is None else number * _KUBESPAWNER_UNITS[text[-1]]
    return quantity(text)


def duration(value: Any) -> float | None:
    """The seconds of a Go duration (`720h`, `1h30m`); infinity for `Never`; None if it is not a duration."""
    text = str(value).strip()
    if text == "Never":
        return math.inf
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def shown(number: float) -> str:
    """A number without needless digits."""
    return f"{number:g}"
