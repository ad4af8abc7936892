"""The catalogue of dev, which the program writes and the hub reads; and a choice in it."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components.hub.catalogue import Catalogue, parse
from components.hub.choices import Choice, choices, chosen
from components.hub.people import group_of

FILE = Path(__file__).parents[1] / "data" / "catalogue.json"
NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)


def document() -> dict[str, Any]:
    """A copy, to change."""
    return copy.deepcopy(json.loads(FILE.read_text(encoding="utf-8")))


def dev() -> Catalogue:
    return parse(document())


def choice(slug: str, *roles: str, catalogue: Catalogue | None = None) -> Choice:
    """What somebody of these roles in the team gets by that slug."""
    team = slug.partition("_")[0]
    found = chosen(choices(catalogue or dev(), [group_of(team, role) for role in roles or ("data-scientist",)]), slug)
    assert found
    return found
