"""The second check of pods that do not start: which ones KWOK must process again, and when."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rehearsal.controllers import pod_sync
from rehearsal.controllers.pod_sync import SYNC_SECONDS, PodSync
from rehearsal.controllers.world import World


class Cluster:
    """Pods that are bound and pending, and which of them were changed."""

    def __init__(self) -> None:
        self.pods: list[dict[str, Any]] = []
        self.changed: list[str] = []

    def list(self, collection: str, **selectors: str) -> list[dict[str, Any]]:
        assert (collection, selectors) == ("/api/v1/pods", {"fieldSelector": "status.phase=Pending,spec.nodeName!="})
        return self.pods

    def patch(self, path: str, changes: dict[str, Any]) -> None:
        assert list(changes) == ["metadata"], "only what no controller looks at"
        self.changed.append(path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The time, to be set."""
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(pod_sync.time, "monotonic", lambda: now.seconds)
    return now


def test_a_pod_that_does_not_start_is_looked_at_again(clock: SimpleNamespace) -> None:
    cluster, controller = Cluster(), PodSync()
    world = World(kubernetes=cluster, aws=None, folder=Path(), zones=())  # type: ignore[arg-type]
    cluster.pods = [
        pod("stuck"),
        {**pod("leaving"), "metadata": {**pod("leaving")["metadata"], "deletionTimestamp": "x"}},
    ]
    controller.reconcile(world)
    clock.seconds += SYNC_SECONDS / 2
    cluster.pods.append(pod("new"))
    controller.reconcile(world)
    assert not cluster.changed, "it may be starting"

    clock.seconds += SYNC_SECONDS / 2
    controller.reconcile(world)
    assert cluster.changed == ["/api/v1/namespaces/default/pods/stuck"]
    controller.reconcile(world)
    assert len(cluster.changed) == 1, "once in a while is enough"


def test_a_pod_of_the_same_name_has_its_own_time(clock: SimpleNamespace) -> None:
    cluster, controller = Cluster(), PodSync()
    world = World(kubernetes=cluster, aws=None, folder=Path(), zones=())  # type: ignore[arg-type]
    cluster.pods = [pod("notebook", uid="first")]
    controller.reconcile(world)
    clock.seconds += SYNC_SECONDS
    cluster.pods = [pod("notebook", uid="second")]
    controller.reconcile(world)
    assert not cluster.changed


def pod(name: str, uid: str | None = None) -> dict[str, Any]:
    """A pod that has a node and has not started."""
    return {
        "metadata": {"name": name, "namespace": "default", "uid": uid or name},
        "spec": {"nodeName": "node"},
        "status": {"phase": "Pending"},
    }
