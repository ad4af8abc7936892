"""The deployed Helm releases, as far as controllers need to know them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from contracts.helm import record_in


@dataclass(frozen=True)
class DeployedRelease:
    """A deployed Helm release: its chart's name and the values that it was given."""

    chart: str
    values: Mapping[str, Any]


def deployed_release(secret: Mapping[str, Any]) -> DeployedRelease:
    """The release that Helm wrote down in `secret`."""
    record = record_in(secret)
    return DeployedRelease(chart=record["chart"]["metadata"]["name"], values=record.get("config") or {})
