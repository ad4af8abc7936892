"""The EBS CSI driver: a volume in EC2 for each claim of its storage classes, for as long as the claim is wanted.

It acts only while the cluster has the addon. So claims that are deleted after it leave their volumes, as on AWS.
Modelled on external-provisioner 5 and the driver's docs/tagging.md and docs/parameters.md
(https://github.com/kubernetes-sigs/aws-ebs-csi-driver).
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from botocore.exceptions import ClientError

from contracts.quantities import amount
from rehearsal.controllers.finalizers import without_finalizer
from rehearsal.controllers.object_warnings import Warnings
from rehearsal.controllers.volume_keys import key_problem
from rehearsal.controllers.world import NODES, Object, World, place, place_of

ADDON = "aws-ebs-csi-driver"
DRIVER = "ebs.csi.aws.com"
SNAPSHOT = "VolumeSnapshot"
CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"

_LOG = logging.getLogger("controllers.volumes")
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_FINALIZER = "external-provisioner.volume.kubernetes.io/finalizer"
_ZONE = "topology.kubernetes.io/zone"
_FIRST_CONSUMER = "WaitForFirstConsumer"
_NAME_TAG = "CSIVolumeName"
_DEFAULT_TYPE, _DEFAULT_FS = "gp3", "ext4"
_FS_PARAMETER = "csi.storage.k8s.io/fstype"
_TAG_PARAMETER = re.compile(r"tagSpecification_\d+")
_ONE_NODE_MODES = {"ReadWriteOnce", "ReadWriteOncePod"}
_GIB = 1024**3
_NOT_THERE = "InvalidVolume.NotFound"


class CannotProvision(Exception):
    """The driver would refuse the claim; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Provision:
    """A volume to be made for a claim. `size` is in GiB."""

    claim: Object
    storage_class: Object
    zone: str
    size: int
    snapshot: str | None = None
    """The snapshot in EC2 that it begins with."""

    @property
    def name(self) -> str:
        """The name of the PersistentVolume."""
        return f"pvc-{self.claim['metadata']['uid']}"

    @property
    def parameters(self) -> Mapping[str, str]:
        """The parameters of the class."""
        return self.storage_class.get("parameters") or {}


class Volumes:
    """Keeps EC2's volumes in line with the claims."""

    def __init__(self) -> None:
        self._warnings = Warnings("PersistentVolumeClaim")

    def reconcile(self, world: World) -> None:
        """Makes the volumes that claims wait for, and deletes those whose claim has gone."""
        claims, volumes = world.listed(CLAIMS), world.listed(VOLUMES)
        pending = [claim for claim in claims if is_pending(claim)]
        released = [volume for volume in volumes if is_to_go(volume)]
        kept = [volume for volume in volumes if is_kept(volume)]
        if not pending and not released and not kept:
            return
        for addon in addons(world):
            for volume in released:
                _delete(world, volume)
            for volume in kept:
                without_finalizer(world, place_of(VOLUMES, volume), _FINALIZER)
            zones = {node["metadata"]["name"]: _zone_of(node) for node in world.listed(NODES)}
            classes = {one["metadata"]["name"]: one for one in world.listed(CLASSES)}
            made = {volume["metadata"]["name"] for volume in volumes}
            for claim in pending:
                try:
                    provision = plan(claim, classes, zones, world.zones)
                    if provision and provision.name not in made:
                        _make(world, of_snapshot(world, provision), addon)
                except (CannotProvision, ClientError) as error:
                    self._warnings.report(world, claim, "ProvisioningFailed", str(error))


def is_pending(claim: Object) -> bool:
    """Whether a claim waits for a volume of its own."""
    spec, metadata = claim["spec"], claim["metadata"]
    source = spec.get("dataSource") or {"kind": SNAPSHOT}
    wants_new = not spec.get("volumeName") and not spec.get("selector") and source["kind"] == SNAPSHOT
    return wants_new and "deletionTimestamp" not in metadata and claim.get("status", {}).get("phase") == "Pending"


def is_to_go(volume: Object) -> bool:
    """Whether the driver deletes a PersistentVolume: one of its own, whose claim has gone, with the policy Delete."""
    deletes = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    released = volume.get("status", {}).get("phase") == "Released"
    return is_own(volume) and deletes and released


def is_kept(volume: Object) -> bool:
    """Whether the driver lets go of a PersistentVolume that it held until its volume is deleted: it never is.

    So it is once somebody changes the policy to Retain (KEP-2644, "Honor PersistentVolume Reclaim Policy").
    """
    deletes = volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    return is_own(volume) and not deletes and _FINALIZER in volume["metadata"].get("finalizers", [])


def is_own(volume: Object) -> bool:
    """Whether a PersistentVolume is one that the driver has made."""
    return (volume["metadata"].get("annotations") or {}).get(_PROVISIONED_BY) == DRIVER


def plan(
    claim: Object, classes: Mapping[str, Object], zone_of_node: Mapping[str, str], zones: Iterable[str]
) -> Provision | None:
    """The volume for a pending claim; None while there is nothing to do about it. Raises CannotProvision."""
    storage_class = classes.get(claim["spec"].get("storageClassName") or "")
    if storage_class is None or storage_class["provisioner"] != DRIVER:
        return None
    allowed = _allowed_zones(storage_class)
    if storage_class.get("volumeBindingMode") == _FIRST_CONSUMER:
        # The scheduler writes it once it has found a node on which the pod could run.
        node = (claim["metadata"].get("annotations") or {}).get(_SELECTED_NODE)
        if not node or node not in zone_of_node:
            return None
        zone = zone_of_node[node]
    else:
        zone = min(allowed or zones)
    if allowed and zone not in allowed:
        raise CannotProvision(f"the zone {zone} is not among the class's allowedTopologies")
    modes = set(claim["spec"].get("accessModes") or [])
    if not modes <= _ONE_NODE_MODES and claim["spec"].get("volumeMode") != "Block":
        raise CannotProvision(f"Volume capabilities {', '.join(sorted(modes))} not supported: EBS is for one node")
    return Provision(claim=claim, storage_class=storage_class, zone=zone, size=size_of(claim))


def size_of(claim: Object) -> int:
    """What a claim asks for, in whole GiB, rounded up."""
    return max(1, math.ceil(amount(str(claim["spec"]["resources"]["requests"]["storage"])) / _GIB))


def of_snapshot(world: World, provision: Provision) -> Provision:
    """The provision with the snapshot that its claim names, if it names one. Raises CannotProvision."""
    source = provision.claim["spec"].get("dataSource")
    if not source:
        return provision
    name, namespace = source["name"], provision.claim["metadata"]["namespace"]
    root = "/apis/snapshot.storage.k8s.io/v1"
    snapshot = world.kubernetes.get(place(f"{root}/volumesnapshots", name, namespace))
    status = snapshot.get("status", {}) if snapshot else {}
    if not status.get("readyToUse"):
        raise CannotProvision(f"snapshot {name} is not ready to use")
    least = math.ceil(amount(status["restoreSize"]) / _GIB)
    if provision.size < least:
        raise CannotProvision(
            f"requested volume size {provision.size}Gi is less than the size {least}Gi of the snapshot"
        )
    content = world.kubernetes.get(place(f"{root}/volumesnapshotcontents", status["boundVolumeSnapshotContentName"]))
    if content is None:
        raise CannotProvision(f"the content of snapshot {name} is gone")
    return replace(provision, snapshot=content["spec"]["source"]["snapshotHandle"])


def tags(provision: Provision, cluster: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """The tags that the driver gives a volume; `settings` is the addon's configuration."""
    metadata = provision.claim["metadata"]
    own = {
        "Name": f"{cluster}-dynamic-{provision.name}",
        "KubernetesCluster": cluster,
        f"kubernetes.io/cluster/{cluster}": "owned",
        f"{DRIVER}/cluster": "true",
        _NAME_TAG: provision.name,
        "kubernetes.io/created-for/pvc/name": metadata["name"],
        "kubernetes.io/created-for/pvc/namespace": metadata["namespace"],
        "kubernetes.io/created-for/pv/name": provision.name,
    }
    names = {"PVCName": metadata["name"], "PVCNamespace": metadata["namespace"], "PVName": provision.name}
    specified = (value for key, value in provision.parameters.items() if _TAG_PARAMETER.fullmatch(key))
    of_class = dict(_interpolated(text, names).split("=", 1) for text in specified)
    extra = settings.get("controller", {}).get("extraVolumeTags") or {}
    return {**{key: str(value) for key, value in extra.items()}, **of_class, **own}


def volume_request(provision: Provision) -> dict[str, Any]:
    """The arguments of EC2's CreateVolume, without the tags."""
    parameters = provision.parameters
    request: dict[str, Any] = {
        "AvailabilityZone": provision.zone,
        "Size": provision.size,
        "VolumeType": parameters.get("type", _DEFAULT_TYPE),
        "Encrypted": parameters.get("encrypted", "false").lower() == "true",
    }
    if key := parameters.get("kmsKeyId"):
        request["KmsKeyId"] = key
    if provision.snapshot:
        request["SnapshotId"] = provision.snapshot
    numbers = {"iops": "Iops", "throughput": "Throughput"}
    return request | {name: int(parameters[key]) for key, name in numbers.items() if key in parameters}


def persistent_volume(provision: Provision, volume_id: str) -> Object:
    """The PersistentVolume, bound to its claim and to its zone."""
    claim, storage_class = provision.claim, provision.storage_class
    zone = {"key": _ZONE, "operator": "In", "values": [provision.zone]}
    file_system = provision.parameters.get(_FS_PARAMETER, _DEFAULT_FS)
    mode = claim["spec"].get("volumeMode", "Filesystem")
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": provision.name,
            "annotations": {_PROVISIONED_BY: DRIVER},
            "finalizers": [_FINALIZER] if storage_class.get("reclaimPolicy", "Delete") == "Delete" else [],
        },
        "spec": {
            "capacity": {"storage": f"{provision.size}Gi"},
            "accessModes": claim["spec"]["accessModes"],
            "volumeMode": mode,
            "storageClassName": storage_class["metadata"]["name"],
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy", "Delete"),
            "mountOptions": storage_class.get("mountOptions") or [],
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": claim["metadata"]["namespace"],
                "name": claim["metadata"]["name"],
                "uid": claim["metadata"]["uid"],
            },
            "csi": {
                "driver": DRIVER,
                "volumeHandle": volume_id,
                **({} if mode == "Block" else {"fsType": file_system}),
            },
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [zone]}]}},
        },
    }


def addons(world: World) -> Iterable[dict[str, Any]]:
    """The addon of each cluster that has it, as EKS describes it."""
    eks = world.aws.client("eks")
    for cluster in world.aws.clusters():
        try:
            yield eks.describe_addon(clusterName=cluster, addonName=ADDON)["addon"]
        except eks.exceptions.ResourceNotFoundException:
            continue


def _make(world: World, provision: Provision, addon: dict[str, Any]) -> None:
    ec2 = world.aws.client("ec2")
    if (key := provision.parameters.get("kmsKeyId")) and (problem := key_problem(world, addon, key)):
        raise CannotProvision(f"could not create volume in EC2: {problem}")
    # A pass that broke off may have made it.
    named = [{"Name": f"tag:{_NAME_TAG}", "Values": [provision.name]}]
    found = ec2.describe_volumes(Filters=named)["Volumes"]
    if not found:
        settings = json.loads(addon.get("configurationValues") or "{}")
        all_tags = tags(provision, addon["clusterName"], settings)
        given = [{"Key": key, "Value": value} for key, value in all_tags.items()]
        specification = {"ResourceType": "volume", "Tags": given}
        found = [ec2.create_volume(**volume_request(provision), TagSpecifications=[specification])]
    volume = persistent_volume(provision, found[0]["VolumeId"])
    world.kubernetes.create(place_of(VOLUMES, volume), volume)
    _LOG.info("made %s for %s", found[0]["VolumeId"], provision.claim["metadata"]["name"])


def _delete(world: World, volume: Object) -> None:
    id = volume["spec"]["csi"]["volumeHandle"]
    try:
        world.aws.client("ec2").delete_volume(VolumeId=id)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") != _NOT_THERE:
            raise
    path = place_of(VOLUMES, volume)
    world.kubernetes.delete(path)
    without_finalizer(world, path, _FINALIZER)
    _LOG.info("deleted %s", id)


def _allowed_zones(storage_class: Object) -> set[str]:
    """The zones of a class's allowedTopologies; empty for any."""
    terms = storage_class.get("allowedTopologies") or []
    expressions = (one for term in terms for one in term.get("matchLabelExpressions") or [])
    return {zone for one in expressions if one["key"] in (_ZONE, f"topology.{DRIVER}/zone") for zone in one["values"]}


def _zone_of(node: Object) -> str:
    return (node["metadata"].get("labels") or {}).get(_ZONE, "")


def _interpolated(text: str, names: Mapping[str, str]) -> str:
    """A tag specification with the names that the driver fills in: `team={{ .PVCNamespace }}`."""
    return re.sub(r"\{\{\s*\.(\w+)\s*\}\}", lambda match: names.get(match[1], match[0]), text)
