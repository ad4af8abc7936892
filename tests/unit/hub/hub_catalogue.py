"""The catalogue of dev, as the program writes it and the hub reads it, and a choice in it."""

from __future__ import annotations

import datetime
import json
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import settings
from components.hub.catalogue_from_settings import catalogue, catalogue_text
from components.hub.inside.catalogue import Catalogue, parse
from components.hub.inside.choices import Choice, choices, chosen
from components.hub.inside.people import group_of

NOON = datetime.datetime(2026, 9, 1, 12, tzinfo=datetime.UTC)

_FOLDER = TemporaryDirectory()


@cache
def stack() -> settings.EksSettings:
    return settings.on_eks(settings.check_stack_file(Path(__file__).parents[3] / "Pulumi.dev.yaml", "dev", NOON.date()))


@cache
def file() -> Path:
    found = Path(_FOLDER.name) / "catalogue.json"
    found.write_text(catalogue_text(catalogue(stack())), encoding="utf-8")
    return found


def document() -> dict[str, Any]:
    """A copy, to change."""
    return json.loads(file().read_text(encoding="utf-8"))


def dev() -> Catalogue:
    return parse(document())


def choice(slug: str, *roles: str, catalogue: Catalogue | None = None) -> Choice:
    """The choice of a person with these roles in the team, by its slug."""
    team = slug.partition("_")[0]
    found = chosen(choices(catalogue or dev(), [group_of(team, role) for role in roles or ("data-scientist",)]), slug)
    assert found
    return found
