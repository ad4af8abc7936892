"""The configuration of a hub without Keycloak: dev's catalogue, with another sign-in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hub_catalogue import document
from traitlets.config import Config

from components.hub.inside.config import configure
from components.hub.inside.people import ADMINISTRATORS

RESEARCH = "/research/data-scientist"
GITHUB = {"organizations": ["example"], "teams": ["other/readers"]}
MEMBERS = {RESEARCH: ["ada", "example/research"], "/vision/developer": ["grace"], ADMINISTRATORS: ["grace"]}


def configured(
    folder: Path,
    kind: str = "github",
    *,
    members: Mapping[str, list[str]] = MEMBERS,
    everybody: tuple[str, ...] = (),
    before: Config | None = None,
    **hub: Any,
) -> Config:
    """The hub's whole configuration; `before` is what others have set of it."""
    changed = document()
    changed["hub"] |= {"realmUrl": None, "realmUrlInside": None, "github": GITHUB if kind == "github" else None}
    changed["hub"]["signIn"] = {
        "kind": kind,
        "clientId": "of-the-app" if kind == "github" else None,
        "members": dict(members),
        "everybody": list(everybody),
    }
    changed["hub"] |= hub
    written = folder / "catalogue.json"
    written.write_text(json.dumps(changed), encoding="utf-8")
    found = before or Config()
    configure(found, written)
    return found
