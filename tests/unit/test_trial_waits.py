"""When the trial of nodes takes a node for gone."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.checks import trial_waits
from rehearsal.checks.checking import DoesNotHold
from rehearsal.checks.trial_waits import TrialWaits
from rehearsal.controllers.world import NODES, place

NODE, ID = "ip-10-40-0-6.ec2.internal", "aws:///us-east-1a/i-1"
CLAIM: dict[str, Any] = {
    "metadata": {"name": "gpu-1", "labels": {"gpulab.dev/pool": "gpu"}},
    "status": {"nodeName": NODE, "providerID": ID},
}


class Cluster:
    """One node under the name of the claim's; no events, and in EC2 no instance."""

    def __init__(self, provider_id: str) -> None:
        self._node = {"metadata": {"name": NODE}, "spec": {"providerID": provider_id}}

    def get(self, path: str) -> Any:
        return self._node if path == place(NODES, NODE) else None

    def list(self, *_: Any, **__: Any) -> list[Any]:
        return []

    def client(self, _: str) -> Any:
        return self

    def describe_instances(self, **_: Any) -> dict[str, Any]:
        return {"Reservations": []}


def waits(provider_id: str, monkeypatch: pytest.MonkeyPatch) -> TrialWaits:
    monkeypatch.setattr(trial_waits, "TAKEN_AWAY_SECONDS", 0)
    cluster: Any = Cluster(provider_id)
    return TrialWaits(cluster, cluster)


def test_a_nodes_name_that_another_instance_has_by_now_is_not_that_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """EC2 gives the address of an instance that went to the next one, and nodes are named by addresses."""
    waits("aws:///us-east-1a/i-2", monkeypatch).until_gone(CLAIM, "Empty")


def test_a_node_that_stays_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DoesNotHold, match=NODE):
        waits(ID, monkeypatch).until_gone(CLAIM, "Empty")
