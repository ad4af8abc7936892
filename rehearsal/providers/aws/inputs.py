"""Reads inputs for a check. A preview does not know all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rehearsal.providers.protocol.model import UNKNOWN


def known(value: Any) -> Any:
    """`value`, or None if a preview does not know it."""
    return None if value is UNKNOWN else value


def each(value: Any, path: str, at: str = "") -> Iterator[tuple[str, Any]]:
    """The known values at `path` (`ingress[].protocol`), each with its own path (`ingress[0].protocol`)."""
    if value is UNKNOWN or value is None:
        return
    if not path:
        yield at, value
        return
    head, _, rest = path.partition(".")
    name = head.removesuffix("[]")
    found, where = value.get(name), f"{at}.{name}" if at else name
    if not head.endswith("[]"):
        yield from each(found, rest, where)
    elif isinstance(found, list):
        for index, item in enumerate(found):
            yield from each(item, rest, f"{where}[{index}]")
