"""What the tests with real parts share: the toolchain, and one control plane for all tests of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rich.console import Console

from rehearsal import control_plane
from rehearsal.aws.access import access_bindings
from rehearsal.control_plane import ControlPlane
from rehearsal.processes import Processes, end_marked
from rehearsal.toolchain import Toolchain, ensure


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """The tools, found or made."""
    return ensure(Console(stderr=True))


@pytest.fixture(scope="session")
def cluster(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A running control plane; its users are the administrator and whom nobody answers for."""
    folder = tmp_path_factory.mktemp("cluster")
    id = f"tests-{folder.name}-{folder.parent.name}"
    processes = Processes(id, folder / "logs")
    try:
        yield control_plane.start(
            folder,
            toolchain,
            processes,
            token_review_url="http://127.0.0.1:9/",
            bindings=access_bindings(),
        )
    finally:
        end_marked(id)
