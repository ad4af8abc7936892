"""Two wrong orders of destruction, which hang or leave costs on AWS: the rehearsal names what is left."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from changed_program import change, copied_program

from rehearsal.checks.pods import DO_NOT_DISRUPT, until
from rehearsal.controllers.world import NODE_CLAIMS, PODS, Kubernetes, Object, place
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.toolchain import Toolchain
from rehearsal.phases import Options, PhaseFailed, Rehearsal
from rehearsal.providers.kubernetes.deleting import LONGEST
from tests.rehearsal import bare_pods
from tests.rehearsal.labs import lab, small_stack

pytestmark = pytest.mark.seconds(100)

PATIENCE = 240
CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
NAMESPACE = "default"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the program, whose components may be changed."""
    return copied_program(tmp_path / "program")


@pytest.fixture
def rehearsal(toolchain: Toolchain, project: Path, tmp_path: Path) -> Iterator[Rehearsal]:
    """A small lab of that copy, up."""
    with lab(Options(stack_file=small_stack(tmp_path), stack="dev", project=project)) as staging:
        staging.up()
        yield staging


def kubernetes_of(plane: ControlPlane) -> Kubernetes:
    return Kubernetes(plane.kubeconfig)


def run_pod(kubernetes: Kubernetes, name: str, spec: Object) -> None:
    """A pod that must not be disrupted, once it runs."""
    path = place(PODS, name, NAMESPACE)
    metadata = {"name": name, "annotations": {DO_NOT_DISRUPT: "true"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    bare_pods.run(kubernetes, path, pod, seconds=PATIENCE)


@pytest.mark.xdist_group("pools that outlive Karpenter")
def test_pools_that_outlive_karpenter_leave_nodes_and_instances(rehearsal: Rehearsal, project: Path) -> None:
    kubernetes = kubernetes_of(rehearsal.plane)
    run_pod(
        kubernetes,
        "notebook",
        {
            "nodeSelector": {"gpulab.dev/pool": "cpu"},
            "containers": [{"name": "main", "image": "main", "resources": {"requests": {"cpu": "1"}}}],
        },
    )
    # A pod can run before its NodeClaim says on which node.
    claim = until(
        lambda: next((one for one in kubernetes.list(NODE_CLAIMS) if one.get("status", {}).get("nodeName")), None),
        "its NodeClaim names its node",
        seconds=PATIENCE,
    )
    # Somebody takes an edge for superfluous; the state learns of it with the next update. The engine deletes in the
    # reverse of the order in which things could have been made at the earliest, by which pools would still go first:
    # so Karpenter waits for storage here.
    ground = project / "components" / "ground" / "eks.py"
    change(ground, r"after\(in_cluster, self\._karpenter, storage\)", "after(in_cluster, cluster)")
    change(ground, r"(args\.karpenter\(cluster, controller_after=)\[cluster\]", r"\1[cluster, storage]")
    rehearsal.up()

    environment = {**rehearsal.workspace.environment, LONGEST: "20"}
    rehearsal.engine.workspace = replace(rehearsal.workspace, environment=environment)
    with pytest.raises(PhaseFailed, match=r"NodePool.* was not deleted: not within 20 s"):
        rehearsal.destroy()
    rehearsal.look_for_leftovers()
    left = rehearsal.report.left
    assert left
    assert f"NodeClaim {claim['metadata']['name']}" in left.kubernetes
    assert f"Node {claim['status']['nodeName']}" in left.kubernetes
    assert any(name.startswith("ec2 Instances i-") for name in left.aws)
    assert any("NodePool" in name for name in left.state)
    assert not rehearsal.report.ok


@pytest.mark.xdist_group("claims that outlive their driver")
def test_claims_that_outlive_the_csi_driver_leave_volumes(rehearsal: Rehearsal, project: Path) -> None:
    kubernetes = kubernetes_of(rehearsal.plane)
    claim: Object = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "home"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
    }
    kubernetes.create(place(CLAIMS, "home", NAMESPACE), claim)
    run_pod(
        kubernetes,
        "notebook",
        {
            "tolerations": [{"operator": "Exists", "key": "CriticalAddonsOnly"}],
            "containers": [{"name": "main", "image": "main"}],
            "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": "home"}}],
        },
    )
    (volume,) = (one for one in kubernetes.list(VOLUMES) if one["spec"]["claimRef"]["namespace"] == NAMESPACE)
    # The gate and the pools no longer wait for the drivers.
    components = project / "components"
    ground = components / "ground" / "eks.py"
    change(ground, r"depends_on=\[\*self\.drivers, \*self\.nodes\]", "depends_on=[]")
    change(ground, r"after\(in_cluster, self\._karpenter, storage\)", "after(in_cluster, self._karpenter)")
    change(components / "gates" / "volume_gate.py", r"TIMEOUT_SECONDS = 15 \* 60", "TIMEOUT_SECONDS = 5")
    rehearsal.up()
    with pytest.raises(PhaseFailed, match=volume["metadata"]["name"]):
        rehearsal.destroy()
    # In the right order the driver would still be there, and this would let the volume go.
    kubernetes.delete(place(PODS, "notebook", NAMESPACE))
    kubernetes.delete(place(CLAIMS, "home", NAMESPACE))
    until(lambda: not kubernetes.get(place(CLAIMS, "home", NAMESPACE)), "the claim is gone", seconds=PATIENCE)
    with pytest.raises(PhaseFailed, match=volume["metadata"]["name"]):
        rehearsal.destroy()
    rehearsal.look_for_leftovers()
    left = rehearsal.report.left
    assert left
    assert f"ec2 Volumes {volume['spec']['csi']['volumeHandle']}" in left.aws
    assert f"PersistentVolume {volume['metadata']['name']}" in left.kubernetes
    assert not rehearsal.report.ok
