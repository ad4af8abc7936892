"""Where a ground has pods run that must be there at all times, and what keeps them there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.manifests import Spec


@dataclass(frozen=True, kw_only=True)
class Placement:
    """`node_selector` and `tolerations` lead to the nodes that outlive all others.

    `annotations` keep whoever drains nodes for their price from moving a pod. `off_pools` is the part of a pod's spec
    that keeps it off nodes which come and go.
    """

    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, str]]
    annotations: Mapping[str, str]
    off_pools: Spec

    @property
    def pod(self) -> dict[str, Any]:
        """The part of a pod's spec that has it run there."""
        return {"nodeSelector": dict(self.node_selector), "tolerations": [dict(one) for one in self.tolerations]}
