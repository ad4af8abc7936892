"""What the tests of reports share: a simulated account, and a fixed day."""

from __future__ import annotations

import os
from collections.abc import Iterator
from unittest import mock

import boto3
import pytest

from rehearsal.cloud import server
from reports import leftovers
from reports.account import Account
from tests.reports.account_lab import CREDENTIALS, Planting


@pytest.fixture(scope="module")
def simulated() -> Iterator[tuple[str, Account]]:
    """The server's URL, and a client of each service: both take long to make, and hold nothing."""
    with mock.patch.dict(os.environ, CREDENTIALS), server.running() as url:
        yield url, Account(boto3.Session(region_name="us-east-1"), url)


@pytest.fixture
def url(simulated: tuple[str, Account]) -> str:
    server.start_over()
    return simulated[0]


@pytest.fixture
def account(url: str, simulated: tuple[str, Account], monkeypatch: pytest.MonkeyPatch) -> Planting:
    """An empty account. No API server is behind a cluster in it."""
    monkeypatch.setattr(leftovers, "stuck_nodes", lambda *_: [])
    return Planting(simulated[1])


@pytest.fixture
def on_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """The day of which a comment speaks."""
    monkeypatch.setenv("GPULAB_TODAY", "2026-08-01")
