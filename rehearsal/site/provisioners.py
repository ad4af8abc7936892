"""The provisioners of a site's storage classes: local-path, SeaweedFS, NFS. Each makes a volume for each claim.

What a class cannot do it refuses in an event, as the real ones do: a folder of one node is no volume for several.
On nodes that run containers each volume is a folder, which all nodes have at the same path: `FOLDER`. What nodes share
they mount by a CSI driver (`rehearsal.node.csi`), and all else where it is.
"""

from __future__ import annotations

import logging
from pathlib import Path

from components.storage.site_storage import NFS_DRIVER, SEAWEEDFS_DRIVER
from contracts import clusters
from rehearsal.controllers.object_warnings import Warnings
from rehearsal.controllers.volumes import CLAIMS, CLASSES, VOLUMES, is_pending
from rehearsal.controllers.world import Cluster, Object, place_of

_LOG = logging.getLogger("controllers.provisioners")
_NO_PROVISIONER = "kubernetes.io/no-provisioner"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_HOSTNAME = "kubernetes.io/hostname"


FOLDER = Path("/srv/volumes")
"""Where nodes that run containers have the folder of volumes."""


class Provisioners:
    """Keeps volumes in line with claims. `folder` is what nodes have as `FOLDER`; None where no pod mounts anything."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._warnings = Warnings("PersistentVolumeClaim")

    def reconcile(self, cluster: Cluster) -> None:
        """Makes the volumes that claims wait for, and deletes those whose claim has gone."""
        for volume in cluster.listed(VOLUMES):
            if _is_to_go(volume):
                cluster.kubernetes.delete(place_of(VOLUMES, volume))
        pending = [claim for claim in cluster.listed(CLAIMS) if is_pending(claim)]
        if not pending:
            return
        classes = {one["metadata"]["name"]: one for one in cluster.listed(CLASSES)}
        made = {volume["metadata"]["name"] for volume in cluster.listed(VOLUMES)}
        for claim in pending:
            storage_class = classes.get(claim["spec"].get("storageClassName") or "")
            if storage_class is None or storage_class["provisioner"] == _NO_PROVISIONER:
                continue
            if problem := _problem(claim, storage_class):
                self._warnings.report(cluster, claim, "ProvisioningFailed", problem)
            elif (volume := self._volume(claim, storage_class)) and volume["metadata"]["name"] not in made:
                cluster.kubernetes.create(place_of(VOLUMES, volume), volume)
                _LOG.info("made %s for %s", volume["metadata"]["name"], claim["metadata"]["name"])

    def _volume(self, claim: Object, storage_class: Object) -> Object | None:
        """The volume, bound to its claim; None while the scheduler has not chosen the claim's node."""
        volume = volume_of(claim, storage_class)
        if volume and self._folder:
            name = volume["metadata"]["name"]
            make_folder(self._folder / name)
            if "csi" not in volume["spec"]:
                volume["spec"]["hostPath"] = {"path": str(FOLDER / name), "type": "Directory"}
        return volume


def make_folder(path: Path) -> None:
    """Makes the folder of a volume, unless it is there."""
    path.mkdir(exist_ok=True)
    # Pods run as any user, and nobody changes the owner of a folder of the node.
    path.chmod(0o777)


def _is_to_go(volume: Object) -> bool:
    """Whether a provisioner deletes a volume: one that it made, whose claim has gone, with the policy Delete."""
    provisioned = _PROVISIONED_BY in (volume["metadata"].get("annotations") or {})
    deletes = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    return provisioned and deletes and volume.get("status", {}).get("phase") == "Released"


def _problem(claim: Object, storage_class: Object) -> str:
    """Why the class has no volume for the claim; empty where it has."""
    shared = [mode for mode in claim["spec"].get("accessModes") or [] if mode.endswith("Many")]
    if shared and clusters.shares(storage_class["provisioner"]) is False:
        return f"{storage_class['provisioner']} supports ReadWriteOnce, not {', '.join(shared)}"
    return ""


def volume_of(claim: Object, storage_class: Object) -> Object | None:
    """The volume, bound to its claim; None while the scheduler has not chosen the claim's node."""
    metadata, provisioner = claim["metadata"], storage_class["provisioner"]
    node = (metadata.get("annotations") or {}).get(_SELECTED_NODE)
    if storage_class.get("volumeBindingMode") == "WaitForFirstConsumer" and not node:
        return None
    name = f"pvc-{metadata['uid']}"
    spec = {
        "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        "accessModes": claim["spec"]["accessModes"],
        "storageClassName": storage_class["metadata"]["name"],
        "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
        "mountOptions": storage_class.get("mountOptions") or [],
        "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        | {key: metadata[key] for key in ("namespace", "name", "uid")},
    }
    if clusters.shares(provisioner):
        spec["csi"] = _source(storage_class, name)
    else:
        spec["hostPath"] = {"path": f"/var/lib/volumes/{name}", "type": "DirectoryOrCreate"}
        if node:
            here = {"key": _HOSTNAME, "operator": "In", "values": [node]}
            spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}}
    annotations = {_PROVISIONED_BY: provisioner}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": annotations},
        "spec": spec,
    }


def _source(storage_class: Object, name: str) -> Object:
    """Where a driver finds the volume: what its controller answers (CreateVolume in the driver's controllerserver.go).

    NFS finds it by the attributes alone, SeaweedFS by the handle alone.
    """
    driver, parameters = storage_class["provisioner"], storage_class.get("parameters") or {}
    handle, attributes = name, {}
    if driver == NFS_DRIVER:
        handle = f"{parameters['server']}#{parameters['share'].strip('/')}#{name}##"
        attributes = {**parameters, "subdir": name}
    elif driver == SEAWEEDFS_DRIVER:
        handle, attributes = f"/buckets/{name}", {**parameters, "parentDir": "/buckets", "volumeName": name}
    return {"driver": driver, "volumeHandle": handle, "volumeAttributes": attributes}
