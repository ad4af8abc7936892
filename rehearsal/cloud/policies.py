"""IAM's decision about one action on one resource, by the policies of a role ("Policy evaluation logic", IAM).

Only what identity policies of a stack say: no boundaries, no policies of resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

_FOR_ALL = "ForAllValues"
_IF_EXISTS = "IfExists"


@dataclass(frozen=True)
class Demand:
    """What a request needs: an action on a resource, `*` where there is none, and what conditions may ask about."""

    action: str
    resource: str = "*"
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


def allows(statements: Iterable[Mapping[str, Any]], demand: Demand) -> bool:
    """Whether a statement allows it, and none denies it."""
    found = {one["Effect"] for one in statements if _applies(one, demand)}
    return found == {"Allow"}


def _applies(statement: Mapping[str, Any], demand: Demand) -> bool:
    actions = _listed(statement.get("Action") or statement["NotAction"])
    named = any(fnmatchcase(demand.action.lower(), pattern.lower()) for pattern in actions)
    if named != ("Action" in statement):
        return False
    if not any(_like(demand.resource, pattern) for pattern in _listed(statement.get("Resource", "*"))):
        return False
    conditions = statement.get("Condition", {}).items()
    return all(
        _holds(operator, demand.context.get(key), _listed(wanted))
        for operator, keys in conditions
        for key, wanted in keys.items()
    )


def _holds(operator: str, values: Sequence[str] | None, wanted: Sequence[str]) -> bool:
    quantifier, _, name = operator.rpartition(":")
    if not values:
        return quantifier == _FOR_ALL or name.endswith(_IF_EXISTS)
    negated = "Not" in name
    exact = name.removesuffix(_IF_EXISTS) == "StringEquals"
    return all(any(value == one if exact else _like(value, one) for one in wanted) != negated for value in values)


def _like(value: str, pattern: str) -> bool:
    """IAM's wildcards are `*` and `?` only."""
    return fnmatchcase(value, pattern.replace("[", "[[]"))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else [value]
