"""The snapshot controller and the EBS driver's snapshotter: a snapshot in EC2 for each VolumeSnapshot of the driver.

Both act only while the cluster has their addons. Modelled on external-snapshotter 8 and the driver's docs/tagging.md.
"""

from __future__ import annotations

import logging
from typing import Any

from botocore.exceptions import ClientError

from rehearsal.controllers.finalizers import with_finalizer, without_finalizer
from rehearsal.controllers.object_warnings import Warnings
from rehearsal.controllers.volumes import ADDON, CLAIMS, DRIVER, VOLUMES
from rehearsal.controllers.world import Object, World, place, place_of

SNAPSHOTS = "/apis/snapshot.storage.k8s.io/v1/volumesnapshots"
CONTENTS = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents"
CLASSES = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotclasses"

_API_VERSION = "snapshot.storage.k8s.io/v1"
_CONTROLLER_ADDON = "snapshot-controller"
_DEFAULT_CLASS = "snapshot.storage.kubernetes.io/is-default-class"
_FINALIZER = "snapshot.storage.kubernetes.io/volumesnapshot-bound-protection"
_NAME_TAG = "CSIVolumeSnapshotName"
_NOT_THERE = "InvalidSnapshot.NotFound"
_LOG = logging.getLogger("controllers.snapshots")


class CannotSnapshot(Exception):
    """The snapshot can't be taken; the message says why."""


class Snapshots:
    """Keeps EC2's snapshots in line with the VolumeSnapshots."""

    def __init__(self) -> None:
        self._warnings = Warnings("VolumeSnapshot", api_version=_API_VERSION)

    def reconcile(self, world: World) -> None:
        """Takes the snapshots that are asked for, and deletes those whose object goes."""
        snapshots = world.listed(SNAPSHOTS)
        if not snapshots:
            return
        for cluster in _clusters(world):
            classes = {one["metadata"]["name"]: one for one in world.listed(CLASSES)}
            for snapshot in snapshots:
                if "deletionTimestamp" in snapshot["metadata"]:
                    _release(world, snapshot)
                elif snapshot["spec"]["source"].get("volumeSnapshotContentName"):
                    _bind(world, snapshot)
                elif not snapshot.get("status", {}).get("readyToUse"):
                    try:
                        _take(world, snapshot, class_of(snapshot, classes), cluster)
                    except (CannotSnapshot, ClientError) as error:
                        self._warnings.report(world, snapshot, "SnapshotContentCreationFailed", str(error))


def class_of(snapshot: Object, classes: dict[str, Object]) -> Object:
    """The class that a snapshot names, else the default one. Raises CannotSnapshot."""
    name = snapshot["spec"].get("volumeSnapshotClassName")
    if name:
        if name not in classes:
            raise CannotSnapshot(f'failed to get snapshot class {name}: volumesnapshotclass "{name}" not found')
        return classes[name]
    defaults = [
        one
        for one in classes.values()
        if (one["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true" and one["driver"] == DRIVER
    ]
    if len(defaults) != 1:
        raise CannotSnapshot(f"{len(defaults)} default snapshot classes were found")
    return defaults[0]


def content_name(snapshot: Object) -> str:
    """The name of the VolumeSnapshotContent of a VolumeSnapshot."""
    return f"snapcontent-{snapshot['metadata']['uid']}"


def _clusters(world: World) -> list[str]:
    eks = world.aws.client("eks")
    return [
        cluster
        for cluster in world.aws.clusters()
        if {ADDON, _CONTROLLER_ADDON} <= set(eks.list_addons(clusterName=cluster)["addons"])
    ]


def _take(world: World, snapshot: Object, snapshot_class: Object, cluster: str) -> None:
    metadata = snapshot["metadata"]
    if snapshot_class["driver"] != DRIVER:
        return
    volume = _source(world, snapshot)
    ec2 = world.aws.client("ec2")
    # A pass that broke off may have taken it.
    named = [{"Name": f"tag:{_NAME_TAG}", "Values": [f"snapshot-{metadata['uid']}"]}]
    found = ec2.describe_snapshots(OwnerIds=["self"], Filters=named)["Snapshots"]
    if not found:
        tags = {
            _NAME_TAG: f"snapshot-{metadata['uid']}",
            f"kubernetes.io/cluster/{cluster}": "owned",
            f"{DRIVER}/cluster": "true",
        }
        given = [{"Key": key, "Value": value} for key, value in tags.items()]
        specification = {"ResourceType": "snapshot", "Tags": given}
        handle = volume["spec"]["csi"]["volumeHandle"]
        found = [ec2.create_snapshot(VolumeId=handle, TagSpecifications=[specification])]
        _LOG.info("took %s of %s", found[0]["SnapshotId"], handle)
    content = _content(snapshot, snapshot_class, found[0]["SnapshotId"])
    path = place(CONTENTS, content["metadata"]["name"])
    if world.kubernetes.get(path) is None:
        world.kubernetes.create(path, content)
    own = place_of(SNAPSHOTS, snapshot)
    with_finalizer(world, own, _FINALIZER)
    ready = {"readyToUse": True, "restoreSize": f"{found[0]['VolumeSize']}Gi"}
    bound = {**ready, "boundVolumeSnapshotContentName": content["metadata"]["name"]}
    world.kubernetes.patch(f"{own}/status", {"status": bound})


def _bind(world: World, snapshot: Object) -> None:
    """Binds a VolumeSnapshot to the content that somebody made for a snapshot that is there ("pre-provisioned")."""
    content = world.kubernetes.get(place(CONTENTS, snapshot["spec"]["source"]["volumeSnapshotContentName"]))
    own = {key: snapshot["metadata"][key] for key in ("name", "namespace")}
    if snapshot.get("status", {}).get("readyToUse") or content is None:
        return
    reference = content["spec"]["volumeSnapshotRef"]
    handle = content["spec"]["source"].get("snapshotHandle")
    if {key: reference.get(key) for key in own} != own or content["spec"]["driver"] != DRIVER or not handle:
        return
    (found,) = world.aws.client("ec2").describe_snapshots(SnapshotIds=[handle])["Snapshots"]
    bound = {"boundVolumeSnapshotContentName": content["metadata"]["name"]}
    ready = {"readyToUse": True, "restoreSize": f"{found['VolumeSize']}Gi"}
    path = place_of(SNAPSHOTS, snapshot)
    with_finalizer(world, path, _FINALIZER)
    world.kubernetes.patch(f"{path}/status", {"status": {**bound, **ready}})


def _source(world: World, snapshot: Object) -> Object:
    name = snapshot["spec"]["source"].get("persistentVolumeClaimName", "")
    claim = world.kubernetes.get(place(CLAIMS, name, snapshot["metadata"]["namespace"]))
    volume_name = claim["spec"].get("volumeName") if claim else None
    volume = world.kubernetes.get(place(VOLUMES, volume_name)) if volume_name else None
    if volume is None:
        raise CannotSnapshot(f"the claim {name} is not bound to a volume")
    if volume["spec"].get("csi", {}).get("driver") != DRIVER:
        raise CannotSnapshot(f"the volume of the claim {name} is not of the driver {DRIVER}")
    return volume


def _content(snapshot: Object, snapshot_class: Object, handle: str) -> dict[str, Any]:
    metadata = snapshot["metadata"]
    reference = {key: metadata[key] for key in ("name", "namespace", "uid")}
    return {
        "apiVersion": _API_VERSION,
        "kind": "VolumeSnapshotContent",
        "metadata": {"name": content_name(snapshot)},
        "spec": {
            "deletionPolicy": snapshot_class["deletionPolicy"],
            "driver": DRIVER,
            "source": {"snapshotHandle": handle},
            "volumeSnapshotClassName": snapshot_class["metadata"]["name"],
            "volumeSnapshotRef": {"apiVersion": _API_VERSION, "kind": "VolumeSnapshot", **reference},
        },
    }


def _release(world: World, snapshot: Object) -> None:
    """Deletes the snapshot in EC2 by the policy of its content, then lets the object go."""
    path = place(CONTENTS, snapshot["spec"]["source"].get("volumeSnapshotContentName") or content_name(snapshot))
    content = world.kubernetes.get(path)
    if content is not None and content["spec"]["deletionPolicy"] == "Delete":
        try:
            world.aws.client("ec2").delete_snapshot(SnapshotId=content["spec"]["source"]["snapshotHandle"])
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != _NOT_THERE:
                raise
        world.kubernetes.delete(path)
    without_finalizer(world, place_of(SNAPSHOTS, snapshot), _FINALIZER)
