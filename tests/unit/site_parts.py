"""What components of a site need in tests: settings as a stack file has them, published services, and a placement."""

from __future__ import annotations

import datetime
import json
from typing import Any

import settings
from components.ground.placement import Placement
from components.ingress.published_service import PublishedService

PLACEMENT = Placement(node_selector={"role": "cpu"}, tolerations=[], annotations={}, off_pools={})
TODAY = datetime.date(2026, 6, 1)

HUB = PublishedService(
    name="platform",
    host="platform.lab.example.com",
    priority=200,
    namespace="hub",
    service="proxy-public",
    port=80,
    target_port=8000,
)
SIGN_IN = PublishedService(
    name="auth",
    host="auth.lab.example.com",
    priority=100,
    namespace="identity",
    service="keycloak-http",
    port=80,
    target_port=8080,
    paths=["/realms/gpulab/*", "/resources/*"],
)


def site(**sections: Any) -> settings.ExistingSettings:
    """The settings of a site with these sections."""
    given = {
        "gpulab:owner": "ml@example.com",
        "gpulab:costCenter": "lab",
        "gpulab:lifecycle": {"kind": "lab", "expires": "2099-12-31"},
        "gpulab:ground": {"kind": "existing", "context": "lab", "distribution": "k3s"},
        "gpulab:nodePools": {"gpu": {"selector": {"role": "gpu"}, "gpus": {"count": 1}}},
        "gpulab:storage": {"homes": "per-person", "homeSize": 20},
        **{f"gpulab:{name}": section for name, section in sections.items()},
    }
    config = {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
    found = settings.load(config, stack="lab", today=TODAY)
    assert isinstance(found, settings.ExistingSettings)
    return found


def no_secret(*_: Any) -> Any:
    """A reader of secrets where there are none to read."""
    raise AssertionError("there is no secret to read")
