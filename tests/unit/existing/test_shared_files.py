"""Shared files on a cluster that exists: one claim holds a directory, and every team's volume leads there."""

from __future__ import annotations

from typing import Any

import pytest

from components.storage.claims import NAMESPACE, SharedFiles, twin_spec
from components.storage.volumes import TeamVolume
from settings.site_storage import SiteStorage

CLAIM, VOLUME = "kubernetes:core/v1:PersistentVolumeClaim", "kubernetes:core/v1:PersistentVolume"
STORAGE = {
    "homes": "shared",
    "homeSize": 50,
    "sharedClass": "nfs",
    "volumes": {
        "datasets": {"mountPath": "/datasets", "size": 200, "storageClass": "seaweedfs"},
        "shared": {"mountPath": "/shared", "scope": "team"},
    },
}


def nfs(**changes: Any) -> dict[str, Any]:
    csi = {"driver": "nfs.csi.k8s.io", "volumeHandle": "srv#share#pvc-1##", "volumeAttributes": {"server": "srv"}}
    return {"csi": {**csi, **changes}, "mountOptions": ["nfsvers=4.1"]}


def deploy(mocks: Any, **changes: Any) -> SharedFiles:
    mocks.outputs[CLAIM] = lambda resource: {"spec": {**resource.inputs["spec"], "volumeName": f"pvc-{resource.name}"}}
    mocks.outputs[VOLUME] = lambda resource: {"spec": {**nfs(), **(resource.inputs.get("spec") or {})}}
    storage = SiteStorage.model_validate({**STORAGE, **changes})
    return mocks.deploy(lambda: SharedFiles("lab", storage, ["research", "vision"]))


def test_each_directory_has_one_claim_of_its_class_and_size(mocks: Any) -> None:
    deploy(mocks)
    made = {one.inputs["metadata"]["name"]: one.inputs["spec"] for one in mocks.all(CLAIM)}
    assert sorted(made) == [
        "platform-datasets",
        "teams-research-homes",
        "teams-research-shared",
        "teams-vision-homes",
        "teams-vision-shared",
    ]
    assert made["platform-datasets"]["storageClassName"] == "seaweedfs"
    assert made["platform-datasets"]["resources"]["requests"]["storage"] == "200Gi"
    assert made["teams-research-homes"]["storageClassName"] == "nfs"
    assert made["teams-research-homes"]["resources"]["requests"]["storage"] == "50Gi"
    assert all(spec["accessModes"] == ["ReadWriteMany"] for spec in made.values())


def test_two_teams_mount_the_same_files_by_volumes_of_their_own(mocks: Any) -> None:
    volume = TeamVolume(name="datasets", directory="/platform/datasets", mount_path="/datasets", read_only=True)

    def program() -> None:
        mocks.outputs[CLAIM] = lambda resource: {
            "spec": {**resource.inputs["spec"], "volumeName": f"pvc-{resource.name}"}
        }
        mocks.outputs[VOLUME] = lambda resource: {"spec": {**nfs(), **(resource.inputs.get("spec") or {})}}
        files = SharedFiles("lab", SiteStorage.model_validate(STORAGE), ["research", "vision"]).files
        for team in ("team-research", "team-vision"):
            files.make(f"lab-{team}", team, volume, None)  # type: ignore[arg-type]

    mocks.deploy(program)
    made = [one.inputs for one in mocks.all(VOLUME) if one.inputs.get("metadata")]
    assert {one["metadata"]["name"] for one in made} == {"team-research-datasets", "team-vision-datasets"}
    handles = {one["spec"]["csi"]["volumeHandle"] for one in made}
    assert len(handles) == 2
    assert all(one["spec"]["csi"]["volumeAttributes"] == {"server": "srv"} for one in made)
    assert all(one["spec"]["csi"]["readOnly"] and one["spec"]["mountOptions"] == ["nfsvers=4.1", "ro"] for one in made)
    assert all(one["spec"]["persistentVolumeReclaimPolicy"] == "Retain" for one in made)


def test_a_driver_that_knows_files_by_the_handle_keeps_it() -> None:
    volume = TeamVolume(name="models", directory="/platform/models", mount_path="/models")
    source = {"csi": {"driver": "rook-ceph.cephfs.csi.ceph.com", "volume_handle": "0001-0009"}}
    assert twin_spec(source, "team-a", volume)["csi"]["volume_handle"] == "0001-0009"
    assert twin_spec({"nfs": {"server": "srv", "path": "/x"}}, "team-a", volume)["nfs"]["path"] == "/x"
    with pytest.raises(ValueError, match=r"gpulab:storage\.sharedClass"):
        twin_spec({"host_path": {"path": "/opt"}}, "team-a", volume)


@pytest.mark.parametrize("handle", ["/buckets/pvc-1", "pvc-1"])
def test_volumes_of_seaweedfs_lead_to_the_folder_of_the_claim(handle: str) -> None:
    """Its driver takes a handle that is a path for the folder, and makes a folder that is not there."""
    volume = TeamVolume(name="models", directory="/platform/models", mount_path="/models")
    source = {"csi": {"driver": "seaweedfs-csi-driver", "volume_handle": handle, "volume_attributes": {"ttl": "1d"}}}
    made = twin_spec(source, "team-a", volume)["csi"]
    assert made["volume_handle"] == "pvc-1-team-a-models"
    assert made["volume_attributes"] == {"ttl": "1d", "path": "/buckets/pvc-1"}


def test_only_the_end_of_the_namespace_deletes_what_people_have(mocks: Any) -> None:
    """Not a team that is taken out of the stack file, nor another class: that would replace the claim."""
    deploy(mocks)
    assert all(one.retain_on_delete for one in mocks.all(CLAIM))
    assert all(one.ignore_changes == ["spec.storageClassName"] for one in mocks.all(CLAIM))
    assert not mocks.one("kubernetes:core/v1:Namespace").retain_on_delete


def test_retain_keeps_the_namespace_too(mocks: Any) -> None:
    made = deploy(mocks, retain=True)
    assert mocks.one("kubernetes:core/v1:Namespace").retain_on_delete
    assert NAMESPACE in mocks.value(made.retained["files"])
