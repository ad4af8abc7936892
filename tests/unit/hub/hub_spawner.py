"""A person's spawner at a hub, with an API server that a test gives it."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from jupyterhub.objects import Hub, Server
from traitlets.config import Config

from components.hub.inside.config import configure
from components.hub.inside.spawner import NotebookSpawner


def spawner_of(catalogue: dict[str, Any], folder: Path, api: Any, *groups: str) -> NotebookSpawner:
    """Ada's spawner, with these groups, at a hub with that catalogue; `api` is the API server."""
    file = folder / "catalogue.json"
    file.write_text(json.dumps(catalogue), encoding="utf-8")
    config = Config()
    configure(config, file)
    with patch("kubespawner.spawner.load_config"), patch("kubespawner.spawner.shared_client", lambda *_: api):
        return NotebookSpawner(
            user=SimpleNamespace(
                name="ada",
                id=1,
                url="/user/ada/",
                escaped_name="ada",
                groups=[SimpleNamespace(name=group) for group in groups],
                server=Server(),
                settings={},
            ),
            orm_spawner=SimpleNamespace(name="", server=None, user_options={}, state={}, started=None),
            hub=Hub(ip="hub", port=8081, base_url="/hub/"),
            config=config,
        )
