"""What the unit tests share: a new stand-in of the engine for each test."""

from __future__ import annotations

import gc

import pytest
from engine_mocks import EngineMocks

# Pulumi's SDKs and graphs are millions of objects. With Python's own thresholds, of which the first is 700, the garbage
# collector takes a third of the time of the tests that deploy.
gc.set_threshold(50_000, 20, 20)


def pytest_collection_finish() -> None:
    """Makes the garbage collector ignore the modules' objects, which stay until the end."""
    gc.freeze()


@pytest.fixture
def mocks() -> EngineMocks:
    """A fresh engine for one test."""
    return EngineMocks()
