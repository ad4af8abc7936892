"""Containers that Helm values add to a chart's pods: init containers, sidecars, and what a hub adds to notebooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.reading.resources import NotDecidedError, entries, mappings, parsed

# initContainers, extraContainers, sidecarContainer, additionalContainers, KubeSpawner's init_containers, sidecars.
_LISTS = re.compile(r"(containers?|sidecars?)$", re.IGNORECASE)

Container = Mapping[str, Any]


def added_containers(values: Any, place: str, *, but: tuple[str, ...] = ()) -> Iterator[tuple[str, Container]]:
    """The containers in values, each with its place. Keys of `values` in `but` are left out.

    Raises NotDecidedError for a text of containers that is not valid YAML.
    """
    left_out = tuple(f"{place}.{key}" for key in but)
    for path, mapping in mappings(values, place):
        for key in () if path.startswith(left_out) else mapping:
            if holds_containers(key):
                yield from containers_in(mapping[key], f"{path}.{key}")


def holds_containers(key: str) -> bool:
    """Whether a key of values holds containers, judged by its name."""
    return bool(_LISTS.search(key))


def containers_in(value: Any, place: str) -> Iterator[tuple[str, Container]]:
    """The containers of a list, of a mapping by name (as KubeSpawner takes too), or of a text that charts render."""
    if isinstance(value, str) and value.strip():
        document = parsed(value)
        if document is None:
            raise NotDecidedError(f"the containers of {place}: its text is not YAML before the chart renders it")
        value = document
    for key, container in entries(value):
        # Such a key may also hold something else: a flag, or settings of the chart's own sidecars.
        if isinstance(container, Mapping) and isinstance(container.get("image"), str):
            yield f"{place}.{key}", container
