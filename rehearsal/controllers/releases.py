"""What Helm writes down of a release, in a Secret of the cluster."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Release:
    """A deployed Helm release: its chart's name and the values that it was given."""

    chart: str
    values: Mapping[str, Any]


def read_release(secret: Mapping[str, Any]) -> Release:
    """The release that Helm wrote down in `secret`."""
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    record = json.loads(gzip.decompress(packed))
    return Release(chart=record["chart"]["metadata"]["name"], values=record.get("config") or {})
