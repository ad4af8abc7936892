"""Tests of nodes that run containers say so where none can run."""

from __future__ import annotations

import os

import pytest

from rehearsal.node import namespaces


@pytest.fixture(scope="session", autouse=True)
def _node_or_reason(request: pytest.FixtureRequest) -> None:
    """Skips what needs a node where none can run. CI as root is set up for nodes: there it is a failure."""
    if not any(item.get_closest_marker("node") for item in request.session.items):
        return
    try:
        namespaces.refuse_without()
    except namespaces.NoNamespaces as reason:
        if os.environ.get("CI") and os.geteuid() == 0:
            raise
        pytest.skip(f"no node: {reason}")
