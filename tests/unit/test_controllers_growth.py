"""The stand-in of external-resizer: disks that grow with their claims, and what EC2 refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError

from rehearsal.controllers.growth import Growth
from rehearsal.controllers.volumes import CLAIMS, VOLUMES
from rehearsal.controllers.world import PODS, World

CLAIM = "/api/v1/namespaces/team-a/persistentvolumeclaims/home-ada"
VOLUME = "/api/v1/persistentvolumes/pvc-1"


def claim(asks: str, has: str) -> dict[str, Any]:
    return {
        "metadata": {"name": "home-ada", "namespace": "team-a", "uid": "1"},
        "spec": {"volumeName": "pvc-1", "resources": {"requests": {"storage": asks}}},
        "status": {"phase": "Bound", "capacity": {"storage": has}},
    }


def volume(size: str, driver: str = "ebs.csi.aws.com") -> dict[str, Any]:
    return {
        "metadata": {"name": "pvc-1", "annotations": {"pv.kubernetes.io/provisioned-by": driver}},
        "spec": {"capacity": {"storage": size}, "csi": {"volumeHandle": "vol-1"}},
    }


def pod(phase: str) -> dict[str, Any]:
    mounted = {"name": "homes", "persistentVolumeClaim": {"claimName": "home-ada"}}
    return {"metadata": {"namespace": "team-a"}, "spec": {"volumes": [mounted]}, "status": {"phase": phase}}


class Lab:
    """Runs a round over these objects; EC2's volume has `size` GiB."""

    def __init__(self, *, size: int = 20, addon: bool = True) -> None:
        self.ec2, self.kubernetes = mock.Mock(), mock.Mock()
        self.ec2.describe_volumes.side_effect = lambda VolumeIds: {"Volumes": [{"Size": size}]}  # noqa: N803
        eks = mock.MagicMock(exceptions=mock.Mock(ResourceNotFoundException=KeyError))
        if not addon:
            eks.describe_addon.side_effect = KeyError
        aws = mock.Mock(client={"ec2": self.ec2, "eks": eks}.get, clusters=lambda: ["lab"])
        self.world = World(kubernetes=self.kubernetes, aws=aws, folder=Path(), zones=())

    def run(self, *, claims: Any = (), volumes: Any = (), pods: Any = ()) -> dict[str, Any]:
        """What the objects are changed to, by path."""
        self.kubernetes.list.side_effect = lambda path: {CLAIMS: claims, VOLUMES: volumes, PODS: pods}[path]
        Growth().reconcile(self.world)
        return {call.args[0]: call.args[1] for call in self.kubernetes.patch.call_args_list}


def test_a_disk_grows_and_its_file_system_waits_for_a_pod() -> None:
    lab = Lab()
    changes = lab.run(claims=[claim("40Gi", "20Gi")], volumes=[volume("20Gi")])
    lab.ec2.modify_volume.assert_called_once_with(VolumeId="vol-1", Size=40)
    assert changes[VOLUME] == {"spec": {"capacity": {"storage": "40Gi"}}}
    (condition,) = changes[f"{CLAIM}/status"]["status"]["conditions"]
    assert condition["type"] == "FileSystemResizePending"


@pytest.mark.parametrize(("phase", "filled"), [("Running", True), ("Pending", False)])
def test_the_file_system_fills_it_once_a_pod_has_it_mounted(phase: str, filled: bool) -> None:
    changes = Lab(size=40).run(claims=[claim("40Gi", "20Gi")], volumes=[volume("40Gi")], pods=[pod(phase)])
    expected = {f"{CLAIM}/status": {"status": {"capacity": {"storage": "40Gi"}, "conditions": []}}}
    assert changes == (expected if filled else {})


def test_ec2_is_asked_once_for_a_size() -> None:
    lab = Lab(size=40)
    changes = lab.run(claims=[claim("40Gi", "20Gi")], volumes=[volume("20Gi")])
    lab.ec2.modify_volume.assert_not_called()
    assert VOLUME in changes


def test_what_ec2_refuses_is_told_at_the_claim_and_changes_nothing() -> None:
    lab = Lab()
    refusal = {"Error": {"Code": "VolumeModificationRateExceeded", "Message": "too often"}}
    lab.ec2.modify_volume.side_effect = ClientError(refusal, "ModifyVolume")
    assert not lab.run(claims=[claim("40Gi", "20Gi")], volumes=[volume("20Gi")])
    (event,) = [call.args[1] for call in lab.kubernetes.create.call_args_list]
    assert event["reason"] == "VolumeResizeFailed"
    assert "VolumeModificationRateExceeded" in event["message"]


@pytest.mark.parametrize(
    ("asks", "driver", "addon"),
    [
        ("20Gi", "ebs.csi.aws.com", True),
        ("40Gi", "somebody.else", True),
        ("40Gi", "ebs.csi.aws.com", False),
    ],
)
def test_nothing_grows_that_wants_no_more_or_has_no_driver(asks: str, driver: str, addon: bool) -> None:
    lab = Lab(addon=addon)
    assert not lab.run(claims=[claim(asks, "20Gi")], volumes=[volume("20Gi", driver)])
    lab.ec2.modify_volume.assert_not_called()
