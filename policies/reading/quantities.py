"""Quantities and durations as Kubernetes and Karpenter write them."""

from __future__ import annotations

import math
import re
from typing import Any

_UNITS = {
    "": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60,
}  # fmt: skip
_QUANTITY = re.compile(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)")
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(h|m|s)")
_SECONDS = {"h": 3600, "m": 60, "s": 1}

# KubeSpawner's units are those of memory alone, K, M, G and T, and all of them binary.
_KUBESPAWNER_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def quantity(value: Any) -> float | None:
    """The number that a quantity (`4`, `500m`, `16Gi`) stands for; None for what is none."""
    if isinstance(value, bool):
        return None
    match = _QUANTITY.fullmatch(str(value).strip())
    if match is None or match[2] not in _UNITS:
        return None
    return float(match[1]) * _UNITS[match[2]]


def kubespawner_memory(value: Any) -> float | None:
    """Bytes, of a memory of KubeSpawner (`16G`, or a number)."""
    text = str(value).strip()
    if text and text[-1] in _KUBESPAWNER_UNITS:
        amount = quantity(text[:-1])
        return None if amount is None else amount * _KUBESPAWNER_UNITS[text[-1]]
    return quantity(text)


def duration(value: Any) -> float | None:
    """Seconds, of a Go duration (`720h`, `1h30m`); infinity for `Never`; None for what is none."""
    text = str(value).strip()
    if text == "Never":
        return math.inf
    parts = _DURATION.findall(text)
    if not parts or "".join(amount + unit for amount, unit in parts) != text:
        return None
    return sum(float(amount) * _SECONDS[unit] for amount, unit in parts)


def shown(amount: float) -> str:
    """A number as people write it."""
    return f"{amount:g}"
