"""What the tests with real parts share: one control plane for all tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from background import background

from rehearsal.cloud.access import access_bindings
from rehearsal.machine import control_plane
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.toolchain import Toolchain


@pytest.fixture(scope="session")
def cluster(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running control plane; its users are the administrator and anonymous users."""
    folder = tmp_path_factory.mktemp("cluster")
    with background(folder / "logs") as processes:
        yield control_plane.start(
            folder,
            toolchain,
            processes,
            token_review_url="http://127.0.0.1:9/",
            bindings=access_bindings(),
        )
