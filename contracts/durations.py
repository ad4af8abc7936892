"""How long the creation of a resource takes, according to published figures."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from contracts.files import read
from contracts.helm import chart_name


@dataclass(frozen=True, kw_only=True)
class Duration:
    """How long the creation of a resource takes, in seconds; `source` is a key of the contract's `sources`."""

    seconds: float
    source: str

    @property
    def estimated(self) -> bool:
        """Whether nobody published a figure."""
        return self.source == "estimate"


def duration(type_: str, inputs: Mapping[str, Any]) -> Duration | None:
    """How long the creation of a resource of a type takes; None if nothing is known about its provider."""
    found = durations()["types"].get(type_) or durations()["others"].get(type_.partition(":")[0])
    if found is None:
        return None
    fitting = [case for case in found.get("where", []) if _value(inputs, case["input"]) == case["is"]]
    return _figure(fitting[0] if fitting else found)


@cache
def durations() -> Mapping[str, Any]:
    """The contract: `types`, `others` by provider, and `sources`."""
    return read("aws/durations.json")


def _value(inputs: Mapping[str, Any], key: str) -> Any:
    return chart_name(str(inputs.get(key))) if key == "chart" else inputs.get(key)


def _figure(figure: Mapping[str, Any]) -> Duration:
    seconds = statistics.median(figure["seen"]) if "seen" in figure else figure["seconds"]
    return Duration(seconds=seconds, source=figure["source"])
