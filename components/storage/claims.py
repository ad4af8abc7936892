"""Shared files on a cluster that exists: claims of storage classes that several nodes can mount."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pulumi
import pulumi_kubernetes as kubernetes

from components.manifests import Spec
from components.order import after
from components.storage import volumes
from components.storage.site_storage import NFS_DRIVER, SEAWEEDFS_DRIVER
from components.storage.volumes import TeamVolume
from settings.files import HOMES

if TYPE_CHECKING:
    from settings.site_storage import SiteStorage

NAMESPACE = "gpulab-files"
"""Where the claims are that hold the files. What teams mount leads there."""

# These can find the files by the volume's attributes, so each PersistentVolume can have a handle of its own, as
# Kubernetes expects. To others the handle is all they know.
_OF_ATTRIBUTES = (NFS_DRIVER, SEAWEEDFS_DRIVER)
# Where SeaweedFS has volumes whose handle is no path (pkg/driver/mounter.go of seaweedfs-csi-driver).
_SEAWEEDFS_FOLDER = "/buckets"


@dataclass(frozen=True)
class ClaimFiles:
    """Files in the claims of `SharedFiles`: each namespace that mounts some gets a volume with the same source.

    A claim can't be mounted from another namespace. `sources` has the `spec` of the PersistentVolume that holds the
    files, by directory.
    """

    sources: Mapping[str, pulumi.Output[Mapping[str, Any]]]
    facts: ClassVar[Mapping[str, Any]] = {"namespace": NAMESPACE}

    def make(self, name: str, namespace: str, volume: TeamVolume, opts: pulumi.ResourceOptions) -> pulumi.Resource:
        """The PersistentVolume that leads to the files; deleting it deletes none of them."""
        spec: Any = self.sources[volume.directory].apply(lambda source: twin_spec(source, namespace, volume))
        metadata: Any = {"name": volumes.persistent_volume_name(namespace, volume)}
        return kubernetes.core.v1.PersistentVolume(name, metadata=metadata, spec=spec, opts=opts)

    def claim(self, namespace: str, volume: TeamVolume) -> Spec:
        """Bound to the PersistentVolume of the same volume by its name."""
        return volumes.claim(namespace, volume)


class SharedFiles(pulumi.ComponentResource):
    """The claims that hold shared files, in a namespace of their own, which does not end with a team's.

    Nothing but the end of the namespace deletes a claim: not a team or a volume that is taken out of the stack file,
    nor another storage class, which is for new claims. With `retain`, a destroy leaves the namespace too. What is left
    is taken over by the next `up` that has a claim of its name.
    """

    files: ClaimFiles
    retained: Mapping[str, pulumi.Output[str]]
    """What a destroy keeps: the namespace with the claims."""

    def __init__(
        self, name: str, storage: SiteStorage, teams: list[str], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """`teams` are the names of those whose directories there are."""
        super().__init__("gpulab:index:SharedFiles", name, None, opts)
        kept = pulumi.ResourceOptions(parent=self, retain_on_delete=True, ignore_changes=["spec.storageClassName"])
        directories = {volume.directory for team in teams for volume in volumes.made_volumes(team, storage)}
        found: dict[str, pulumi.Output[Mapping[str, Any]]] = {}
        if directories:
            namespace = kubernetes.core.v1.Namespace(
                name,
                metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
                opts=pulumi.ResourceOptions(parent=self, retain_on_delete=storage.retain),
            )
            for directory in sorted(directories):
                claim_name = directory.strip("/").replace("/", "-")
                claim = kubernetes.core.v1.PersistentVolumeClaim(
                    f"{name}-{claim_name}",
                    metadata={"name": claim_name, "namespace": NAMESPACE, "annotations": volumes.UNTIL_BOUND},
                    spec=claim_spec(directory, storage),
                    opts=after(kept, namespace),
                )
                # In the preview that makes a claim, its volume is none, by a dry run; only its ID is not known.
                known: pulumi.Output[Any] = pulumi.Output.all(claim.id, claim.spec)
                bound = known.apply(lambda both: both[1]["volume_name"])
                found[directory] = kubernetes.core.v1.PersistentVolume.get(
                    f"{name}-{claim_name}", bound, opts=pulumi.ResourceOptions(parent=self)
                ).spec.apply(dict)
        self.files = ClaimFiles(found)
        kept_here = found and storage.retain
        self.retained = {"files": pulumi.Output.from_input(f"namespace {NAMESPACE}")} if kept_here else {}
        self.register_outputs({})


def claim_spec(directory: str, storage: SiteStorage) -> Spec:
    """The `spec` of the claim that holds a directory: of the volume's class and size, or of the homes'."""
    name = directory.rpartition("/")[2]
    if name == HOMES:
        storage_class, size = storage.shared_class, storage.home_size
    else:
        volume = storage.volumes[name]
        storage_class, size = volume.storage_class or storage.shared_class, volume.size
    return {
        "accessModes": ["ReadWriteMany"],
        "storageClassName": storage_class,
        "resources": {"requests": {"storage": f"{size}Gi"}},
    }


def twin_spec(source: Mapping[str, Any], namespace: str, volume: TeamVolume) -> dict[str, Any]:
    """The `spec` of a PersistentVolume with the source of another one, which has keys as Pulumi's outputs have them.

    Raises ValueError for a source on a node's disk.
    """
    spec = volumes.volume_spec(namespace, volume)
    spec["mountOptions"] = [*(source.get("mount_options") or ()), *spec["mountOptions"]]
    if csi := source.get("csi"):
        csi = dict(csi)
        if csi["driver"] == SEAWEEDFS_DRIVER:
            csi = _by_path(csi)
        if csi["driver"] in _OF_ATTRIBUTES:
            csi["volume_handle"] += f"-{namespace}-{volume.name}"
        return {**spec, "csi": {**csi, "readOnly": volume.read_only}}
    if nfs := source.get("nfs"):
        return {**spec, "nfs": {**nfs, "readOnly": volume.read_only}}
    raise ValueError(
        f"gpulab:storage.sharedClass: the class of volume {volume.name} makes volumes of a kind that teams can't "
        "share: use a class of a CSI driver, or of NFS"
    )


def _by_path(csi: Mapping[str, Any]) -> dict[str, Any]:
    """The source of a volume of SeaweedFS, which is found by its attribute `path` and no more by its handle.

    A handle that is a path comes before the attribute, so it loses its folders.
    """
    handle, attributes = csi["volume_handle"], csi.get("volume_attributes") or {}
    path = handle if handle.startswith("/") else attributes.get("path") or f"{_SEAWEEDFS_FOLDER}/{handle}"
    return {**csi, "volume_handle": path.rpartition("/")[2], "volume_attributes": {**attributes, "path": path}}
