"""A pool's user data, in addition to Karpenter's own."""

from __future__ import annotations

import email
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from gpu_pools import BOTTLEROCKET, P4D, cpu_pool, gpu_pool

from components.ground.system_nodes import SYSTEM_NODES
from components.nodes.gpu import gpu_operator_values
from components.nodes.node_pools import ec2_node_class_spec, fast_restored
from components.nodes.user_data import user_data
from settings import NodePool

SNAPSHOT = "snap-0123456789abcdef0"


def node_class(pool: NodePool) -> dict[str, Any]:
    return ec2_node_class_spec(pool, cluster_name="lab", node_role_name="node", tags={})


def test_images_are_pulled_in_parallel_onto_the_nvme_disks() -> None:
    spec = node_class(gpu_pool(gpu={"imageCache": {"method": "soci"}}))
    config = yaml.safe_load(parts_of(spec["userData"])["application/node.eks.aws"])
    assert config["spec"]["featureGates"] == {"FastImagePull": True}
    assert config["apiVersion"] == "node.eks.aws/v1alpha1"
    assert spec["instanceStorePolicy"] == "RAID0"


def parts_of(data: str) -> dict[str, str]:
    """The parts of a MIME document by their types."""
    parts = email.message_from_string(data).walk()
    return {part.get_content_type(): str(part.get_payload()).strip() for part in parts}


@pytest.mark.parametrize("sharing", [{}, {"sharing": "mps", "replicas": 2}, {"imageCache": {"method": "soci"}}])
def test_no_image_says_itself_which_gpus_of_the_node_its_containers_get(
    sharing: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = parts_of(user_data(gpu_pool(gpu=sharing)) or "")["text/x-shellscript"]
    told = tmp_path / "told"
    (tmp_path / "nvidia-ctk").write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {told}\n', encoding="utf-8")
    (tmp_path / "nvidia-ctk").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    subprocess.run(["bash", "-c", script], check=True)
    assert told.read_text(encoding="utf-8").splitlines() == [
        "config",
        "--in-place",
        "--config-file=/etc/nvidia-container-runtime/config.toml",
        "--set",
        "accept-nvidia-visible-devices-envvar-when-unprivileged=false",
    ]


def test_what_asks_for_gpus_gets_them_by_cdi() -> None:
    """The runtime ignores the variable, so the device plugin must not use it."""
    assert gpu_operator_values({"gpu": gpu_pool()}, SYSTEM_NODES)["cdi"]["enabled"] is True


class Node:
    """What the script of a pool's user data does on a node, as far as files and commands go."""

    def __init__(self, folder: Path, pool: NodePool, modes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.done, self.unit, script = folder / "done", folder / "gpulab-mig.service", folder / "gpulab-mig"
        commands = {
            "nvidia-ctk": "exit 0",
            "nvidia-smi": f"case $1 in --query*) printf '%s\\n' {' '.join(modes)};; -L) exit {0 if modes else 9};; "
            f'mig) echo "$@" >> {self.done};; esac',
            "systemctl": f'[ "$1" != enable ] || exec {script}; echo "$1" >> {self.done}',
            "sleep": '[ "$1" != infinity ] || kill $PPID',
            "seq": "echo 1",
        }
        for name, text in commands.items():
            (folder / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
            (folder / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        text = parts_of(user_data(pool) or "")["text/x-shellscript"]
        for place in ("/usr/local/sbin", "/etc/systemd/system", "/var/lib"):
            text = text.replace(f"{place}/gpulab-mig", f"{folder}/gpulab-mig")
        self.script, self.user_data = script, text

    def started(self) -> None:
        subprocess.run(["bash", "-c", self.user_data], check=False, capture_output=True)

    def started_again(self) -> None:
        subprocess.run([self.script], check=False, capture_output=True)

    @property
    def did(self) -> list[str]:
        return self.done.read_text(encoding="utf-8").splitlines() if self.done.exists() else []


def test_slices_and_parallel_pulls_are_parts_of_one_document() -> None:
    both = gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "1g.5gb", "imageCache": {"method": "soci"}})
    parts = parts_of(user_data(both) or "")
    assert parts["text/x-shellscript"].startswith("#!/bin/bash\n")
    assert yaml.safe_load(parts["application/node.eks.aws"])["spec"]["featureGates"] == {"FastImagePull": True}


def test_slices_are_there_before_kubelet_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(tmp_path, gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "2g.10gb"}), ["Enabled"] * 8, monkeypatch)
    node.started()
    assert node.did == ["mig -cgi 2g.10gb:0,2g.10gb:2,2g.10gb:4 -C"]
    unit = node.unit.read_text(encoding="utf-8")
    # nodeadm-run starts kubelet (awslabs/amazon-eks-ami).
    assert "Before=nodeadm-run.service kubelet.service" in unit
    assert "WantedBy=multi-user.target" in unit
    # Slices go with a restart, and user data runs once.
    node.started_again()
    assert node.did == ["mig -cgi 2g.10gb:0,2g.10gb:2,2g.10gb:4 -C"] * 2


def test_an_instance_starts_anew_once_where_its_gpus_need_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change of an A100's mode waits for a reset, which an instance can't do."""
    layout = gpu_pool(**P4D, gpu={"sharing": "mig", "layout": {"1g.5gb": 1, "2g.10gb": 1, "3g.20gb": 1}})
    node = Node(tmp_path, layout, ["Disabled", "Disabled"], monkeypatch)
    node.started()
    assert node.did == ["reboot"]
    node.started_again()
    assert node.did == ["reboot", "mig -cgi 3g.20gb:0,2g.10gb:4,1g.5gb:6 -C"]


def test_other_pools_are_left_to_karpenter() -> None:
    for pool in (cpu_pool(), gpu_pool(ami=BOTTLEROCKET)):
        assert "userData" not in node_class(pool)
        assert node_class(pool)["instanceStorePolicy"] == "RAID0"


def test_images_of_a_snapshot_are_on_bottlerockets_data_volume() -> None:
    cache = {"method": "snapshot", "snapshotId": SNAPSHOT}
    system, data = node_class(gpu_pool(ami=BOTTLEROCKET, gpu={"imageCache": cache}))["blockDeviceMappings"]
    assert "snapshotID" not in system["ebs"]
    assert (data["deviceName"], data["ebs"]["snapshotID"]) == ("/dev/xvdb", SNAPSHOT)
    assert data["ebs"]["encrypted"]


def test_an_instances_own_disks_do_not_hide_the_images_of_a_snapshot() -> None:
    cache = {"method": "snapshot", "snapshotId": SNAPSHOT}
    assert "instanceStorePolicy" not in node_class(gpu_pool(ami=BOTTLEROCKET, gpu={"imageCache": cache}))


def test_bottlerockets_own_plugin_is_told_how_to_share() -> None:
    data = user_data(gpu_pool(ami=BOTTLEROCKET, gpu={"sharing": "time-slicing", "replicas": 4}))
    settings = tomllib.loads(data or "")["settings"]["kubelet-device-plugins"]["nvidia"]
    assert settings["device-sharing-strategy"] == "time-slicing"
    assert settings["time-slicing"] == {
        "replicas": 4,
        "rename-by-default": True,
        "fail-requests-greater-than-one": True,
    }


def test_bottlerocket_partitions_by_the_gpus_name() -> None:
    data = user_data(gpu_pool(**P4D, ami=BOTTLEROCKET, gpu={"sharing": "mig", "profile": "1g.5gb"}))
    settings = tomllib.loads(data or "")["settings"]["kubelet-device-plugins"]["nvidia"]
    assert settings == {"device-partitioning-strategy": "mig", "mig": {"profile": {"a100.40gb": "1g.5gb"}}}


def test_snapshot_that_pools_have_in_common_is_restored_fast_once_in_each_zone() -> None:
    cache = {"method": "snapshot", "snapshotId": SNAPSHOT, "fastRestore": True}
    one = gpu_pool(ami=BOTTLEROCKET, gpu={"imageCache": cache})
    other = gpu_pool(ami=BOTTLEROCKET, gpu={"imageCache": cache}, zones=["us-east-1b", "us-east-1c"])
    slow = gpu_pool(ami=BOTTLEROCKET, gpu={"imageCache": {**cache, "fastRestore": False}}, zones=["us-east-1d"])
    assert fast_restored({"one": one, "other": other, "slow": slow}) == [
        (SNAPSHOT, "us-east-1a"),
        (SNAPSHOT, "us-east-1b"),
        (SNAPSHOT, "us-east-1c"),
    ]
