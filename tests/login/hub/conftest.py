"""dev's hub, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hub_lab import IDLE_SECONDS, HubLab, hub_of
from keycloak_lab import KeycloakLab, settings_of

# Here somebody has to be in time: a page is opened between the start and the end.
LIFETIME_SECONDS = 60


@pytest.fixture(scope="package")
def hub(keycloak: KeycloakLab, teams_of_dev: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubLab]:
    """dev's hub, which asks Keycloak for people's groups at each request, and looks after notebooks every second."""
    given: Any = {
        "hub": {"cullEverySeconds": 1},
        "python": {"idle": IDLE_SECONDS},
        "agents": {"lifetime": LIFETIME_SECONDS},
    }
    folder = tmp_path_factory.mktemp("hub")
    with hub_of(settings_of("dev"), folder, keycloak=keycloak, administrators=teams_of_dev, given=given) as running:
        yield running
