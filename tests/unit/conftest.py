"""What the unit tests share: the engine's stand-in, anew for each test."""

from __future__ import annotations

import gc

import pytest
from engine_mocks import EngineMocks


def pytest_collection_finish() -> None:
    """Has the garbage collector pass over what all modules hold, Pulumi's SDKs above all: they stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def mocks() -> EngineMocks:
    """A fresh engine for one test."""
    return EngineMocks()
