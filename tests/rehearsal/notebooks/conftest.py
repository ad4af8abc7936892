"""dev's pools and teams with the real Karpenter, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from karpenter_lab import running_lab, until
from notebook_lab import NotebookLab, hub_kubeconfig, make_hub

from rehearsal.controllers.world import place
from rehearsal.machine.toolchain import Toolchain

PODS = "/api/v1/pods"


@pytest.fixture(scope="package")
def notebooks(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NotebookLab]:
    """dev's pools and teams."""
    folder = tmp_path_factory.mktemp("notebooks")
    with running_lab(toolchain, folder) as lab:
        for pool in lab.settings.node_pools:
            lab.make_pool(pool)
        make_hub(lab.kubernetes)
        account = hub_kubeconfig(lab.kubernetes, folder / "kubernetes" / "kubeconfig", folder)
        made = NotebookLab(lab, lab.settings, account, folder)
        for pool in lab.settings.node_pools:
            until(lambda pool=pool: lab.is_ready(pool), f"{pool} is ready")
        yield made


@pytest.fixture(autouse=True)
def _nothing_left(notebooks: NotebookLab) -> Iterator[None]:
    yield
    for team in notebooks.catalogue.teams.values():
        for one in notebooks.pods(team.namespace):
            notebooks.lab.kubernetes.delete(place(PODS, one["metadata"]["name"], team.namespace))
    notebooks.lab.end_nodes()
