"""Disks that grow: external-resizer beside the EBS CSI driver, and what kubelet does to the file system on them.

A claim that asks for more than it has gets it once EC2 has changed the volume; the file system follows when a pod has
it mounted. The API server refuses the rest: a smaller size, and a class without `allowVolumeExpansion`. Modelled on
external-resizer 2 ("Expanding Persistent Volumes Claims", Kubernetes). Like the driver it acts with the addon alone.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from botocore.exceptions import ClientError

from contracts.quantities import amount
from rehearsal.controllers.object_warnings import Warnings
from rehearsal.controllers.volumes import CLAIMS, VOLUMES, addons, is_own, size_of
from rehearsal.controllers.world import PODS, Object, World, place_of

_LOG = logging.getLogger("controllers.growth")
# Both belong to a claim whose disk has grown, and whose file system waits for a pod.
_PENDING = {"type": "FileSystemResizePending", "status": "True"}


class Growth:
    """Has volumes grow with what their claims ask for."""

    def __init__(self) -> None:
        self._warnings = Warnings("PersistentVolumeClaim")

    def reconcile(self, world: World) -> None:
        """Asks EC2 for larger volumes, then has the file systems of those fill them that a pod has mounted."""
        growing = list(wanting_more(world.listed(CLAIMS), world.listed(VOLUMES)))
        if not growing or not any(True for _ in addons(world)):
            return
        used = in_use(world.listed(PODS))
        for claim, volume in growing:
            if _has(volume["spec"]["capacity"]) < size_of(claim):
                try:
                    _enlarge(world, claim, volume)
                except ClientError as error:
                    self._warnings.report(world, claim, "VolumeResizeFailed", str(error))
            elif (claim["metadata"]["namespace"], claim["metadata"]["name"]) in used:
                world.kubernetes.patch(
                    f"{place_of(CLAIMS, claim)}/status",
                    {"status": {"capacity": volume["spec"]["capacity"], "conditions": []}},
                )


def wanting_more(claims: Sequence[Object], volumes: Sequence[Object]) -> Iterator[tuple[Object, Object]]:
    """Each claim that asks for more than it has, with its volume, which is of the driver."""
    by_name = {volume["metadata"]["name"]: volume for volume in volumes if is_own(volume)}
    for claim in claims:
        volume, status = by_name.get(claim["spec"].get("volumeName", "")), claim.get("status", {})
        if volume and status.get("phase") == "Bound" and _has(status.get("capacity", {})) < size_of(claim):
            yield claim, volume


def in_use(pods: Sequence[Object]) -> set[tuple[str, str]]:
    """The claims that running pods have mounted, by namespace and name."""
    return {
        (pod["metadata"]["namespace"], claim["claimName"])
        for pod in pods
        if pod.get("status", {}).get("phase") == "Running"
        for volume in pod["spec"].get("volumes") or []
        if (claim := volume.get("persistentVolumeClaim"))
    }


def _has(capacity: Mapping[str, Any]) -> float:
    """GiB of a capacity."""
    return float(amount(str(capacity.get("storage", "0"))) / 1024**3)


def _enlarge(world: World, claim: Object, volume: Object) -> None:
    size, id = size_of(claim), volume["spec"]["csi"]["volumeHandle"]
    # A pass that broke off may have asked already, and EC2 counts how often it is asked.
    (found,) = world.aws.client("ec2").describe_volumes(VolumeIds=[id])["Volumes"]
    if found["Size"] < size:
        world.aws.client("ec2").modify_volume(VolumeId=id, Size=size)
    world.kubernetes.patch(place_of(VOLUMES, volume), {"spec": {"capacity": {"storage": f"{size}Gi"}}})
    world.kubernetes.patch(f"{place_of(CLAIMS, claim)}/status", {"status": {"conditions": [_PENDING]}})
    _LOG.info("%s grows to %d GiB for %s", id, size, claim["metadata"]["name"])
