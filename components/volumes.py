"""What a team and its notebooks mount: access points, volumes and claims, mounts, scratch. Pure functions of settings.

A team's namespace has one PersistentVolume and one claim for each volume, bound to each other by name. All of them lie
on one EFS file system, each behind an access point that begins at the volume's own directory and acts as the notebook's
user. So a pod can run in any zone, and reaches no directory but its team's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from settings.storage import HOME, HOMES, SCRATCH

if TYPE_CHECKING:
    from settings import Storage

UID, GID = 1000, 100
"""The user and group of notebooks: jovyan and users, as in the Jupyter images."""

EFS_DRIVER = "efs.csi.aws.com"
GP3_CLASS = "gp3"
GP3_RETAIN_CLASS = "gp3-retain"

# EFS grows as it is written to and knows no sizes; Kubernetes wants one of every volume and claim.
NOMINAL_GIB = 1
NOMINAL_SIZE = f"{NOMINAL_GIB}Gi"
# setgid: what one member of a team makes belongs to the group of all.
_DIRECTORY_MODE = "2775"
# Of Pulumi's kubernetes provider: what it waits for in place of its own rules.
UNTIL_BOUND = {"pulumi.com/waitFor": "jsonpath={.status.phase}=Bound"}

HOME_CLAIM = "home-"
"""How the names of claims begin where homes are per person."""
CLAIM_TAG = "kubernetes.io/created-for/pvc/name"
"""The tag with a claim's name that the EBS CSI driver gives the claim's volume."""

_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?|\{username\}")

ZONE_BOUND = (
    "Your home is a disk in one availability zone: your notebook always starts there, and waits while the zone has no "
    "free machine of the kind that you chose."
)


@dataclass(frozen=True, kw_only=True)
class TeamVolume:
    """A directory of the file system as one team has it.

    `directory` is the path in the file system, `mount_path` where notebooks see it. `read_only`: nobody of the team
    writes. `of_person`: each person sees a directory of their own in it.
    """

    name: str
    directory: str
    mount_path: str
    read_only: bool = False
    of_person: bool = False


def team_volumes(team: str, storage: Storage) -> tuple[TeamVolume, ...]:
    """A team's volumes on the file system: the homes, unless each is a claim of its own, and those of the settings."""
    homes = (
        (TeamVolume(name=HOMES, directory=f"/teams/{team}/{HOMES}", mount_path=HOME, of_person=True),)
        if storage.homes == "shared"
        else ()
    )
    others = (
        TeamVolume(
            name=name,
            directory=f"/teams/{team}/{name}" if volume.scope == "team" else f"/platform/{name}",
            mount_path=volume.mount_path,
            read_only=not volume.is_written_by(team),
        )
        for name, volume in storage.volumes.items()
    )
    return (*homes, *others)


def access_point(volume: TeamVolume) -> dict[str, Any]:
    """The arguments of a volume's access point: whoever comes in is the notebook's user, in the volume's directory.

    EFS makes the directory, as that user's, when the access point is first mounted.
    """
    return {
        "posix_user": {"uid": UID, "gid": GID},
        "root_directory": {
            "path": volume.directory,
            "creation_info": {"owner_uid": UID, "owner_gid": GID, "permissions": _DIRECTORY_MODE},
        },
    }


def persistent_volume_name(namespace: str, volume: TeamVolume) -> str:
    """The name of the PersistentVolume of a namespace and volume: these have no namespace of their own."""
    return f"{namespace}-{volume.name}"


def persistent_volume(namespace: str, volume: TeamVolume, handle: Any) -> dict[str, Any]:
    """The metadata and spec of the PersistentVolume, for the claim of the same volume alone.

    `handle` is what `volume_handle` gives. The driver knows no ReadOnlyMany (kubernetes-sigs/aws-efs-csi-driver, issue
    972): what makes the volume read-only is the mount option. It encrypts in transit by itself. Deleting
    the claim deletes no data.
    """
    return {
        "metadata": {"name": persistent_volume_name(namespace, volume)},
        "spec": {
            "capacity": {"storage": NOMINAL_SIZE},
            "accessModes": ["ReadWriteMany"],
            "volumeMode": "Filesystem",
            "storageClassName": "",
            "persistentVolumeReclaimPolicy": "Retain",
            "mountOptions": ["ro"] if volume.read_only else [],
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": namespace,
                "name": volume.name,
            },
            "csi": {"driver": EFS_DRIVER, "volumeHandle": handle, "readOnly": volume.read_only},
        },
    }


def volume_handle(file_system_id: str, access_point_id: str) -> str:
    """How the EFS driver is told a directory: by its access point."""
    return f"{file_system_id}::{access_point_id}"


def claim(namespace: str, volume: TeamVolume) -> dict[str, Any]:
    """The metadata and spec of the claim that is bound to the PersistentVolume of the same volume, and to no other.

    Of a claim without a class Pulumi's kubernetes provider warns while it waits, unless it is told what to wait for.
    """
    return {
        "metadata": {"name": volume.name, "namespace": namespace, "annotations": UNTIL_BOUND},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": persistent_volume_name(namespace, volume),
            "resources": {"requests": {"storage": NOMINAL_SIZE}},
        },
    }


def home_claim_name(person: str) -> str:
    """The name of a person's claim where homes are per person. `person` is a slug, or KubeSpawner's {username}."""
    return f"{HOME_CLAIM}{_checked(person)}"


def home_volume_tags(cluster_name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The tags that tell the EC2 volumes of such claims: those with a fixed value, and those with a pattern.

    The EBS CSI driver puts them on each volume that it makes (its docs/tagging.md), so that older ones have them too.
    """
    return {f"kubernetes.io/cluster/{cluster_name}": "owned"}, {CLAIM_TAG: f"{HOME_CLAIM}*"}


def home_claim(namespace: str, person: str, storage: Storage) -> dict[str, Any]:
    """The metadata and spec of a person's claim where homes are per person; with `retain` the disk outlives it."""
    return {
        "metadata": {"name": home_claim_name(person), "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": GP3_RETAIN_CLASS if storage.retain else GP3_CLASS,
            "resources": {"requests": {"storage": f"{storage.home_size}Gi"}},
        },
    }


def home_note(storage: Storage) -> str | None:
    """What the form that starts a notebook says of homes; nothing where they follow the notebook."""
    return ZONE_BOUND if storage.homes == "per-person" else None


def pod_volumes(team: str, person: str, storage: Storage) -> list[dict[str, Any]]:
    """The `volumes` of a notebook's pod, scratch apart."""
    found: list[dict[str, Any]] = [
        {
            "name": volume.name,
            "persistentVolumeClaim": {"claimName": volume.name, "readOnly": volume.read_only},
        }
        for volume in team_volumes(team, storage)
    ]
    if storage.homes == "per-person":
        found.insert(0, {"name": HOMES, "persistentVolumeClaim": {"claimName": home_claim_name(person)}})
    return found


def pod_mounts(team: str, role: str, person: str, storage: Storage) -> list[dict[str, Any]]:
    """The `volumeMounts` of a notebook's container, scratch apart: writable where the person's role writes.

    `person` is a slug, or KubeSpawner's {username}, which it replaces by one.
    """
    mounts: list[dict[str, Any]] = []
    if storage.homes == "per-person":
        mounts.append({"name": HOMES, "mountPath": HOME})
    for volume in team_volumes(team, storage):
        mount: dict[str, Any] = {"name": volume.name, "mountPath": volume.mount_path}
        if volume.of_person:
            mount["subPath"] = _checked(person)
        elif not storage.volumes[volume.name].writes(team, role):
            mount["readOnly"] = True
        mounts.append(mount)
    return mounts


@dataclass(frozen=True, kw_only=True)
class Scratch:
    """Space on the node that goes with the pod: its volume, its mount, and what the container requests and may use."""

    volume: dict[str, Any]
    mount: dict[str, Any]
    resources: dict[str, dict[str, str]]


def scratch(size: int) -> Scratch:
    """Scratch of `size` GiB at /home/jovyan/scratch.

    It is an emptyDir in any case: where a node has instance-store NVMe, its node class (`instanceStorePolicy: RAID0`)
    has kubelet keep them there. The request gets the pod a node that has the space; beyond it the pod is evicted.
    """
    amount = f"{size}Gi"
    return Scratch(
        volume={"name": "scratch", "emptyDir": {"sizeLimit": amount}},
        mount={"name": "scratch", "mountPath": SCRATCH},
        resources={"requests": {"ephemeral-storage": amount}, "limits": {"ephemeral-storage": amount}},
    )


def _checked(person: str) -> str:
    if not _SLUG.fullmatch(person):
        raise ValueError(
            f"{person!r} is no slug: lower-case letters, digits and hyphens, a letter or digit first and last"
        )
    return person
