"""Compares two forms of a value. A live value gets the form of the program if both mean the same."""

from __future__ import annotations

import json
from typing import Any

from rehearsal.providers.aws.contract import Type, nested
from rehearsal.providers.protocol.model import contains_unknown


def same_set(one: list[Any], other: list[Any]) -> bool:
    """Whether two lists have the same items in any order."""
    return not contains_unknown([one, other]) and _sorted(one) == _sorted(other)


def same_document(one: str, other: str) -> bool:
    """Whether two texts are the same JSON."""
    return _document(one) == _document(other)


def as_given(kind: Type, given: Any, found: Any) -> Any:
    """The live value `found` in the form of the program's value `given`, so that only real differences remain.

    An object has only the properties that the program set. A set has the order of the program. If the program wrote an
    empty value and there is nothing, the result is the empty value.
    """
    if found is None:
        return given if given in ("", [], {}, False) else None
    if isinstance(kind, list) and isinstance(given, dict) and isinstance(found, dict) and kind[0] == "object":
        kinds = nested(kind[1])
        shown = {name: as_given(kinds[name][0], value, found.get(name)) for name, value in given.items()}
        return {name: value for name, value in shown.items() if value is not None}
    if not (isinstance(kind, list) and isinstance(given, list) and isinstance(found, list)):
        return found
    if kind[0] != "set":
        return [as_given(kind[1], *pair) for pair in zip(given, found, strict=False)] + found[len(given) :]
    rest, shown = list(found), []
    for item in given:
        match = next((candidate for candidate in rest if as_given(kind[1], item, candidate) == item), None)
        if match is not None:
            rest.remove(match)
            shown.append(item)
    return shown + rest


def _sorted(items: list[Any]) -> list[str]:
    return sorted(json.dumps(item, sort_keys=True) for item in items)


def _document(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
