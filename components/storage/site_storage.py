"""What makes volumes on a cluster that lacks it (`gpulab:storage.install`), each with a storage class of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from components.charts import release_args
from components.ground.placement import Placement
from components.images import with_digests
from components.storage.local_path import PROVISIONER, LocalPathArgs, LocalPathProvisioner
from settings.ground import KUBELET_FOLDERS

if TYPE_CHECKING:
    from settings import ChartSource
    from settings.ground import Distribution
    from settings.site_storage import SiteStorage
    from settings.storage_install import Nfs, Seaweedfs

NAMESPACE = "gpulab-storage"
SEAWEEDFS_CHART, SEAWEEDFS_DRIVER = "seaweedfs-csi-driver", "seaweedfs-csi-driver"
NFS_CHART, NFS_DRIVER = "csi-driver-nfs", "nfs.csi.k8s.io"

# Seconds: each node pulls the images, some of them from slow lines.
RELEASE_TIMEOUT = 900

# The part of a driver that mounts volumes runs on each node with notebooks, whatever taints that has.
_EVERY_NODE = [{"operator": "Exists"}]


@dataclass(frozen=True, kw_only=True)
class SiteStorageClassesArgs:
    """`distribution` says where kubelet has its folder. With `by_digest`, images are pinned by known digests."""

    settings: SiteStorage
    distribution: Distribution
    placement: Placement
    charts: Mapping[str, ChartSource] = field(default_factory=dict)
    by_digest: bool = False


class SiteStorageClasses(pulumi.ComponentResource):
    """The drivers that the stack file asks for, in one namespace, and a storage class for each.

    With `storage.retain`, a volume outlives its claim.
    """

    drivers: Sequence[pulumi.Resource]
    """What has to run until the last volume is deleted: claims depend on it. Empty where nothing is installed."""

    def __init__(self, name: str, args: SiteStorageClassesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:SiteStorageClasses", name, None, opts)
        self._name, self._args = name, args
        install = args.settings.install
        self.drivers = []
        if install.classes:
            # Drivers mount into the folders of other pods, and local-path-provisioner makes folders on nodes.
            namespace = kubernetes.core.v1.Namespace(
                name,
                metadata={"name": NAMESPACE, "labels": {"pod-security.kubernetes.io/enforce": "privileged"}},
                opts=pulumi.ResourceOptions(parent=self),
            )
            self._within = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
            if install.local_path:
                self._local_path(install.local_path.class_name, install.local_path.path)
            if install.seaweedfs:
                driver = self._release("seaweedfs", SEAWEEDFS_CHART, seaweedfs_values(args, install.seaweedfs))
                self._class(install.seaweedfs.class_name, driver, seaweedfs_class())
            if install.nfs:
                driver = self._release("nfs", NFS_CHART, nfs_values(args))
                self._class(install.nfs.class_name, driver, nfs_class(install.nfs))
            self.drivers = [self]
        self.register_outputs({"classes": sorted(install.classes)})

    def _local_path(self, class_name: str, path: str) -> None:
        args = self._args
        provisioner = LocalPathProvisioner(
            f"{self._name}-local-path",
            LocalPathArgs(namespace=NAMESPACE, path=path, placement=args.placement, by_digest=args.by_digest),
            opts=self._within,
        )
        self._class(class_name, provisioner, local_path_class())

    def _release(self, short: str, chart: str, values: Mapping[str, Any]) -> pulumi.Resource:
        charts = self._args.charts
        return kubernetes.helm.v3.Release(
            f"{self._name}-{short}",
            name=chart,
            namespace=NAMESPACE,
            values=with_digests(chart, values, charts, by_digest=self._args.by_digest),
            timeout=RELEASE_TIMEOUT,
            opts=self._within,
            **release_args(chart, charts),
        )

    def _class(self, class_name: str, driver: pulumi.Resource, spec: Mapping[str, Any]) -> None:
        """Never the default class: a cluster may have one, and two are none."""
        kubernetes.storage.v1.StorageClass(
            f"{self._name}-{class_name}",
            metadata={"name": class_name},
            reclaim_policy="Retain" if self._args.settings.retain else "Delete",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[driver]),
            **spec,
        )


def local_path_class() -> dict[str, Any]:
    """The class of folders on nodes: each is made where its first pod runs, and stays as large as its disk."""
    return {"provisioner": PROVISIONER, "volume_binding_mode": "WaitForFirstConsumer"}


def seaweedfs_class() -> dict[str, Any]:
    """The class of SeaweedFS."""
    return {"provisioner": SEAWEEDFS_DRIVER, "volume_binding_mode": "Immediate", "allow_volume_expansion": True}


def nfs_class(nfs: Nfs) -> dict[str, Any]:
    """The class of the NFS server: each volume is a folder of what it exports, which notebooks' users may write."""
    return {
        "provisioner": NFS_DRIVER,
        "parameters": {"server": nfs.server, "share": nfs.path, "mountPermissions": "0777"},
        "mount_options": list(nfs.mount_options),
        "volume_binding_mode": "Immediate",
        "allow_volume_expansion": True,
    }


def seaweedfs_values(args: SiteStorageClassesArgs, seaweedfs: Seaweedfs) -> dict[str, Any]:
    """The values of the chart `seaweedfs-csi-driver`.

    Its volumes are mounted by a daemon of its own on each node, so that an update of the driver leaves them mounted.
    """
    kubelet = KUBELET_FOLDERS[args.distribution]
    return {
        "seaweedfsFiler": seaweedfs.filer,
        # The class is Pulumi's.
        "storageClassName": "",
        "mountService": {"tolerations": _EVERY_NODE},
        "controller": args.placement.pod,
        "node": {
            "tolerations": _EVERY_NODE,
            "volumes": {
                "registration_dir": f"{kubelet}/plugins_registry",
                "plugins_dir": f"{kubelet}/plugins",
                "pods_mount_dir": f"{kubelet}/pods",
            },
        },
    }


def nfs_values(args: SiteStorageClassesArgs) -> dict[str, Any]:
    """The values of the chart `csi-driver-nfs`."""
    return {
        "kubeletDir": KUBELET_FOLDERS[args.distribution],
        # Its part for snapshots needs CRDs that the cluster may not have.
        "controller": {**args.placement.pod, "enableSnapshotter": False},
        "node": {"tolerations": _EVERY_NODE},
    }
