"""Volumes of a team on the real engine, API server, scheduler and Karpenter: bound, in any zone, freed in order."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from botocore.exceptions import ClientError

from components.storage import volumes
from rehearsal.checks import pods
from rehearsal.checks.destroy_order import destroyed_in_order
from rehearsal.controllers.snapshots import CONTENTS, SNAPSHOTS
from rehearsal.controllers.world import Kubernetes, Object, place
from rehearsal.machine.engine import Result
from rehearsal.machine.toolchain import Toolchain
from rehearsal.run import Options, Rehearsal
from settings import Storage
from settings.files import SCRATCH
from tests.rehearsal import bare_pods
from tests.rehearsal.labs import changed, lab
from tests.rehearsal.recipes import follow_well, recipes, with_real_aws

pytestmark = pytest.mark.seconds(150)

PROGRAM = Path(__file__).parent / "programs" / "team"
TEAM, NAMESPACE = "ml", "team-ml"
ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
CLAIMS, VOLUMES, PODS, NODES = (
    f"/api/v1/{plural}" for plural in ("persistentvolumeclaims", "persistentvolumes", "pods", "nodes")
)
FILE_SYSTEM = "aws:efs/fileSystem:FileSystem"
KEPT = {
    "aws:backup/vault:Vault",
    "aws:efs/fileSystemPolicy:FileSystemPolicy",
    "aws:kms/alias:Alias",
    "aws:kms/key:Key",
    FILE_SYSTEM,
}
HOLD = "tests.gpulab.dev/hold"
PATIENCE_SECONDS = 240

Found = TypeVar("Found")


@pytest.fixture(scope="module")
def team(toolchain: Toolchain) -> Iterator[Rehearsal]:
    """The platform with one team; each test brings it up and down."""
    options = Options(stack_file=PROGRAM / "Pulumi.team.yaml", stack="team", project=PROGRAM)
    with lab(options) as rehearsal:
        yield rehearsal


def until(look: Callable[[], Found | None], what: str) -> Found:
    return pods.until(look, what, seconds=PATIENCE_SECONDS)


def notebook(person: str, zone: str, storage: Storage) -> Object:
    """A notebook of a data scientist, as the hub will start it, with its home, every volume of the team and scratch."""
    mounts = volumes.pod_mounts(TEAM, "data-scientist", person, storage)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": person, "namespace": NAMESPACE},
        "spec": {
            "nodeSelector": {"gpulab.dev/pool": "cpu", "topology.kubernetes.io/zone": zone},
            "containers": [
                {
                    "name": "notebook",
                    "image": "jupyter/base-notebook",
                    "resources": {kind: {"ephemeral-storage": "10Gi"} for kind in ("requests", "limits")},
                    "volumeMounts": [*mounts, {"name": "scratch", "mountPath": SCRATCH}],
                }
            ],
            "volumes": [
                *volumes.pod_volumes(TEAM, person, storage),
                {"name": "scratch", "emptyDir": {"sizeLimit": "10Gi"}},
            ],
        },
    }


def run_notebook(kubernetes: Kubernetes, person: str, zone: str, storage: Storage, *, claim: Object) -> None:
    """A notebook and the claim of its own disk."""
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", **claim}
    kubernetes.create(place(CLAIMS, claim["metadata"]["name"], NAMESPACE), claim)
    kubernetes.create(place(PODS, person, NAMESPACE), notebook(person, zone, storage))


def take_snapshot(kubernetes: Kubernetes, person: str) -> None:
    """A snapshot of a person's disk, ready to use, of the class that is the default."""
    snapshot = {
        "apiVersion": "snapshot.storage.k8s.io/v1",
        "kind": "VolumeSnapshot",
        "metadata": {"name": person, "namespace": NAMESPACE},
        "spec": {"source": {"persistentVolumeClaimName": volumes.home_claim_name(person)}},
    }
    path = place(SNAPSHOTS, person, NAMESPACE)
    kubernetes.create(path, snapshot)
    until(lambda: ((kubernetes.get(path) or {}).get("status") or {}).get("readyToUse"), "the snapshot is taken")


def claim_of(kubernetes: Kubernetes, name: str) -> Object:
    found = kubernetes.get(place(CLAIMS, name, NAMESPACE))
    assert found, f"there is no claim {name}"
    return found


def disk_of(kubernetes: Kubernetes, person: str) -> Object:
    """The volume of a person's own claim."""
    claim = claim_of(kubernetes, volumes.home_claim_name(person))
    found = kubernetes.get(place(VOLUMES, claim["spec"]["volumeName"]))
    assert found, f"the claim of {person} has no volume"
    return found


def handle_of(volume: Object) -> str:
    return volume["spec"]["csi"]["volumeHandle"]


def zone_of_volume(volume: Object) -> str:
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    return term["matchExpressions"][0]["values"][0]


def event_log(rehearsal: Rehearsal) -> str:
    return "".join(path.read_text(encoding="utf-8") for path in rehearsal.session.logs.glob("*destroy.events.json"))


def begin_destroy(rehearsal: Rehearsal) -> tuple[threading.Thread, list[Result]]:
    """A destroy that runs while the test checks."""
    results: list[Result] = []
    command = ("destroy", "--yes", "--skip-preview")
    thread = threading.Thread(target=lambda: results.append(rehearsal.engine.run(*command)))
    thread.start()
    return thread, results


def start_notebooks(kubernetes: Kubernetes, storage: Storage) -> dict[str, Object]:
    """A notebook in each zone: the disk that each of them got, by person."""
    people = {f"person-{zone[-1]}": zone for zone in ZONES}
    for person, zone in people.items():
        claim = volumes.home_claim(NAMESPACE, person, storage)
        run_notebook(kubernetes, person, zone, storage, claim=claim)
    disks = {}
    for person, zone in people.items():
        path = place(PODS, person, NAMESPACE)
        pod = bare_pods.run(kubernetes, path, notebook(person, zone, storage), seconds=PATIENCE_SECONDS)
        node = kubernetes.get(place(NODES, pod["spec"]["nodeName"]))
        assert node
        assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == zone
        disk = disk_of(kubernetes, person)
        assert zone_of_volume(disk) == zone
        disks[person] = disk
    return disks


def move_disk(kubernetes: Kubernetes, ec2: Any, disk: Object, storage: Storage) -> None:
    """A snapshot takes person-b's disk into another zone."""
    take_snapshot(kubernetes, "person-b")
    claim = volumes.home_claim(NAMESPACE, "moved", storage)
    claim["spec"]["dataSource"] = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "person-b"}
    run_notebook(kubernetes, "moved", "us-east-1c", storage, claim=claim)
    until(lambda: claim_of(kubernetes, "home-moved")["spec"].get("volumeName"), "the disk is restored")
    restored = disk_of(kubernetes, "moved")
    assert zone_of_volume(disk) == "us-east-1b"
    assert zone_of_volume(restored) == "us-east-1c"
    (made,) = ec2.describe_volumes(VolumeIds=[handle_of(restored)])["Volumes"]
    (taken,) = ec2.describe_snapshots(Filters=[{"Name": "volume-id", "Values": [handle_of(disk)]}])["Snapshots"]
    assert made["SnapshotId"] == taken["SnapshotId"]


def restore_home(team: Rehearsal, kubernetes: Kubernetes, storage: Storage, folder: Path) -> None:
    """Restores person-c's home from a backup with the recipes of docs/backup.md, and cleans up as they say."""
    backup, ec2 = team.account.client("backup"), team.account.client("ec2")
    old = disk_of(kubernetes, "person-c")
    (vault,) = backup.list_backup_vaults()["BackupVaultList"]
    identity = team.account.client("sts").get_caller_identity()["Account"]
    made = backup.start_backup_job(
        BackupVaultName=vault["BackupVaultName"],
        ResourceArn=f"arn:aws:ec2:{team.settings.region}:{identity}:volume/{handle_of(old)}",
        IamRoleArn=f"arn:aws:iam::{identity}:role/backup",
    )
    kubernetes.delete(place(PODS, "person-c", NAMESPACE))
    until(lambda: kubernetes.get(place(PODS, "person-c", NAMESPACE)) is None, "the notebook has stopped")
    claim = volumes.home_claim_name("person-c")
    quick = team.workspace
    with_real_aws(team, folder)
    named = f"export NAMESPACE={NAMESPACE} CLAIM={claim} CLUSTER={team.settings.cluster.name}"
    found = recipes()["find-a-home-in-the-backups"]
    follow_well(team, [named, *found, *recipes()["home-from-a-backup"]])
    team.workspace = quick

    pod = place(PODS, "person-c", NAMESPACE)
    bare_pods.run(kubernetes, pod, notebook("person-c", "us-east-1a", storage), seconds=PATIENCE_SECONDS)
    restored = disk_of(kubernetes, "person-c")
    (volume,) = ec2.describe_volumes(VolumeIds=[handle_of(restored)])["Volumes"]
    assert volume["SnapshotId"] == made["RecoveryPointArn"].rpartition("/")[2]
    (kept,) = ec2.describe_volumes(VolumeIds=[handle_of(old)])["Volumes"]
    kubernetes.delete(place(SNAPSHOTS, f"{claim}-restored", NAMESPACE))
    kubernetes.delete(place(CONTENTS, f"{NAMESPACE}-{claim}-restored"))
    kubernetes.delete(place(VOLUMES, old["metadata"]["name"]))
    ec2.delete_volume(VolumeId=kept["VolumeId"])


def destroy_with_a_slow_disk(team: Rehearsal, kubernetes: Kubernetes, disk: Object) -> Result:
    """A destroy while EC2 takes long to delete a disk, which a finalizer simulates."""
    name, finalizers = disk["metadata"]["name"], disk["metadata"]["finalizers"]
    kubernetes.patch(place(VOLUMES, name), {"metadata": {"finalizers": [*finalizers, HOLD]}})
    destroy, results = begin_destroy(team)
    try:
        until(lambda: f"Waiting for 1 PersistentVolume: {name}" in event_log(team), "the gate says what it waits for")
        time.sleep(3)
        assert kubernetes.get(f"/api/v1/namespaces/{NAMESPACE}") is None
        addons = team.account.client("eks").list_addons(clusterName=team.settings.cluster.name)["addons"]
        assert {"aws-ebs-csi-driver", "aws-efs-csi-driver"} <= set(addons)
        assert kubernetes.list("/apis/karpenter.sh/v1/nodepools")
    finally:
        kubernetes.patch(place(VOLUMES, name), {"metadata": {"finalizers": None}})
        destroy.join()
    return results[0]


def test_volumes_follow_the_notebook_and_go_before_their_drivers(team: Rehearsal, tmp_path: Path) -> None:
    team.up()
    kubernetes, ec2 = Kubernetes(team.plane.kubeconfig), team.account.client("ec2")
    storage = team.settings.storage
    for volume in volumes.team_volumes(TEAM, storage):
        assert claim_of(kubernetes, volume.name)["status"]["phase"] == "Bound"
    disks = start_notebooks(kubernetes, storage)

    # What the driver makes is encrypted by the stack's key, and carries the stack's tags.
    handles = [handle_of(disk) for disk in disks.values()]
    (key,) = {one["outputs"]["kmsKeyId"] for one in team.engine.resources() if one["type"] == FILE_SYSTEM}
    for disk in ec2.describe_volumes(VolumeIds=handles)["Volumes"]:
        assert disk["Encrypted"]
        assert disk["KmsKeyId"] == key
        assert {"Key": "Owner", "Value": "ml-platform@example.com"} in disk["Tags"]
    move_disk(kubernetes, ec2, disks["person-b"], storage)
    if team.workspace.has_real_aws:
        restore_home(team, kubernetes, storage, tmp_path)

    team.check()
    assert [check.detail for check in team.report.checks if check.ok is False] == []

    result = destroy_with_a_slow_disk(team, kubernetes, disks["person-a"])
    assert result.ok, result.output
    assert "The last PersistentVolume was gone after" in result.output
    assert destroyed_in_order(result).ok
    team.look_for_leftovers()
    assert team.report.left is not None
    assert team.report.left.as_json()["names"] == {"state": [], "aws": [], "kubernetes": [], "processes": []}
    with pytest.raises(ClientError):
        ec2.describe_volumes(VolumeIds=handles)


def test_a_destroy_keeps_what_is_retained_and_says_so(team: Rehearsal) -> None:
    rehearsal = changed(team, "gpulab:storage", retain=True)
    rehearsal.up()
    state = rehearsal.engine.resources()
    data = {one["type"]: one["id"] for one in state if one["type"] in KEPT and "-secrets" not in one["urn"]}
    assert data.keys() == KEPT
    rehearsal.destroy()
    rehearsal.look_for_leftovers()
    said = "".join(path.read_text(encoding="utf-8") for path in rehearsal.session.logs.glob("*destroy.log"))
    report = rehearsal.report
    efs = rehearsal.account.client("efs")
    policy = efs.describe_file_system_policy(FileSystemId=data[FILE_SYSTEM])["Policy"]
    # Nothing goes by itself: who deletes the file system behind the report's back is found out.
    efs.delete_file_system(FileSystemId=data[FILE_SYSTEM])
    rehearsal.look_for_leftovers()
    assert json.loads(policy)["Statement"]
    # The policy is a part of the file system.
    assert {name.rpartition(" ")[2] for name in report.retained} < set(data.values())
    for type_ in KEPT:
        # The engine leaves the second part of a type's name out: aws:efs:FileSystem.
        shown = re.sub(r"/\w+", "", type_)
        assert [line for line in said.splitlines() if f" {shown} " in line and "[retain]" in line], shown
    first, second = [check for check in report.checks if check.name == "retained resources are kept"]
    assert first.ok
    assert all(id in first.detail for id in data.values())
    assert not second.ok
    assert data[FILE_SYSTEM] in second.detail
    assert report.left is not None
    assert report.left.as_json()["names"] == {"state": [], "aws": [], "kubernetes": [], "processes": []}
