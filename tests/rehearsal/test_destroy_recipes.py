"""The recipes of docs/destroy.md on a small lab: with its commands, a stuck destroy completes.

Those for an engine that was killed are in test_killed_engine.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from components.ground.system_nodes import SYSTEM_NODE_LABELS, SYSTEM_TOLERATION
from rehearsal.checks.leftovers import kubernetes_objects
from rehearsal.checks.pods import until
from rehearsal.controllers.world import PODS, Kubernetes, Object, place
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.toolchain import Toolchain
from rehearsal.phases import Options, Rehearsal
from rehearsal.providers.kubernetes.deleting import LONGEST
from tests.rehearsal import bare_pods, labs
from tests.rehearsal.labs import SharedLab, small_stack
from tests.rehearsal.recipes import follow, follow_well, recipes, with_real_aws
from tests.reports.aws_lines import CommandLine

pytestmark = pytest.mark.seconds(200)

PATIENCE = 240
HOLD = "tests.gpulab.dev/hold"
CLAIMS, DEPLOYMENTS = "/api/v1/persistentvolumeclaims", "/apis/apps/v1/deployments"
NODE_POOL = "/apis/karpenter.sh/v1/nodepools/cpu"


@pytest.fixture(scope="module")
def shared(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedLab]:
    stack_file = small_stack(tmp_path_factory.mktemp("stack"))
    made = SharedLab(Options(stack_file=stack_file, stack="dev"))
    yield made
    made.end()


@pytest.fixture
def lab(shared: SharedLab) -> Rehearsal:
    """A small lab, up."""
    return shared.up()


def kubernetes_of(plane: ControlPlane) -> Kubernetes:
    return Kubernetes(plane.kubeconfig)


def left_in_aws(rehearsal: Rehearsal) -> set[str]:
    return rehearsal.account.holdings() - rehearsal.aws_before


def left_in_kubernetes(rehearsal: Rehearsal) -> set[str]:
    return kubernetes_objects(rehearsal.plane) - rehearsal.kubernetes_before


def assert_gone(rehearsal: Rehearsal) -> None:
    assert rehearsal.engine.resources() == []
    assert left_in_aws(rehearsal) == set()
    assert left_in_kubernetes(rehearsal) == set()


def run_pod(kubernetes: Kubernetes) -> None:
    """A pod on a node that Karpenter bought for it."""
    pod: Object = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "notebook"},
        "spec": {
            "nodeSelector": {"gpulab.dev/pool": "cpu"},
            "containers": [{"name": "main", "image": "main", "resources": {"requests": {"cpu": "1"}}}],
        },
    }
    bare_pods.run(kubernetes, place(PODS, "notebook", "default"), pod, seconds=PATIENCE)


def test_the_document_has_a_test_for_each_of_its_recipes() -> None:
    here = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert [name for name in recipes() if f'"{name}"' not in here] == []


def test_a_state_in_a_folder_whose_attributes_were_cut_off_loads_again(toolchain: Toolchain, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("{name: lab, runtime: python}", encoding="utf-8")
    environment = {
        "PATH": os.pathsep.join([*{str(path.parent) for path in toolchain.paths.values()}, os.environ["PATH"]]),
        "HOME": str(tmp_path),
        # By its path: for ~ the engine asks the system, not HOME, and would write to the home of whoever tests.
        "PULUMI_BACKEND_URL": tmp_path.as_uri(),
        "PULUMI_HOME": str(tmp_path / ".pulumi"),
        "PULUMI_CONFIG_PASSPHRASE": "passphrase",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }

    def run(line: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-c", line]
        return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)

    assert run("pulumi stack init dev --non-interactive").returncode == 0
    (attributes,) = (tmp_path / ".pulumi" / "stacks").rglob("dev.json.attrs")
    attributes.write_text("", encoding="utf-8")  # as an engine leaves it that is killed right after it opened it
    broken = run("pulumi stack export")
    assert broken.returncode != 0
    assert "failed to load checkpoint: EOF" in broken.stderr
    for line in recipes()["cut-off-attributes"]:
        assert run(line).returncode == 0
    assert run("pulumi stack export").returncode == 0


def test_a_state_that_was_lost_comes_back_from_a_copy(lab: Rehearsal) -> None:
    follow_well(lab, recipes()["copy-of-the-state"])
    shutil.rmtree(lab.session.folder / "state" / ".pulumi" / "stacks")
    follow_well(lab, recipes()["state-from-a-copy"])
    assert_gone(lab)


def test_what_holds_an_object_is_named_and_let_go(lab: Rehearsal) -> None:
    """Like a NodePool whose controller is gone: nothing removes its finalizer."""
    hold = {"metadata": {"finalizers": [HOLD]}}
    lab.plane.request("PATCH", NODE_POOL, hold, "application/merge-patch+json")
    patient = lab.workspace
    lab.engine.workspace = replace(patient, environment={**patient.environment, LONGEST: "15"})
    stuck = lab.engine.run("destroy", "--yes", "--skip-preview")
    lab.engine.workspace = patient
    assert not stuck.ok
    assert "NodePool" in "\n".join(stuck.errors)
    said = follow_well(lab, recipes()["what-holds"])
    assert f'NodePool /cpu held by ["{HOLD}"]' in said
    follow_well(lab, recipes()["let-go"])
    assert_gone(lab)


@pytest.fixture
def lab_with_people(toolchain: Toolchain, tmp_path: Path) -> Iterator[Rehearsal]:
    """A small lab with a hub that is up, for a test that leaves it unusable."""
    with labs.lab(Options(stack_file=small_stack(tmp_path, people=True), stack="dev")) as made:
        if not made.workspace.has_real_aws:
            pytest.skip("there is no aws CLI that runs")
        made.up()
        yield made


def test_a_cluster_that_was_deleted_by_hand(lab_with_people: Rehearsal, tmp_path: Path) -> None:
    lab = lab_with_people
    run_pod(kubernetes_of(lab.plane))
    # A pod can run before its instance is there, and of a cluster that is gone nobody makes one.
    until(lambda: any("ec2 Instances" in one for one in left_in_aws(lab)), "the node has an instance", seconds=PATIENCE)
    eks = lab.account.client("eks")
    cluster = lab.settings.cluster.name
    for group in eks.list_nodegroups(clusterName=cluster)["nodegroups"]:
        eks.delete_nodegroup(clusterName=cluster, nodegroupName=group)
    eks.delete_cluster(name=cluster)
    end_api_server(lab)
    # A destroy would say so too, but for the gate, which waits a quarter of an hour for the API server first.
    plain = lab.engine.run("refresh", "--yes", "--skip-preview")
    assert not plain.ok
    assert "PULUMI_K8S_DELETE_UNREACHABLE" in "\n".join(plain.errors)
    with_real_aws(lab, tmp_path)
    *lines, report = recipes()["cluster-gone"]
    follow_well(lab, lines)
    assert lab.engine.resources() == []
    # Karpenter made them, and nobody was there to take them along.
    assert {name.rpartition(" ")[0] for name in left_in_aws(lab)} == {"ec2 LaunchTemplates", "iam InstanceProfiles"}
    found = follow(lab, [report])
    assert found.returncode == 1, found.stderr
    CommandLine(lab.account).carry_out(removals(found.stdout))
    assert left_in_aws(lab) == set()


def removals(printed: str) -> list[str]:
    """The lines that a leftover report ends with."""
    return [line.strip() for line in printed.splitlines() if line.startswith(("  aws ", "  (tries="))]


def end_api_server(rehearsal: Rehearsal) -> None:
    """And all that would ask it."""
    for process in rehearsal.session.processes.running():
        if "rehearsal.cloud.server" not in process.cmdline():
            process.kill()
            process.wait(PATIENCE)


def hold_disk(kubernetes: Kubernetes) -> None:
    """Like the hub's SQLite file: a claim for a disk, whose pod runs on a system node and is made again."""
    kubernetes.create(place("/api/v1/namespaces", "hub"), {"metadata": {"name": "hub"}})
    claim = {
        "metadata": {"name": "hub-db-dir"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "4Gi"}}},
    }
    kubernetes.create(place(CLAIMS, "hub-db-dir", "hub"), claim)
    labels = {"app": "hub"}
    pod = {
        "nodeSelector": SYSTEM_NODE_LABELS,
        "tolerations": [SYSTEM_TOLERATION],
        "volumes": [{"name": "db", "persistentVolumeClaim": {"claimName": "hub-db-dir"}}],
        "containers": [{"name": "main", "image": "main", "volumeMounts": [{"name": "db", "mountPath": "/srv"}]}],
    }
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    kubernetes.create(place(DEPLOYMENTS, "hub", "hub"), {"metadata": {"name": "hub"}, "spec": spec})
    until(
        lambda: any(one["status"].get("phase") == "Running" for one in kubernetes.list(PODS, labelSelector="app=hub")),
        "who holds the disk runs",
        seconds=PATIENCE,
    )


def test_with_no_state_at_all_the_leftover_report_has_the_lines(lab: Rehearsal) -> None:
    run_pod(kubernetes_of(lab.plane))
    hold_disk(kubernetes_of(lab.plane))
    shutil.rmtree(lab.session.folder / "state" / ".pulumi" / "stacks")
    *in_cluster, report = recipes()["no-state"]
    follow_well(lab, in_cluster)
    found = follow(lab, [report])
    assert found.returncode == 1, found.stderr
    lines = removals(found.stdout)
    assert any("delete-cluster" in line for line in lines)
    typed = CommandLine(lab.account)
    for line in lines:
        try:
            typed.carry_out([line])
        except ClientError as error:
            # What went with another: whoever types the lines sees it, and goes on.
            if "NotFound" not in error.response["Error"]["Code"]:
                raise
    again = follow(lab, [report])
    assert again.returncode == 0, again.stdout
    assert left_in_aws(lab) == set()
