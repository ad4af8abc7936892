"""What pods and pools require of nodes: of labels, by node selectors and Karpenter's operators, and of taints."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_COMPARISONS = {"Gt": operator.gt, "Gte": operator.ge, "Lt": operator.lt, "Lte": operator.le}


def matches(requirements: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    """Whether labels fulfil every requirement, by the operators of node selectors."""
    return all(_fulfils(one["operator"], one.get("values") or [], labels.get(one["key"])) for one in requirements)


def tolerates(toleration: Mapping[str, str], taint: Mapping[str, str]) -> bool:
    """As Kubernetes decides it (k8s.io/api, Toleration.ToleratesTaint)."""
    same_value = toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")
    same_effect = toleration.get("effect") in (None, "", taint["effect"])
    return toleration.get("key") in (None, "", taint["key"]) and same_value and same_effect


def _fulfils(relation: str, values: Sequence[str], label: str | None) -> bool:
    if label is None:
        return relation in ("NotIn", "DoesNotExist")
    if relation in _COMPARISONS:
        return _COMPARISONS[relation](int(label), int(values[0]))
    return {"In": label in values, "NotIn": label not in values, "Exists": True}.get(relation, False)
