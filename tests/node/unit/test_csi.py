"""The stand-in of CSI drivers: what it answers to kubelet, and which folder is which volume."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from components.storage.claims import twin_spec
from components.storage.volumes import TeamVolume
from rehearsal.node.csi import messages
from rehearsal.node.csi.__main__ import MachineMounts
from rehearsal.node.csi.driver import Driver, MountFailed, serve
from rehearsal.node.csi.folders import folder_of
from rehearsal.site.provisioners import volume_of

NFS, SEAWEEDFS, EFS, EBS = "nfs.csi.k8s.io", "seaweedfs-csi-driver", "efs.csi.aws.com", "ebs.csi.aws.com"
TARGET = "/var/lib/kubelet/pods/1/volumes/kubernetes.io~csi/pvc-1/mount"


@dataclass
class RecordedMounts:
    """A machine where mounts are only remembered."""

    folders: set[str] = field(default_factory=lambda: {"pvc-1"})
    mounted: dict[str, tuple[str, bool]] = field(default_factory=dict)
    failure: str = ""

    def make(self, folder: str) -> None:
        self.folders.add(folder)

    def has(self, folder: str) -> bool:
        return folder in self.folders

    def bind(self, folder: str, target: str, *, read_only: bool) -> None:
        if self.failure:
            raise MountFailed(self.failure)
        self.mounted[target] = (folder, read_only)

    def unbind(self, target: str) -> None:
        self.mounted.pop(target, None)


@dataclass(frozen=True)
class Kubelet:
    """Calls a driver as kubelet does: at the socket that it found, by the names in csi.proto."""

    channel: grpc.Channel

    def call(self, method: str, request: Any, response: Any) -> Any:
        called = self.channel.unary_unary(
            method, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
        )
        return called(request, timeout=5)

    def publish(self, handle: str, *, readonly: bool = False, **attributes: str) -> None:
        request = messages.NodePublishVolumeRequest(
            volume_id=handle, target_path=TARGET, readonly=readonly, volume_context=attributes
        )
        self.call("/csi.v1.Node/NodePublishVolume", request, messages.Empty)

    def unpublish(self, handle: str) -> None:
        request = messages.NodeUnpublishVolumeRequest(volume_id=handle, target_path=TARGET)
        self.call("/csi.v1.Node/NodeUnpublishVolume", request, messages.Empty)


@pytest.fixture
def mounts() -> RecordedMounts:
    return RecordedMounts()


@pytest.fixture(params=[NFS])
def kubelet(request: pytest.FixtureRequest, mounts: RecordedMounts, tmp_path: Path) -> Iterator[Kubelet]:
    address = f"unix:{tmp_path / 'driver.sock'}"
    server = serve(Driver(request.param, "node-1", "/var/lib/kubelet/driver.sock", mounts), address)
    with grpc.insecure_channel(address) as channel:
        yield Kubelet(channel)
    server.stop(None)


def test_kubelet_learns_the_driver_and_its_node(kubelet: Kubelet) -> None:
    info = kubelet.call("/pluginregistration.Registration/GetInfo", messages.Empty(), messages.PluginInfo)
    assert (info.type, info.name, info.endpoint) == ("CSIPlugin", NFS, "/var/lib/kubelet/driver.sock")
    assert list(info.supported_versions) == ["1.0.0"], "kubelet refuses a driver without a version that it knows"
    node = kubelet.call("/csi.v1.Node/NodeGetInfo", messages.Empty(), messages.NodeGetInfoResponse)
    assert node.node_id == "node-1"
    plugin = kubelet.call("/csi.v1.Identity/GetPluginInfo", messages.Empty(), messages.GetPluginInfoResponse)
    assert plugin.name == NFS
    registered = messages.RegistrationStatus(plugin_registered=True)
    kubelet.call("/pluginregistration.Registration/NotifyRegistrationStatus", registered, messages.Empty)


def test_it_stages_nothing_and_counts_nothing(kubelet: Kubelet) -> None:
    for method in ("Node/NodeGetCapabilities", "Identity/GetPluginCapabilities", "Identity/Probe"):
        assert not kubelet.call(f"/csi.v1.{method}", messages.Empty(), messages.Empty).SerializeToString()


@pytest.mark.parametrize("readonly", [False, True])
def test_a_volume_is_its_folder_until_the_pod_is_gone(kubelet: Kubelet, mounts: RecordedMounts, readonly: bool) -> None:
    for _ in range(2):
        kubelet.publish("nas#export#pvc-1##", readonly=readonly, subdir="pvc-1")
        assert mounts.mounted == {TARGET: ("pvc-1", readonly)}
    for _ in range(2):
        kubelet.unpublish("pvc-1")
        assert not mounts.mounted
    assert mounts.folders == {"pvc-1"}, "people's files stay"


def test_a_volume_that_nobody_made_is_not_mounted_empty(kubelet: Kubelet, mounts: RecordedMounts) -> None:
    with pytest.raises(grpc.RpcError, match=r"nfs\.csi\.k8s\.io has no folder pvc-2"):
        kubelet.publish("nas#export#pvc-2##", subdir="pvc-2")
    assert not mounts.mounted


@pytest.mark.parametrize("kubelet", [EFS], indirect=True)
def test_an_access_point_has_a_folder_from_its_first_mount_on(kubelet: Kubelet, mounts: RecordedMounts) -> None:
    kubelet.publish("fs-0a1b::fsap-2c3d")
    assert mounts.mounted == {TARGET: ("fsap-2c3d", False)}
    assert "fsap-2c3d" in mounts.folders


def test_a_failed_mount_is_what_the_pod_shows(kubelet: Kubelet, mounts: RecordedMounts) -> None:
    mounts.failure = "`mount` failed: no space left"
    with pytest.raises(grpc.RpcError, match="no space left"):
        kubelet.publish("nas#export#pvc-1##", subdir="pvc-1")


@pytest.mark.parametrize(
    ("driver", "handle", "attributes", "folder"),
    [
        (NFS, "nas#export#pvc-1##-team-a-homes", {"server": "nas", "subdir": "pvc-1"}, "pvc-1"),
        (SEAWEEDFS, "/buckets/pvc-1", {}, "pvc-1"),
        (SEAWEEDFS, "pvc-1", {}, "pvc-1"),
        (SEAWEEDFS, "pvc-1-team-a-homes", {"path": "/buckets/pvc-1"}, "pvc-1"),
        (SEAWEEDFS, "/buckets/pvc-1-team-a-homes", {"path": "/buckets/pvc-1"}, "pvc-1-team-a-homes"),
        (EFS, "fs-0a1b::fsap-2c3d", {}, "fsap-2c3d"),
        (EFS, "fs-0a1b:/homes:fsap-2c3d", {}, "fsap-2c3d"),
        (EBS, "vol-0123456789abcdef0", {}, "vol-0123456789abcdef0"),
    ],
)
def test_each_driver_finds_files_in_its_own_way(
    driver: str, handle: str, attributes: dict[str, str], folder: str
) -> None:
    assert folder_of(driver, handle, attributes).name == folder


@pytest.mark.parametrize("parameters", [{}, {"parentDir": "/buckets"}])
@pytest.mark.parametrize("driver", [NFS, SEAWEEDFS])
def test_teams_mount_the_files_of_the_claim(driver: str, parameters: dict[str, str]) -> None:
    """Each has a PersistentVolume of its own, with another handle."""
    storage_class = {
        "metadata": {"name": "shared"},
        "provisioner": driver,
        "parameters": {"server": "nas", "share": "/export"} if driver == NFS else parameters,
    }
    claim = {
        "metadata": {"uid": "1", "name": "datasets", "namespace": "gpulab-files"},
        "spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    made = volume_of(claim, storage_class)
    assert made
    source = made["spec"]["csi"]
    as_output = {
        "csi": {
            "driver": driver,
            "volume_handle": source["volumeHandle"],
            "volume_attributes": source["volumeAttributes"],
        }
    }
    volume = TeamVolume(name="datasets", directory="/platform/datasets", mount_path="/datasets")
    twins = [twin_spec(as_output, team, volume)["csi"] for team in ("team-a", "team-b")]
    assert len({source["volumeHandle"], *(twin["volume_handle"] for twin in twins)}) == 3
    wanted = folder_of(driver, source["volumeHandle"], source["volumeAttributes"])
    assert {folder_of(driver, twin["volume_handle"], twin["volume_attributes"]) for twin in twins} == {wanted}


@pytest.mark.parametrize("kubelet", [SEAWEEDFS], indirect=True)
@pytest.mark.parametrize("handle", ["..", "/buckets/..", "/", "a b"])
def test_a_volume_that_is_no_folder_is_refused(handle: str, kubelet: Kubelet, mounts: RecordedMounts) -> None:
    with pytest.raises(grpc.RpcError, match="volumeHandle names no folder"):
        kubelet.publish(handle)
    assert not mounts.mounted


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[int]:
    """The first process of namespaces that have a rig's volumes, of which one is pvc-1."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounts in namespaces of their own need Linux and root")
    (tmp_path / "volumes" / "pvc-1").mkdir(parents=True)
    script = """
    mount -t tmpfs tmpfs /srv
    mkdir /srv/volumes
    mount --bind "$1" /srv/volumes
    : >"$2"
    exec sleep infinity
    """
    separate = [f"--{one}" for one in ("mount", "net", "pid", "ipc", "uts", "fork", "kill-child")]
    ready = tmp_path / "ready"
    command = ["unshare", *separate, "sh", "-euc", script, "sh", tmp_path / "volumes", ready]
    with subprocess.Popen(command) as process:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.01)
        (child,) = psutil.Process(process.pid).children()
        yield child.pid
        process.kill()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_mount_is_in_the_machine_only(machine: int, tmp_path: Path, read_only: bool) -> None:
    mounts = MachineMounts(machine, tmp_path / "volumes")
    target = tmp_path / "pod" / "mount"
    inside = Path(f"/proc/{machine}/root") / target.relative_to("/")
    (tmp_path / "volumes" / "pvc-1" / "notes").write_text("kept", encoding="utf-8")
    for _ in range(2):
        mounts.bind("pvc-1", str(target), read_only=read_only)
    assert (inside / "notes").read_text(encoding="utf-8") == "kept"
    assert list(target.iterdir()) == [], "the host has no such mount"
    assert bool(os.statvfs(inside).f_flag & os.ST_RDONLY) is read_only
    for _ in range(2):
        mounts.unbind(str(target))
        assert not target.exists()
    assert (tmp_path / "volumes" / "pvc-1" / "notes").exists()


def test_a_machine_says_why_it_does_not_mount(machine: int, tmp_path: Path) -> None:
    with pytest.raises(MountFailed, match=r"pvc-2.*does not exist"):
        MachineMounts(machine, tmp_path / "volumes").bind("pvc-2", str(tmp_path / "mount"), read_only=False)
