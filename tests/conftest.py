"""Settings of all tests: how they are spread over workers, the random seed, and a cache for each worker."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import defaultdict
from collections.abc import Iterator

import hypothesis
import psutil
import pytest
from rich.console import Console

from rehearsal.machine.toolchain import Toolchain, cache_folder, ensure

SEED = "SEED"
# Fixtures of several modules that start something large.
SERVERS = ("cluster", "keycloak", "teams", "notebooks")
# A rehearsal's processes and the test's own; those of prod have the most.
WORKER_BYTES = 3 * 1024**3

# A slow machine is no failure: no test asserts a time.
hypothesis.settings.register_profile("gpulab", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("gpulab")


def pytest_configure(config: pytest.Config) -> None:
    """Chooses the seed, which the workers inherit, unless one is given."""
    config.addinivalue_line("markers", "seconds(number): about how long a group takes on 2 cores; the longest go first")
    config.addinivalue_line("markers", "node: needs a node that runs containers (the group `node`)")
    config.addinivalue_line("markers", "endurance: runs in `make test-all` only (CONTRIBUTING.md says what and why)")
    given = os.environ.get(SEED) or str(secrets.randbelow(1_000_000))
    if not given.isdecimal():
        raise pytest.UsageError(f"{SEED}={given}: give a whole number, as a run shows it at its start")
    os.environ[SEED] = given


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Two workers per core for `-n auto`, because rehearsals mostly wait; fewer if memory is short."""
    if config.option.numprocesses != "auto":
        return None
    by_memory = psutil.virtual_memory().total // WORKER_BYTES
    return max(1, min(2 * (psutil.cpu_count() or 1), by_memory))


def pytest_report_header() -> str:
    """Shown at the start of a run."""
    return f"{SEED}={os.environ[SEED]} (give it back to repeat what was chosen at random)"


@pytest.fixture(scope="session")
def seed() -> int:
    """The seed of everything random in a test."""
    return int(os.environ[SEED])


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts each module's tests into one group, which one worker runs, and the groups that take longest first.

    Tests that share a server are one group. A module whose parts can run side by side names its groups itself.
    """
    seconds: defaultdict[str, float] = defaultdict(float)
    for item in items:
        if not item.get_closest_marker("xdist_group"):
            fixtures = getattr(item, "fixturenames", ())
            server = next((name for name in SERVERS if name in fixtures), None)
            item.add_marker(pytest.mark.xdist_group(server or item.nodeid.partition("::")[0]))
        if _group(item) == "node":
            item.add_marker(pytest.mark.node)
        if marker := item.get_closest_marker("seconds"):
            seconds[_group(item)] = max(seconds[_group(item)], marker.args[0])
    items.sort(key=lambda item: -seconds[_group(item)])


@pytest.hookimpl(tryfirst=True)  # before fixtures
def pytest_runtest_setup() -> None:
    """Gives the thread an event loop, which Pulumi's outputs want: `asyncio.run` in a test before leaves none."""
    try:
        asyncio.get_event_loop()
    except RuntimeError:
        asyncio.set_event_loop(asyncio.new_event_loop())


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fails if xdist does not use the groups: otherwise each worker would silently start every server."""
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            assert item.nodeid.endswith(f"@{_group(item)}"), f"pytest-xdist did not put {item.nodeid} into its group"


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    assert marker
    return marker.args[0]


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Gives each worker its own cache, with the tools and images that exist: other runs may use this machine."""
    folder = tmp_path_factory.mktemp("cache")
    for shared in ("toolchain", "node"):
        made_before = cache_folder() / shared
        made_before.mkdir(parents=True, exist_ok=True)
        (folder / shared).symlink_to(made_before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPULAB_CACHE", str(folder))
        yield


@pytest.fixture(scope="session")
def toolchain(_own_cache: None) -> Toolchain:
    """The tools, found or made."""
    return ensure(Console(stderr=True))
