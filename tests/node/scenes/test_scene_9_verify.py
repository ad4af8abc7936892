"""Scene 9: somebody asks whether the site works; verify tells broken sites apart, and leaves nothing behind."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.hub.inside.sections import Section
from components.hub.inside.verify_account import NAME, TOKEN_KEY
from components.hub.values import SECRETS
from components.nodes.site_gpu import NAMESPACE as GPU_NAMESPACE
from components.teams.names import HUB_NAMESPACE
from rehearsal.controllers.world import place
from rehearsal.machine.workspace import PROJECT
from verify import __main__ as verify
from verify.cluster_api import RUNS

from . import breakages
from .quotas import limited
from .site import Site
from .visitor import Visitor
from .waiting import until

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.endurance]

CPU, GPU, TEAM = "brief", "pytorch-share", "vision"
# What people's browsers trust here is an authority of the rehearsal.
_ELSEWHERE = {"names lead somewhere", "certificates are valid"}
# Images of the rig have neither.
_WITHOUT_TORCH = ("PyTorch", "TensorFlow", "a multiplication", "it trains", "the GPU's memory")
_KILLS = 10
_LONGEST_RUN = 25.0

Verified = Callable[..., dict[str, Any]]


@pytest.fixture
def verified(site: Site, tmp_path: Path) -> Verified:
    """Runs verify and gives what it found, by the names of checks; nothing of the run may be left."""

    def ran(*only: str, profile: str = CPU) -> dict[str, Any]:
        report = tmp_path / "verify.json"
        verify.main([*arguments(site, report, profile), *(word for text in only for word in ("--only", text))])
        nothing_is_left(site)
        return {one["name"]: one for one in json.loads(report.read_text(encoding="utf-8"))["checks"]}

    return ran


def arguments(site: Site, report: Path, profile: str) -> list[str]:
    stack_file, kubeconfig = str(site.rehearsal.options.stack_file), str(site.rehearsal.plane.kubeconfig)
    chosen = ["--team", TEAM, "--profile", profile]
    return [stack_file, "--kubeconfig", kubeconfig, *chosen, "--json", str(report)]


def nothing_is_left(site: Site) -> None:
    """Fails if something of a run is in the cluster, or the hub still knows its user."""
    found = [one["metadata"]["name"] for one in site.kubernetes.list("/api/v1/namespaces")]
    assert not [name for name in found if name.startswith(RUNS)]
    for collection in ("pods", "persistentvolumeclaims", "secrets"):
        objects = site.kubernetes.list(f"/api/v1/{collection}")
        kept = [one["metadata"]["name"] for one in objects if "deletionTimestamp" not in one["metadata"]]
        assert not [name for name in kept if NAME in name], collection


def test_a_site_that_works_passes_in_and_outside_notebooks(
    site: Site, verified: Verified, visitor: Callable[..., Visitor]
) -> None:
    visitor("/research/developer").started("research_python")
    for profile in (CPU, GPU):
        found = verified(profile=profile)
        failed = {name: one["detail"] for name, one in found.items() if one["state"] == "failed"}
        assert failed.keys() <= _ELSEWHERE, failed
        skipped = {name for name, one in found.items() if one["state"] == "skipped"}
        ours = {name.partition(": ")[2] for name in skipped if name.startswith(profile)}
        assert all(name.startswith(_WITHOUT_TORCH) for name in ours), ours
        assert found[f"{profile}: other teams are out of its reach"]["detail"] == "no answer"
        assert found[f"{profile}: the memory limit is felt"]["state"] == "passed"
    assert "NVIDIA GeForce RTX 4090, a share" in found[f"{GPU}: nvidia-smi shows its GPUs"]["detail"]


@contextlib.contextmanager
def no_hub(site: Site) -> Iterator[None]:
    path = place("/apis/apps/v1/deployments", "hub", HUB_NAMESPACE)
    with site.changed(path, {"spec": {"replicas": 0}}, {"spec": {"replicas": 1}}):
        until(lambda: not site.kubernetes.request("GET", path)["status"].get("readyReplicas"), "the hub has ended")
        yield
    site.wait_for_rollout("deployments", "hub", HUB_NAMESPACE)


@contextlib.contextmanager
def token_of_yesterday(site: Site) -> Iterator[None]:
    path = place("/api/v1/secrets", SECRETS, HUB_NAMESPACE)
    right = site.kubernetes.request("GET", path)["data"][TOKEN_KEY]
    wrong = base64.b64encode(b"of-yesterday").decode()
    with site.changed(path, {"data": {TOKEN_KEY: wrong}}, {"data": {TOKEN_KEY: right}}):
        yield


@contextlib.contextmanager
def no_device_plugin(site: Site) -> Iterator[None]:
    plugin, elsewhere = "nvidia-device-plugin", {"gpulab.test/nowhere": "true"}
    path = place("/apis/apps/v1/daemonsets", plugin, GPU_NAMESPACE)

    def selecting(labels: dict[str, str | None]) -> dict[str, Any]:
        return {"spec": {"template": {"spec": {"nodeSelector": labels}}}}

    with site.changed(path, selecting({**elsewhere}), selecting(dict.fromkeys(elsewhere))):
        until(lambda: shares(site) in (None, "0"), "the node offers no share")
        yield
    site.wait_for_rollout("daemonsets", plugin, GPU_NAMESPACE)
    until(lambda: shares(site) == str(breakages.SHARES), "the node offers its shares")


@contextlib.contextmanager
def no_dns(site: Site) -> Iterator[None]:
    path = place("/apis/apps/v1/deployments", "coredns", "kube-system")
    with site.changed(path, {"spec": {"replicas": 0}}, {"spec": {"replicas": 1}}):
        until(lambda: not site.kubernetes.request("GET", path)["status"].get("readyReplicas"), "DNS has ended")
        yield
    site.wait_for_rollout("deployments", "coredns", "kube-system")


@contextlib.contextmanager
def no_toleration(site: Site) -> Iterator[None]:
    """The node has a taint that no notebook tolerates, as somebody makes by hand."""
    path = place("/api/v1/nodes", "node-1")
    taints = site.kubernetes.request("GET", path)["spec"].get("taints")
    tainted = [*(taints or ()), {"key": "example.com/maintenance", "effect": "NoSchedule"}]
    with site.changed(path, {"spec": {"taints": tainted}}, {"spec": {"taints": taints}}):
        yield


def shares(site: Site) -> str | None:
    return site.kubernetes.request("GET", "/api/v1/nodes/node-1")["status"]["allocatable"].get(breakages.SHARE)


def breakage(name: str) -> breakages.Broken:
    return breakages.BREAKAGES[name][0]


BROKEN: dict[str, tuple[breakages.Broken, str, str, Section, str]] = {
    "network policy absent": (
        breakage("network policy absent"),
        CPU,
        f"{CPU}: the instance metadata is out of its reach",
        Section.ISOLATION,
        "the notebook reaches the instance metadata",
    ),
    "home read-only": (breakage("home read-only"), CPU, f"{CPU}: it starts", Section.SPAWN, ""),
    "/dev/shm small": (
        breakage("no /dev/shm"),
        CPU,
        f"{CPU}: shared memory has the profile's size",
        Section.SHARED_MEMORY,
        "/dev/shm has 64 MiB, the profile says 512 MiB",
    ),
    "quota 0": (
        lambda site: limited(site, pods="0"),
        CPU,
        f"{CPU}: it starts",
        Section.QUOTA,
        "0 left",
    ),
    "hub down": (no_hub, CPU, "the hub answers", Section.LOGS, "no pod of app=jupyterhub,component=hub runs"),
    "token expired": (token_of_yesterday, CPU, f"{CPU}: it starts", Section.TOKEN, "the hub refuses"),
    "image missing": (
        lambda _: contextlib.nullcontext(),
        "mistyped",
        "mistyped: it starts",
        Section.IMAGE,
        "can't be pulled",
    ),
    "device plugin off": (
        no_device_plugin,
        GPU,
        "nodes offer the GPUs of their pools",
        Section.NO_GPUS,
        "offers no nvidia.com/gpu.shared",
    ),
    "DNS broken": (no_dns, CPU, "DNS answers", Section.DNS, "kube-system/kube-dns has no pod that is ready"),
    "taint not tolerated": (no_toleration, CPU, f"{CPU}: it starts", Section.PENDING, "machine"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_site_is_told_apart(site: Site, verified: Verified, case: str) -> None:
    broken, profile, name, section, words = BROKEN[case]
    with broken(site):
        found = verified(name, profile=profile) if "starts" not in name else verified("notebooks", profile=profile)
    assert found[name]["state"] == "failed", found[name]
    assert words in found[name]["detail"]
    assert found[name]["help"] == section.link


@pytest.mark.parametrize("number", range(_KILLS))
def test_a_run_that_is_killed_leaves_nothing(site: Site, tmp_path: Path, seed: int, number: int) -> None:
    # The first points are in the first seconds, where most is made.
    seconds = random.Random(seed + number).uniform(0, _LONGEST_RUN * (number + 1) / _KILLS)
    command = [sys.executable, "-m", "verify", *arguments(site, tmp_path / "verify.json", CPU)]
    command += ["--only", "notebooks", "--only", "gpus"]
    running = subprocess.Popen(command, cwd=PROJECT, env={**os.environ, "PYTHONPATH": str(PROJECT)})
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.wait(seconds)
    started = time.monotonic()
    running.send_signal(signal.SIGKILL)
    running.wait()

    def left() -> str:
        with contextlib.suppress(AssertionError):
            nothing_is_left(site)
            return ""
        return "something"

    until(lambda: not left(), f"all of a run that was killed after {seconds:.1f} s is gone", seconds=120)
    print(f"killed after {seconds:.1f} s; clean after {time.monotonic() - started:.1f} s more")
