"""One stack with two teams for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from labs import lab
from teams_lab import RESEARCH, STACK_FILE, VISION

from rehearsal.checks.pods import until
from rehearsal.controllers.world import Kubernetes
from rehearsal.machine.toolchain import Toolchain
from rehearsal.run import Options, Rehearsal

QUOTAS = "/api/v1/resourcequotas"


@pytest.fixture(scope="package")
def teams(toolchain: Toolchain) -> Iterator[Rehearsal]:
    """The platform with two teams, up."""
    with lab(Options(stack_file=STACK_FILE, stack="teams")) as rehearsal:
        rehearsal.up()
        yield rehearsal


@pytest.fixture
def api(teams: Rehearsal) -> Iterator[Kubernetes]:
    """The API server, called as the cluster's administrator; pods of a test go with it."""
    kubernetes = Kubernetes(teams.plane.kubeconfig)
    yield kubernetes
    for namespace in (RESEARCH, VISION):
        kubernetes.request("DELETE", f"/api/v1/namespaces/{namespace}/pods?gracePeriodSeconds=0")
    # What is gone counts for a moment longer.
    until(lambda: not pods_counted(kubernetes), "the quotas count no pod", seconds=60)


def pods_counted(kubernetes: Kubernetes) -> int:
    quotas = (one for one in kubernetes.list(QUOTAS) if one["metadata"]["namespace"] in (RESEARCH, VISION))
    return sum(int(one.get("status", {}).get("used", {}).get("pods", 0)) for one in quotas)
