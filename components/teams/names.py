"""Names that the hub and the teams' namespaces share: namespaces, service accounts, labels, ports."""

from __future__ import annotations

HUB_NAMESPACE = "hub"
HUB_SERVICE_ACCOUNT = "hub"
HUB_PORT = 8081
"""The port at which notebooks reach the hub's API."""

NOTEBOOK_SERVICE_ACCOUNT = "notebook"
NOTEBOOK_PORT = 8888
"""The port at which hub and proxy reach a notebook."""

PULL_SECRET = "registry"  # noqa: S105 (a Secret's name)
"""The Secret with the registry's credentials in each team's namespace."""

TEAM_LABEL = "gpulab.dev/team"
NODE_POOLS_ANNOTATION = "gpulab.dev/node-pools"
"""A team's namespace lists in it the pools on which its pods may run, separated by commas."""
