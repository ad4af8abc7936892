"""What the hub and the teams' namespaces call each other by: namespaces, service accounts, labels, ports."""

from __future__ import annotations

HUB_NAMESPACE = "hub"
HUB_SERVICE_ACCOUNT = "hub"
HUB_PORT = 8081
"""Where notebooks reach the hub's API."""

NOTEBOOK_SERVICE_ACCOUNT = "notebook"
NOTEBOOK_PORT = 8888
"""Where hub and proxy reach a notebook."""

PULL_SECRET = "registry"  # noqa: S105 (a Secret's name)
"""The Secret with the registry's credentials in each team's namespace."""

TEAM_LABEL = "gpulab.dev/team"
NODE_POOLS_ANNOTATION = "gpulab.dev/node-pools"
"""On a team's namespace: the pools that its pods may run on, with commas between them."""
