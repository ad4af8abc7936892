"""Bare pods on GPU nodes: what verify makes of a pod that runs, and of one that does not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from verify_api import Object, serving

import settings
from components.hub.inside.sections import Section
from rehearsal.machine.workspace import PROJECT
from rehearsal.stack_phases import REHEARSAL_DAY
from verify import gpus, run
from verify.checks import Outcome, State
from verify.cleaning import Cleaner
from verify.cluster_api import RUNS

SETTINGS = settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", stack="dev", today=REHEARSAL_DAY)
RUN = "of-a-test"
NAMESPACE = f"/api/v1/namespaces/{RUNS}{RUN}"
PODS, EVENTS = f"{NAMESPACE}/pods", f"{NAMESPACE}/events"
SEES, NONE, OFF = "sees-gpu-shared", "none-gpu", "off-gpu"
SAID = "GPU 0: NVIDIA L4 (UUID: GPU-1)\nDriver Version: 580.95.05\nCUDA Version: 13.0\n"


def pod(name: str, **status: Any) -> Object:
    metadata = {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {"metadata": metadata, "spec": {}, "status": status}


def site() -> dict[str, Any]:
    """What becomes of the pods at a site that works."""
    answers: dict[str, Any] = {"/api/v1/nodes": [{"metadata": {"name": "gpu-1", "labels": {"gpulab.dev/pool": "gpu"}}}]}
    for name in ("sees-gpu", SEES):
        answers |= {f"{PODS}/{name}": pod(name, phase="Succeeded"), f"{PODS}/{name}/log": SAID}
    answers |= {f"{PODS}/{NONE}": pod(NONE, phase="Succeeded"), f"{PODS}/{NONE}/log": "0\n"}
    unscheduled = {"type": "PodScheduled", "reason": "Unschedulable", "message": "1 node had an untolerated taint"}
    return {**answers, f"{PODS}/{OFF}": pod(OFF, phase="Pending", conditions=[unscheduled])}


def outcomes(folder: Path, answers: dict[str, Any]) -> dict[str, Outcome]:
    with serving(folder, answers) as api, Cleaner(str(folder / "kubeconfig"), None) as cleaner:
        checks = list(gpus.checks(gpus.Trial(api, cleaner, RUN), SETTINGS))
        return {one.name: one for one in run.run(checks, lambda _: None, seconds=60).outcomes}


def test_a_site_that_works_passes_and_nothing_is_left(tmp_path: Path) -> None:
    answers = site()
    found = outcomes(tmp_path, answers)
    assert {one.state for one in found.values()} == {State.PASSED}
    assert found["a pod sees the GPU of gpu-shared"].detail == SAID.strip().replace("\n", "; ")
    assert "untolerated taint" in found["a pod without a toleration stays off gpu"].detail
    assert NAMESPACE not in answers


PULL = {"state": {"waiting": {"reason": "ImagePullBackOff"}}, "image": "quay.io/jupyter/gone:1"}
EVENT = {
    "metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"},
    "reason": "Failed",
    "message": "manifest unknown",
}
BROKEN: dict[str, tuple[dict[str, Any], str, Section, str, str]] = {
    "image missing": (
        {f"{PODS}/{SEES}": pod(SEES, phase="Pending", containerStatuses=[PULL]), EVENTS: [EVENT]},
        "a pod sees the GPU of gpu-shared",
        Section.IMAGE,
        "quay.io/jupyter/gone:1 cannot be pulled",
        "manifest unknown",
    ),
    "driver does not fit": (
        {f"{PODS}/{SEES}": pod(SEES, phase="Failed"), f"{PODS}/{SEES}/log": "Driver/library version mismatch"},
        "a pod sees the GPU of gpu-shared",
        Section.DRIVER,
        f"the pod {SEES} failed",
        "version mismatch",
    ),
    "a GPU for everybody": (
        {f"{PODS}/{NONE}/log": "2\n"},
        "a pod that asks for no GPU sees none of gpu",
        Section.NO_GPUS,
        "a pod that asked for no GPU sees 2",
        "",
    ),
    "taint missing": (
        {f"{PODS}/{OFF}": {**pod(OFF, phase="Running"), "spec": {"nodeName": "gpu-1"}}},
        "a pod without a toleration stays off gpu",
        Section.PENDING,
        "runs on gpu-1",
        "",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_site_is_told_apart(tmp_path: Path, case: str) -> None:
    change, name, section, detail, said = BROKEN[case]
    answers = {**site(), **change}
    found = outcomes(tmp_path, answers)
    assert [one.name for one in found.values() if one.state is State.FAILED] == [name]
    failed = found[name]
    assert detail in failed.detail
    assert failed.section is section
    assert said in failed.said
    assert NAMESPACE not in answers
