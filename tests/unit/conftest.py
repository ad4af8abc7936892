"""What the unit tests share: the engine's stand-in, anew for each test."""

from __future__ import annotations

import pytest
from engine_mocks import EngineMocks


@pytest.fixture
def mocks() -> EngineMocks:
    """A fresh engine for one test."""
    return EngineMocks()
