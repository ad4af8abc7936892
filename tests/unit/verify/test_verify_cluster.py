"""Broken sites, and what verify says of each: what is wrong, what Kubernetes says of it, and the section that helps."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from verify_api import Object, serving

import contracts
import settings
from components.hub.inside.sections import Section
from contracts import eks
from rehearsal.machine.workspace import PROJECT
from rehearsal.stack_phases import REHEARSAL_DAY
from verify import cluster, run, versions
from verify.checks import Outcome, State

SETTINGS = settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", stack="dev", today=REHEARSAL_DAY)
GPU_NODE, CLAIM = "gpu-1", "shared"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
DNS = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"
NODES, CLAIMS = "/api/v1/nodes", "/apis/karpenter.sh/v1/nodeclaims"
HUB = "/apis/apps/v1/namespaces/hub/deployments"
HUB_PODS, EVENTS = "/api/v1/namespaces/hub/pods", "/api/v1/namespaces/hub/events"
TEAM_CLAIMS = "/api/v1/namespaces/team-research/persistentvolumeclaims"
CLASSES, SECRETS = "/apis/storage.k8s.io/v1/storageclasses", "/api/v1/secrets"


def node(name: str, *, ready: str = "True", labels: Object | None = None, allocatable: Object | None = None) -> Object:
    conditions = [{"type": "Ready", "status": ready, "message": "container runtime is down"}]
    metadata = {"name": name, "labels": labels or {}}
    return {"metadata": metadata, "status": {"conditions": conditions, "allocatable": allocatable or {}}}


LABELS = {"gpulab.dev/pool": "gpu-shared", "nvidia.com/gpu.product": "NVIDIA-L4"}


def lease(name: str, *, apart: float = 0) -> Object:
    renewed = datetime.now(UTC) + timedelta(seconds=apart)
    return {"metadata": {"name": name}, "spec": {"renewTime": renewed.isoformat()}}


def release(chart: str, version: str) -> Object:
    record = json.dumps({"chart": {"metadata": {"name": chart, "version": version}}}).encode()
    packed = base64.b64encode(base64.b64encode(gzip.compress(record))).decode()
    return {"metadata": {"labels": {"owner": "helm", "status": "deployed"}}, "data": {"release": packed}}


def site() -> dict[str, Any]:
    """A site that works."""
    hub = {
        "metadata": {"name": "hub"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"component": "hub"}}},
        "status": {"replicas": 1, "readyReplicas": 1},
    }
    claim = {
        "metadata": {"name": CLAIM, "namespace": "team-research"},
        "spec": {"storageClassName": "efs"},
        "status": {"phase": "Bound"},
    }
    default = {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}
    joined = {
        "metadata": {"name": "gpu-claim", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {}},
        "status": {"conditions": [{"type": "Initialized", "status": "True"}]},
    }
    return {
        "/readyz": "ok",
        "/version": {"major": "1", "minor": "36"},
        NODES: [
            node("system-1"),
            node(GPU_NODE, labels=LABELS, allocatable={"nvidia.com/gpu.shared": "4"}),
        ],
        LEASES: [lease("system-1"), lease(GPU_NODE)],
        DNS: [
            {
                "metadata": {"labels": {"kubernetes.io/service-name": "kube-dns"}},
                "endpoints": [{"conditions": {"ready": True}}],
            }
        ],
        "/apis/karpenter.sh/v1": {"kind": "APIResourceList"},
        CLAIMS: [joined],
        "/api/v1/namespaces": [{"metadata": {"name": "hub"}}, {"metadata": {"name": "team-research"}}],
        HUB: [hub],
        HUB_PODS: [{"metadata": {"name": "hub-1", "labels": {"component": "hub"}}, "status": {"conditions": []}}],
        EVENTS: [
            {
                "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
                "reason": "Failed",
                "message": 'Failed to pull image "hub:1"',
            }
        ],
        CLASSES: [{"metadata": {"name": "gp3", **default}}, {"metadata": {"name": "gp2"}}],
        TEAM_CLAIMS: [claim],
        SECRETS: [release("jupyterhub", contracts.chart("jupyterhub").version), release("of-somebody", "9.9.9")],
    }


def outcomes(folder: Path, answers: dict[str, Any]) -> dict[str, Outcome]:
    with serving(folder, answers) as api:
        checks = [*cluster.checks(api, SETTINGS), *versions.checks(api, SETTINGS)]
        return {one.name: one for one in run.run(checks, lambda _: None, seconds=60).outcomes}


@pytest.fixture(autouse=True)
def _today(monkeypatch: pytest.MonkeyPatch) -> None:
    """Support of versions ends, and these tests do not."""
    monkeypatch.setattr(eks, "today", lambda: REHEARSAL_DAY)


def test_a_site_that_works_passes(tmp_path: Path) -> None:
    found = outcomes(tmp_path, site())
    assert {name: one.detail for name, one in found.items() if one.state is not State.PASSED} == {}
    assert found["nodes offer the GPUs of their pools"].detail == "gpu-shared: 4 nvidia.com/gpu.shared"


def broken(change: Callable[[dict[str, Any]], object]) -> Callable[[], dict[str, Any]]:
    def made() -> dict[str, Any]:
        answers = site()
        change(answers)
        return answers

    return made


STUCK = {
    "metadata": {
        "name": "gpu-stuck",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"node.kubernetes.io/instance-type": "g6.xlarge", "karpenter.sh/nodepool": "gpu"},
    },
    "status": {"conditions": [{"type": "Initialized", "status": "False", "message": "nvidia.com/gpu is missing"}]},
}
BROKEN: dict[str, tuple[Callable[[], dict[str, Any]], str, Section, str, str]] = {
    "API server not ready": (
        broken(lambda site: site.update({"/readyz": "[-]etcd failed"})),
        "the API server answers",
        Section.NOT_REACHED,
        "is not ready",
        "[-]etcd failed",
    ),
    "kubelet stopped": (
        broken(lambda site: site[NODES].append(node("system-2", ready="Unknown"))),
        "nodes are ready",
        Section.NODE_DOES_NOT_JOIN,
        "system-2 is not ready",
        "container runtime is down",
    ),
    "node without its driver": (
        broken(lambda site: site[CLAIMS].append(STUCK)),
        "Karpenter's nodes have joined",
        Section.NODE_DOES_NOT_JOIN,
        "never became ready",
        "nvidia.com/gpu is missing",
    ),
    "image missing": (
        broken(lambda site: site[HUB][0]["status"].update(readyReplicas=0)),
        "the platform's programs run",
        Section.PENDING,
        "hub/hub has 0 of 1 pods ready",
        'Failed to pull image "hub:1"',
    ),
    "two default classes": (
        broken(lambda site: site[CLASSES].append({**site[CLASSES][0], "metadata": {**site[CLASSES][0]["metadata"]}})),
        "there is one default storage class",
        Section.STORAGE,
        "one storage class should be the default",
        "",
    ),
    "claim without volume": (
        broken(lambda site: site[TEAM_CLAIMS][0]["status"].update(phase="Pending")),
        "teams' volumes are there",
        Section.STORAGE,
        "team-research/shared is Pending",
        "",
    ),
    "device plugin off": (
        broken(lambda site: site[NODES][1]["status"].update(allocatable={"nvidia.com/gpu.shared": "0"})),
        "nodes offer the GPUs of their pools",
        Section.NO_GPUS,
        "gpu-1 of pool gpu-shared offers no nvidia.com/gpu.shared",
        "",
    ),
    "no feature discovery": (
        broken(lambda site: site[NODES][1]["metadata"].update(labels={"gpulab.dev/pool": "gpu-shared"})),
        "feature discovery describes the GPUs",
        Section.NO_GPUS,
        "gpu-1 of pool gpu-shared has no label nvidia.com/gpu.product",
        "",
    ),
    "clock of a node off": (
        broken(lambda site: site.update({LEASES: [lease("system-1"), lease(GPU_NODE, apart=300)]})),
        "clocks agree",
        Section.CLOCK,
        "clocks differ: gpu-1 by +300 s",
        "",
    ),
    "clock here off": (
        broken(lambda site: site.update({LEASES: [lease("system-1", apart=90), lease(GPU_NODE, apart=90)]})),
        "clocks agree",
        Section.CLOCK,
        "the clock here is wrong",
        "",
    ),
    "DNS broken": (
        broken(lambda site: site[DNS][0].update(endpoints=[{"conditions": {"ready": False}}])),
        "DNS answers",
        Section.DNS,
        "kube-system/kube-dns has no pod that is ready",
        "",
    ),
    "another Kubernetes": (
        broken(lambda site: site["/version"].update(minor="33")),
        "Kubernetes is supported",
        Section.VERSIONS,
        "the cluster has Kubernetes 1.33, the stack file says 1.36",
        "",
    ),
    "an old chart": (
        broken(lambda site: site[SECRETS].append(release("karpenter", "0.1.0"))),
        "charts are those that gpulab pins",
        Section.VERSIONS,
        "karpenter is 0.1.0, not ",
        "pulumi up",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_site_is_told_apart(tmp_path: Path, case: str) -> None:
    made, name, section, detail, said = BROKEN[case]
    found = outcomes(tmp_path, made())
    assert [one.name for one in found.values() if one.state is State.FAILED] == [name]
    failed = found[name]
    assert detail in failed.detail
    assert failed.section is section
    assert said in failed.said


def test_a_cluster_that_nobody_answers_for_fails_every_check_in_one_line_each(tmp_path: Path) -> None:
    with serving(tmp_path, site()) as api:
        checks = cluster.checks(api, SETTINGS)
    done = run.run(checks, lambda _: None, seconds=60)
    assert not done.ok
    assert {one.state for one in done.outcomes} == {State.FAILED}
    assert all("\n" not in one.detail for one in done.outcomes)
