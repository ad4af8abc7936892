"""Requirements on labels, by the operators of node selectors and of Karpenter."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_COMPARISONS = {"Gt": operator.gt, "Gte": operator.ge, "Lt": operator.lt, "Lte": operator.le}


def matches(requirements: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil every requirement, by the operators of node selectors."""
    return all(_fulfils(one["operator"], one.get("values") or [], labels.get(one["key"])) for one in requirements)


def _fulfils(relation: str, values: Sequence[str], label: str | None) -> bool:
    if label is None:
        return relation in ("NotIn", "DoesNotExist")
    if relation in _COMPARISONS:
        return _COMPARISONS[relation](int(label), int(values[0]))
    return {"In": label in values, "NotIn": label not in values, "Exists": True}.get(relation, False)
