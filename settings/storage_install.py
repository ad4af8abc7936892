"""`gpulab:storage.install`: what makes volumes on a cluster that lacks it, each with a storage class of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import DISTINCT, matching

ClassName = Annotated[str, matching(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "the name of a storage class")]
_HOST = r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?"
_PATH = r"(/[A-Za-z0-9][A-Za-z0-9._-]*)+"

LOCAL_PATH_CLASS, SEAWEEDFS_CLASS, NFS_CLASS = "gpulab-local-path", "gpulab-seaweedfs", "gpulab-nfs"
_CLASSES = {"localPath": LOCAL_PATH_CLASS, "seaweedfs": SEAWEEDFS_CLASS, "nfs": NFS_CLASS}

ONE_NODE_CLASSES: Mapping[str, str] = {
    "local-path": "folders of nodes (local-path-provisioner, which k3s brings)",
    "microk8s-hostpath": "folders of nodes (hostpath-storage of MicroK8s)",
    "gp2": "EBS volumes",
    "gp3": "EBS volumes",
    "managed-csi": "Azure disks",
    "managed-csi-premium": "Azure disks",
    "standard-rwo": "persistent disks of Google",
    "premium-rwo": "persistent disks of Google",
}
"""Classes whose volumes only one node mounts at a time (ReadWriteOnce), by the names that distributions give them."""


class LocalPath(Section):
    """Rancher's local-path-provisioner, beside one that the cluster may have: volumes are folders of their nodes."""

    path: Annotated[str, matching(_PATH, "an absolute path such as /var/lib/gpulab/volumes")] = Field(
        default="/var/lib/gpulab/volumes",
        description="Folder of each node in which volumes are made. On Talos a folder that the kubelet sees, such as "
        "/var/mnt/local-path.",
    )
    class_name: ClassName = Field(default=LOCAL_PATH_CLASS, description="Name of its storage class.")


class Seaweedfs(Section):
    """SeaweedFS' CSI driver, for a SeaweedFS that is there: notebooks on several nodes can mount its volumes."""

    filer: Annotated[str, matching(rf"{_HOST}:[0-9]+(,{_HOST}:[0-9]+)*", "HOST:PORT, or several with commas")] = Field(
        description="The filer that nodes reach, HOST:PORT, such as seaweedfs-filer.storage.svc:8888; several with "
        "commas."
    )
    class_name: ClassName = Field(default=SEAWEEDFS_CLASS, description="Name of its storage class.")


class Nfs(Section):
    """The CSI driver for NFS, for a server that is there: notebooks on several nodes can mount its volumes."""

    server: Annotated[str, matching(_HOST, "a name or an address that nodes reach")] = Field(
        description="The NFS server, such as nas.example.com or 192.168.1.10."
    )
    path: Annotated[str, matching(rf"/|{_PATH}", "an absolute path such as /export/gpulab")] = Field(
        description="What it exports, such as /export/gpulab; each volume is a folder in it. Root must be able to make "
        "folders there (no_root_squash)."
    )
    mount_options: Annotated[tuple[Annotated[str, matching(r"\S{1,100}", "an option of mount")], ...], DISTINCT] = (
        Field(default=("nfsvers=4.1",), description="Options of mount.")
    )
    class_name: ClassName = Field(default=NFS_CLASS, description="Name of its storage class.")


class StorageInstall(Section):
    """What makes volumes where the cluster has nothing for that. A destroy deletes it after its volumes."""

    local_path: LocalPath | None = Field(
        default=None, description="local-path-provisioner: path. Folders of nodes, for homes per-person."
    )
    seaweedfs: Seaweedfs | None = Field(default=None, description="SeaweedFS' CSI driver: filer.")
    nfs: Nfs | None = Field(default=None, description="The CSI driver for NFS: server, path.")

    @property
    def classes(self) -> dict[str, bool]:
        """The storage classes that come with it, each with whether several nodes can mount its volumes."""
        several = {one.class_name: True for one in (self.seaweedfs, self.nfs) if one}
        return {self.local_path.class_name: False, **several} if self.local_path else several

    @rule
    def _classes_of_their_own(self, facts: Facts) -> Findings:
        installed = {"localPath": self.local_path, "seaweedfs": self.seaweedfs, "nfs": self.nfs}
        names = Counter(one.class_name for one in installed.values() if one)
        for key, one in installed.items():
            if one and names[one.class_name] > 1:
                yield (key, "className"), "is the class of another one too: each needs its own"
            elif one and one.class_name in ONE_NODE_CLASSES:
                yield (
                    (key, "className"),
                    f"is the name of a class that distributions bring: choose another, such as {_CLASSES[key]}",
                )


def class_defaults(install: Any) -> dict[str, str]:
    """The defaults of homeClass and sharedClass where `install`, as the stack file has it, brings classes for them."""
    given = install if isinstance(install, dict) else {}
    classes = {
        key: given[key].get("className", name) for key, name in _CLASSES.items() if isinstance(given.get(key), dict)
    }
    home = classes.pop("localPath", None)
    shared = next(iter(classes.values())) if len(classes) == 1 else None
    return {key: name for key, name in (("homeClass", home), ("sharedClass", shared)) if name is not None}
