"""What a pool's image is told beyond what Karpenter writes."""

from __future__ import annotations

import email
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from gpu_pools import BOTTLEROCKET, P4D, gpu_pool

from components.node_pools import ec2_node_class_spec, fast_restored
from components.user_data import MIG_MODE, user_data
from settings import NodePool

SNAPSHOT = "snap-0123456789abcdef0"


def node_class(pool: NodePool) -> dict[str, Any]:
    return ec2_node_class_spec(pool, cluster_name="lab", node_role_name="node", tags={})


def test_images_are_pulled_in_parallel_onto_the_nvme_disks() -> None:
    spec = node_class(gpu_pool(gpu={"imageCache": {"method": "soci"}}))
    config = yaml.safe_load(spec["userData"])
    assert config["spec"]["featureGates"] == {"FastImagePull": True}
    assert config["apiVersion"] == "node.eks.aws/v1alpha1"
    assert spec["instanceStorePolicy"] == "RAID0"


def test_gpus_are_in_mig_mode_before_kubelet_starts() -> None:
    sliced = gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "1g.5gb"})
    assert (user_data(sliced) or "").startswith("#!/bin/bash\n")
    both = gpu_pool(**P4D, gpu={"sharing": "mig", "profile": "1g.5gb", "imageCache": {"method": "soci"}})
    parts = {part.get_content_type(): part for part in email.message_from_string(user_data(both) or "").walk()}
    assert str(parts["text/x-shellscript"].get_payload()).strip() == (user_data(sliced) or "").strip()
    config = yaml.safe_load(str(parts["application/node.eks.aws"].get_payload()))
    assert config["spec"]["featureGates"] == {"FastImagePull": True}


@pytest.mark.parametrize(
    ("modes", "starts_anew"),
    [(["Disabled", "Disabled"], True), (["Enabled", "Enabled"], False), ([], False)],
    ids=["an A100's", "an H100's", "no driver"],
)
def test_an_instance_starts_anew_once_where_its_gpus_need_it(
    modes: list[str], starts_anew: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`modes` are those that the GPUs have after the command: a change of an A100's waits for a reset."""
    commands = {
        "nvidia-smi": f"case $1 in --query*) printf '%s\\n' {' '.join(modes)};; -L) exit {0 if modes else 9};; esac",
        "systemctl": f'echo "$1" >> {tmp_path}/done',
        "sleep": "exit 0",
        "seq": "echo 1",
    }
    for name, text in commands.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script = MIG_MODE.replace("/var/lib/gpulab-mig-mode", f"{tmp_path}/once")
    for _ in range(2):
        subprocess.run(["bash", "-c", script], check=False, capture_output=True)
    done = tmp_path / "done"
    assert (done.read_text(encoding="utf-8") if done.exists() else "") == ("reboot\n" if starts_anew else "")


def test_other_pools_are_left_to_karpenter() -> None:
    for pool in (gpu_pool(), gpu_pool(ami=BOTTLEROCKET), gpu_pool(gpu={"sharing": "mps", "replicas": 2})):
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
