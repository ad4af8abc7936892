"""What the unit tests share: the engine's stand-in, anew for each test."""

from __future__ import annotations

import gc
import sys

import pytest
from engine_mocks import EngineMocks

# Where jsonschema finds it, it builds a grammar of formats, which no test asks for: two seconds.
sys.modules["rfc3987_syntax"] = None  # pyright: ignore[reportArgumentType]

# Pulumi's SDKs and graphs are millions of objects. With Python's own thresholds, of which the first is 700, the garbage
# collector takes a third of the time of the tests that deploy.
gc.set_threshold(50_000, 20, 20)


def pytest_collection_finish() -> None:
    """Has the garbage collector pass over what the modules hold: it stays to the end."""
    gc.freeze()


@pytest.fixture
def mocks() -> EngineMocks:
    """A fresh engine for one test."""
    return EngineMocks()
