"""Homes per person on the real API server, with the real KubeSpawner: disks that the hub makes and finds again."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from karpenter_account import CLUSTER
from karpenter_lab import until
from kubernetes_asyncio.client.rest import ApiException
from notebook_lab import NotebookLab, Spawning, pod_of

from components.hub.inside.people import group_of
from components.hub.inside.spawner import Refused
from components.storage.csi_drivers import EBS_DRIVER
from rehearsal.controllers.volumes import ADDON as EBS_ADDON
from rehearsal.controllers.volumes import CLAIMS, CLASSES
from rehearsal.controllers.world import Kubernetes, Object, place
from rehearsal.providers.kubernetes.client import ApiError
from settings import Storage
from settings.storage import GP3_CLASS

pytestmark = pytest.mark.seconds(100)

PODS = "/api/v1/pods"


@pytest.fixture
def disks(notebooks: NotebookLab, tmp_path: Path) -> Iterator[NotebookLab]:
    """A team whose people have a home each: a disk of the EBS CSI driver's, as large as the settings say."""
    lab = notebooks.lab
    lab.client("eks").create_addon(clusterName=CLUSTER, addonName=EBS_ADDON)
    gp3 = {
        "metadata": {"name": GP3_CLASS},
        "provisioner": EBS_DRIVER,
        "parameters": {"type": "gp3"},
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    lab.kubernetes.create(place(CLASSES, GP3_CLASS), gp3)
    research = lab.settings.teams["research"]
    quota = research.quota.model_copy(update={"storage": 40})
    storage = Storage.model_validate({"homes": "per-person", "homeSize": 20, "retain": False})
    teams = {"disks": research.model_copy(update={"quota": quota})}
    changed = dataclasses.replace(lab.settings, storage=storage, teams=teams)
    made = NotebookLab(lab, changed, notebooks.kubeconfig, tmp_path)
    hub = Kubernetes(notebooks.kubeconfig)

    def hub_may_look() -> bool:
        with contextlib.suppress(ApiError):
            hub.request("GET", "/api/v1/namespaces/team-disks/resourcequotas")
            return True
        return False

    # The authorizer hears of a binding a moment later.
    until(hub_may_look, "the hub may look into the team's namespace")
    yield made
    for one in made.pods("team-disks"):
        lab.kubernetes.delete(place(PODS, one["metadata"]["name"], "team-disks"))


def test_homes_per_person_are_disks_that_the_hub_makes_and_finds_again(disks: NotebookLab) -> None:
    group = [group_of("disks", "developer")]

    async def start(spawning: Spawning) -> list[Object]:
        claims = []
        for person in ("ada@example.com", "grace@example.com", "ada@example.com"):
            spawner = await spawning.start(person, group, "disks_python")
            spec = pod_of(disks, spawner)["spec"]
            (name,) = [
                volume["persistentVolumeClaim"]["claimName"]
                for volume in spec["volumes"]
                for mount in spec["containers"][0]["volumeMounts"]
                if mount["mountPath"] == "/home/jovyan" and mount["name"] == volume["name"]
            ]
            claim = disks.lab.kubernetes.get(place(CLAIMS, name, "team-disks"))
            assert claim
            claims.append(claim)
            await spawning.stop(spawner)
            with pytest.raises(ApiException, match="is forbidden"):
                await spawner.api.delete_namespaced_persistent_volume_claim(name, "team-disks")
        with pytest.raises(Refused, match="exceeded quota"):
            await spawning.start("alan@example.com", group, "disks_python")
        return claims

    first, another, again = disks.run(start)
    for claim in (first, another):
        assert claim["status"]["phase"] == "Bound"
        assert claim["spec"]["storageClassName"] == GP3_CLASS
        assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]
        assert claim["status"]["capacity"]["storage"] == "20Gi"
    assert again["metadata"]["uid"] == first["metadata"]["uid"] != another["metadata"]["uid"]
