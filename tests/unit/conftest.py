"""What the unit tests share: the engine's stand-in, and the loop it runs on, anew for each test."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from engine_mocks import EngineMocks


@pytest.fixture(autouse=True)
def current_loop() -> Iterator[None]:
    """A current event loop, which Pulumi takes as it finds it, and which an `asyncio.run` in another test took away."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.fixture
def mocks() -> EngineMocks:
    """A fresh engine for one test."""
    return EngineMocks()
