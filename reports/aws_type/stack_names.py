"""Decides by names whether something belongs to a stack."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from reports.account import Held


class StackNames:
    """The names of a stack: its cluster's name, and the domain of its ingress.

    `others` are the names of other clusters in the account: `gpulab-dev` must not claim what is `gpulab-dev-2`'s.
    """

    def __init__(self, cluster: str, domain: str | None, others: Iterable[str]) -> None:
        self.cluster = cluster
        self.domain = domain
        self._longer = [name for name in others if cluster in name]

    def are_in(self, text: str) -> bool:
        """Whether a text has the cluster's name in it as a word of its own, and not that of another cluster."""
        return _has(text, self.cluster) and not any(_has(text, other) for other in self._longer)


def by_name(held: Held, tags: Mapping[str, str], names: StackNames) -> str | None:
    """The name, id or tag Name that has the cluster's name in it."""
    id = held.id.rpartition("/")[2] if held.id.startswith("arn:") else held.id
    found = next((name for name in (held.name, id, tags.get("Name", "")) if names.are_in(name)), None)
    return f"the name {found}" if found else None


def _has(name: str, cluster: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(cluster)}(?![A-Za-z0-9])", name) is not None
