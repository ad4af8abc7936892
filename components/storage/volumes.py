"""What a team and its notebooks mount: access points, volumes, claims and mounts. Pure functions of settings.

Each volume of a team is a PersistentVolume and a claim in the team's namespace, bound to each other by name. All are on
one EFS file system. Each has its own access point, which starts at the volume's directory and acts as the notebook's
user. So a pod can run in any zone, and reaches only its team's directories.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from settings.files import HOMES

if TYPE_CHECKING:
    from settings.files import Files as FilesSettings

UID, GID = 1000, 100
"""The user and group of notebooks: jovyan and users, as in the Jupyter images."""

EFS_DRIVER = "efs.csi.aws.com"

# EFS grows with its data and has no size, but Kubernetes requires a size for every volume and claim.
NOMINAL_GIB = 1
NOMINAL_SIZE = f"{NOMINAL_GIB}Gi"
# setgid: files that a member of a team makes belong to the group that all members share.
_DIRECTORY_MODE = "2775"
# What Pulumi's Kubernetes provider waits for, instead of its own rules.
UNTIL_BOUND = {"pulumi.com/waitFor": "jsonpath={.status.phase}=Bound"}

HOME_CLAIM = "home-"
"""The prefix of the claims' names if homes are per person."""
CLAIM_TAG = "kubernetes.io/created-for/pvc/name"
"""The tag with a claim's name that the EBS CSI driver gives the claim's volume."""

_SLUG = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?|\{username\}")

ZONE_BOUND = (
    "Your home is a disk in one availability zone: your notebook always starts there, and waits while the zone has no "
    "free machine of the kind that you chose."
)


@dataclass(frozen=True, kw_only=True)
class TeamVolume:
    """A directory of the file system, as a team uses it.

    `directory` is its path in the file system, `mount_path` its path in notebooks. `read_only`: nobody in the team may
    write. `of_person`: each person sees only their own directory in it. `claim` is the name of a claim that others make
    in the team's namespace, instead of the platform; with `optional`, notebooks do without while it is not there.
    """

    name: str
    directory: str
    mount_path: str
    read_only: bool = False
    of_person: bool = False
    claim: str | None = None
    optional: bool = False


def team_volumes(team: str, storage: FilesSettings) -> tuple[TeamVolume, ...]:
    """A team's volumes on the file system: the homes, unless each is a separate claim, and those of the settings."""
    homes = (
        (TeamVolume(name=HOMES, directory=f"/teams/{team}/{HOMES}", mount_path=storage.home_path, of_person=True),)
        if storage.homes == "shared"
        else ()
    )
    others = (
        TeamVolume(
            name=name,
            directory=f"/teams/{team}/{name}" if volume.scope == "team" else f"/platform/{name}",
            mount_path=volume.mount_path,
            read_only=not volume.is_written_by(team),
            claim=volume.claim,
            optional=volume.optional,
        )
        for name, volume in storage.volumes.items()
    )
    return (*homes, *others)


def made_volumes(team: str, storage: FilesSettings) -> tuple[TeamVolume, ...]:
    """Those of a team's volumes that the platform makes, with their claims."""
    return tuple(volume for volume in team_volumes(team, storage) if volume.claim is None)


def access_point(volume: TeamVolume) -> dict[str, Any]:
    """The arguments of a volume's access point: every client acts as the notebook's user, in the volume's directory.

    EFS makes the directory, owned by that user, when the access point is first mounted.
    """
    return {
        "posix_user": {"uid": UID, "gid": GID},
        "root_directory": {
            "path": volume.directory,
            "creation_info": {"owner_uid": UID, "owner_gid": GID, "permissions": _DIRECTORY_MODE},
        },
    }


def persistent_volume_name(namespace: str, volume: TeamVolume) -> str:
    """The name of the PersistentVolume. It contains the namespace, because PersistentVolumes are cluster-wide."""
    return f"{namespace}-{volume.name}"


def persistent_volume(namespace: str, volume: TeamVolume, handle: Any) -> dict[str, Any]:
    """The metadata and spec of the PersistentVolume, which only the claim of the same volume can bind.

    `handle` is what `volume_handle` gives. The driver does not support ReadOnlyMany
    (kubernetes-sigs/aws-efs-csi-driver, issue 972), so a mount option makes the volume read-only. The driver encrypts
    in transit by default. Deleting the claim deletes no data.
    """
    return {
        "metadata": {"name": persistent_volume_name(namespace, volume)},
        "spec": {
            **volume_spec(namespace, volume),
            "csi": {"driver": EFS_DRIVER, "volumeHandle": handle, "readOnly": volume.read_only},
        },
    }


def volume_spec(namespace: str, volume: TeamVolume) -> dict[str, Any]:
    """The `spec` of such a PersistentVolume without its source."""
    return {
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
    }


def volume_handle(file_system_id: str, access_point_id: str) -> str:
    """The volume handle of the EFS driver, which names a directory by its access point."""
    return f"{file_system_id}::{access_point_id}"


def claim(namespace: str, volume: TeamVolume) -> dict[str, Any]:
    """The metadata and spec of the claim, which binds only to the PersistentVolume of the same volume.

    Pulumi's Kubernetes provider warns while it waits for a claim without a class, unless an annotation says what to
    wait for.
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
    """The name of a person's claim if homes are per person. `person` is a slug, or KubeSpawner's {username}."""
    return f"{HOME_CLAIM}{_checked(person)}"


def home_volume_tags(cluster_name: str) -> tuple[dict[str, str], dict[str, str]]:
    """The tags that identify the EC2 volumes of such claims: those with a fixed value, and those with a pattern.

    The EBS CSI driver sets them on each volume that it makes (its docs/tagging.md), so older volumes have them too.
    """
    return {f"kubernetes.io/cluster/{cluster_name}": "owned"}, {CLAIM_TAG: f"{HOME_CLAIM}*"}


def home_claim(namespace: str, person: str, storage: FilesSettings) -> dict[str, Any]:
    """The metadata and spec of a person's claim if homes are per person."""
    named = {"storageClassName": storage.home_disk_class} if storage.home_disk_class else {}
    return {
        "metadata": {"name": home_claim_name(person), "namespace": namespace},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            **named,
            "resources": {"requests": {"storage": f"{storage.home_size}Gi"}},
        },
    }


def home_note(storage: FilesSettings) -> str | None:
    """What the spawn page says about homes; None if a home can be used in any zone."""
    return ZONE_BOUND if storage.homes == "per-person" and storage.disks_are_zonal else None


def pod_volumes(team: str, person: str, storage: FilesSettings) -> list[dict[str, Any]]:
    """The `volumes` of a notebook's pod, without scratch."""
    found: list[dict[str, Any]] = [
        {
            "name": volume.name,
            "persistentVolumeClaim": {"claimName": volume.claim or volume.name, "readOnly": volume.read_only},
        }
        for volume in team_volumes(team, storage)
    ]
    if storage.homes == "per-person":
        found.insert(0, {"name": HOMES, "persistentVolumeClaim": {"claimName": home_claim_name(person)}})
    return found


def pod_mounts(team: str, role: str, person: str, storage: FilesSettings) -> list[dict[str, Any]]:
    """The `volumeMounts` of a notebook's container, without scratch: writable if the person's role may write.

    `person` is a slug, or KubeSpawner's {username}, which KubeSpawner replaces with one.
    """
    mounts: list[dict[str, Any]] = []
    if storage.homes == "per-person":
        mounts.append({"name": HOMES, "mountPath": storage.home_path})
    for volume in team_volumes(team, storage):
        mount: dict[str, Any] = {"name": volume.name, "mountPath": volume.mount_path}
        if volume.of_person:
            mount["subPath"] = _checked(person)
        elif not storage.volumes[volume.name].writes(team, role):
            mount["readOnly"] = True
        mounts.append(mount)
    return mounts


def _checked(person: str) -> str:
    if not _SLUG.fullmatch(person):
        raise ValueError(
            f"{person!r} is not a slug: use lower-case letters, digits and hyphens, a letter or digit first and last"
        )
    return person
