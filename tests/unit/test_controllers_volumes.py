"""The stand-in of the EBS CSI driver: which volume a claim gets, and when a volume is deleted."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.controllers import volumes
from rehearsal.controllers.volumes import CannotProvision, Provision

NODES = {"node-a": "us-east-1a", "node-b": "us-east-1b"}
ZONES = ("us-east-1b", "us-east-1a")


def storage_class(**changes: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "gp3"},
        "provisioner": "ebs.csi.aws.com",
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
        **changes,
    }


def claim(node: str | None = None, size: str = "10Gi", phase: str = "Pending", **spec: Any) -> dict[str, Any]:
    annotations = {"volume.kubernetes.io/selected-node": node} if node else {}
    return {
        "metadata": {"name": "home", "namespace": "team-a", "uid": "1234", "annotations": annotations},
        "spec": {
            "storageClassName": "gp3",
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            **spec,
        },
        "status": {"phase": phase},
    }


def plan(of: dict[str, Any], **class_changes: Any) -> Provision | None:
    return volumes.plan(of, {"gp3": storage_class(**class_changes)}, NODES, ZONES)


def made(of: dict[str, Any], **class_changes: Any) -> Provision:
    provision = plan(of, **class_changes)
    assert provision
    return provision


class TestWhichClaims:
    @pytest.mark.parametrize(
        ("of", "expected"),
        [
            (claim(), True),
            (claim(phase="Bound"), False),
            (claim(volumeName="by-hand"), False),
            (claim(selector={"matchLabels": {"a": "b"}}), False),
            (claim(dataSource={"kind": "VolumeSnapshot", "name": "s"}), True),
            (claim(dataSource={"kind": "PersistentVolumeClaim", "name": "c"}), False),
        ],
    )
    def test_those_that_wait_for_a_volume_of_their_own(self, of: dict[str, Any], expected: bool) -> None:
        assert volumes.is_pending(of) is expected

    def test_not_one_that_is_on_its_way_out(self) -> None:
        leaving = claim()
        leaving["metadata"]["deletionTimestamp"] = "2026-09-01T00:00:00Z"
        assert not volumes.is_pending(leaving)

    def test_not_those_of_other_classes(self) -> None:
        assert plan(claim("node-a"), provisioner="efs.csi.aws.com") is None
        assert plan(claim("node-a", storageClassName="none")) is None
        assert plan(claim("node-a", storageClassName="")) is None


class TestWhere:
    def test_the_first_consumer_is_waited_for_and_its_nodes_zone_is_the_volumes(self) -> None:
        assert plan(claim()) is None
        assert made(claim("node-b")).zone == "us-east-1b"

    def test_a_node_that_has_gone_again_is_no_consumer(self) -> None:
        assert plan(claim("node-c")) is None

    def test_an_immediate_class_takes_a_zone_that_it_allows(self) -> None:
        assert made(claim(), volumeBindingMode="Immediate").zone == "us-east-1a"
        allowed = [{"matchLabelExpressions": [{"key": "topology.kubernetes.io/zone", "values": ["us-east-1b"]}]}]
        assert made(claim(), volumeBindingMode="Immediate", allowedTopologies=allowed).zone == "us-east-1b"
        with pytest.raises(CannotProvision, match="us-east-1a is not among"):
            plan(claim("node-a"), allowedTopologies=allowed)


class TestWhat:
    @pytest.mark.parametrize(("size", "gib"), [("10Gi", 10), ("1", 1), ("10G", 10), ("1.5Gi", 2), ("1Ti", 1024)])
    def test_sizes_are_whole_gib_and_never_less_than_asked(self, size: str, gib: int) -> None:
        assert made(claim("node-a", size)).size == gib

    def test_many_nodes_at_once_are_refused(self) -> None:
        with pytest.raises(CannotProvision, match="ReadWriteMany not supported"):
            plan(claim("node-a", accessModes=["ReadWriteMany"]))
        assert plan(claim("node-a", accessModes=["ReadWriteMany"], volumeMode="Block"))

    def test_the_classes_parameters_are_ec2s(self) -> None:
        plain = volumes.volume_request(made(claim("node-a")))
        assert plain == {"AvailabilityZone": "us-east-1a", "Size": 10, "VolumeType": "gp3", "Encrypted": False}
        parameters = {"type": "io2", "encrypted": "true", "kmsKeyId": "arn:key", "iops": "4000"}
        request = volumes.volume_request(made(claim("node-a"), parameters=parameters))
        assert request["Encrypted"] is True
        assert (request["VolumeType"], request["KmsKeyId"], request["Iops"]) == ("io2", "arn:key", 4000)

    def test_tags_say_whose_it_is(self) -> None:
        parameters = {"tagSpecification_1": "team={{ .PVCNamespace }}", "type": "gp3"}
        settings = {"controller": {"extraVolumeTags": {"Owner": "lab", "CSIVolumeName": "not-for-us"}}}
        tags = volumes.tags(made(claim("node-a"), parameters=parameters), "gpulab-dev", settings)
        expected = {
            "kubernetes.io/created-for/pvc/name": "home",
            "kubernetes.io/created-for/pvc/namespace": "team-a",
            "kubernetes.io/cluster/gpulab-dev": "owned",
            "team": "team-a",
            "Owner": "lab",
            "CSIVolumeName": "pvc-1234",
        }
        assert expected.items() <= tags.items()

    def test_the_volume_is_the_claims_and_stays_in_its_zone(self) -> None:
        volume = volumes.persistent_volume(made(claim("node-b"), reclaimPolicy="Retain"), "vol-1")
        spec = volume["spec"]
        assert spec["claimRef"]["uid"] == "1234"
        assert spec["csi"] == {"driver": "ebs.csi.aws.com", "volumeHandle": "vol-1", "fsType": "ext4"}
        assert spec["persistentVolumeReclaimPolicy"] == "Retain"
        (term,) = spec["nodeAffinity"]["required"]["nodeSelectorTerms"]
        assert term["matchExpressions"][0]["values"] == ["us-east-1b"]


@pytest.mark.parametrize(
    ("policy", "phase", "driver", "expected"),
    [
        ("Delete", "Released", "ebs.csi.aws.com", True),
        ("Delete", "Bound", "ebs.csi.aws.com", False),
        ("Retain", "Released", "ebs.csi.aws.com", False),
        ("Delete", "Released", "efs.csi.aws.com", False),
    ],
)
def test_a_volume_goes_when_its_claim_has_gone(policy: str, phase: str, driver: str, expected: bool) -> None:
    volume = {
        "metadata": {"name": "pvc-1234", "annotations": {"pv.kubernetes.io/provisioned-by": driver}},
        "spec": {"persistentVolumeReclaimPolicy": policy},
        "status": {"phase": phase},
    }
    assert volumes.is_to_go(volume) is expected


@pytest.mark.parametrize(("made_with", "policy", "held"), [("Delete", "Delete", False), ("Delete", "Retain", True)])
def test_a_volume_whose_policy_was_changed_can_be_deleted_without_its_disk(
    made_with: str, policy: str, held: bool
) -> None:
    volume = volumes.persistent_volume(made(claim("node-b"), reclaimPolicy=made_with), "vol-1")
    volume["spec"]["persistentVolumeReclaimPolicy"] = policy
    assert volumes.is_kept(volume) is held


def test_a_volume_that_is_kept_from_the_first_is_never_held() -> None:
    volume = volumes.persistent_volume(made(claim("node-b"), reclaimPolicy="Retain"), "vol-1")
    assert volume["metadata"]["finalizers"] == []
