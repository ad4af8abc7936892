"""Whole rehearsals, as a user starts them: dev and prod side by side, kept and ended, broken off, and gone wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from rich.console import Console

from rehearsal.phases import Options
from rehearsal.processes import MARK
from rehearsal.run import staged
from rehearsal.toolchain import Toolchain, cache_folder
from rehearsal.tools import ENGINE, LANGUAGE_HOST
from rehearsal.workspace import PROJECT

COMMAND = [sys.executable, "-m", "rehearsal"]
MINUTES = 60
# What the lab does without.
UNTRIED = {
    "dev": {"load balancer, rules, targets and names match", "roles are within the boundary"},
    "prod": set(),
}
DRIFT = "a newer image leaves notebooks alone"


@dataclass(frozen=True)
class Outcome:
    """What a rehearsal left for its user: exit status, what was printed, the JSON report."""

    exit_code: int
    printed: str
    report: dict[str, Any]

    @property
    def checks(self) -> dict[str, bool | None]:
        return {check["name"]: check["ok"] for check in self.report["checks"]}


@pytest.fixture(scope="module", autouse=True)
def cache(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this module's own, with the toolchain that is there: other rehearsals may run on this machine."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "toolchain").symlink_to(cache_folder() / "toolchain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPULAB_CACHE", str(folder))
        yield folder


def hear_ctrl_c() -> None:
    """As at a terminal: what a shell starts in the background, tests too, would ignore the signal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(*arguments: str | Path, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        cwd=PROJECT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=hear_ctrl_c,
    )


def rehearsal_processes(stack: str) -> list[psutil.Process]:
    """The processes of any rehearsal of `stack` with this module's cache."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            ours = environment.get(MARK, "").startswith(f"{stack}-") and str(cache_folder()) in environment["HOME"]
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, KeyError):
            continue
    return found


@pytest.fixture(scope="module")
def decoy_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's home in which each file with state or credentials blocks whoever opens it, for ever."""
    home = tmp_path_factory.mktemp("home")
    for name in (".aws/config", ".aws/credentials", ".pulumi/credentials.json", ".kube/config", ".docker/config.json"):
        path = home / name
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
    return home


@pytest.fixture(scope="module")
def outcomes(
    toolchain: Toolchain, decoy_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Outcome]]:
    """Rehearsals of dev and prod, both at once; dev's user has state and credentials of their own."""
    folder = tmp_path_factory.mktemp("reports")
    users_own = {
        "HOME": str(decoy_home),
        "KUBECONFIG": str(decoy_home / ".kube" / "config"),
        "AWS_PROFILE": "production",
        "AWS_ACCESS_KEY_ID": "AKIAUSERSOWN00000000",
        "PULUMI_ACCESS_TOKEN": "pul-users-own",
        "PULUMI_BACKEND_URL": "https://users.own.example.com",
    }
    started = {
        stack: start(stack, "--json", folder / f"{stack}.json", env=env)
        for stack, env in {"dev": users_own, "prod": {}}.items()
    }
    made = {}
    try:
        for stack, process in started.items():
            printed, _ = process.communicate(timeout=20 * MINUTES)
            path = folder / f"{stack}.json"
            report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            made[stack] = Outcome(process.returncode, printed, report)
        yield made
    finally:
        for process in started.values():
            if process.poll() is None:
                process.terminate()
                process.wait(MINUTES)


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_a_stack_goes_up_and_comes_down_and_leaves_nothing(outcomes: dict[str, Outcome], stack: str) -> None:
    outcome = outcomes[stack]
    assert outcome.exit_code == 0, outcome.printed
    report = outcome.report
    assert report["resources_created"] > 50
    assert report["second_preview_changes"] == 0
    assert report["refresh_changes"] == 0
    assert False not in outcome.checks.values(), outcome.printed
    untried = {name for name, ok in outcome.checks.items() if ok is None}
    # Production's maintenance window may be open at this hour.
    assert untried - {DRIFT} == UNTRIED[stack]
    assert {place: report["left"][place] for place in ("state", "aws", "kubernetes", "processes")} == {
        "state": 0,
        "aws": 0,
        "kubernetes": 0,
        "processes": 0,
    }
    phases = {"preview", "up", "second preview", "refresh", "destroy"}
    assert phases <= report["seconds"].keys()
    assert report["peak_memory_mib"] > 0
    assert any("moto" in part for part in report["stand_ins"])
    assert rehearsal_processes(stack) == []


@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_every_check_of_the_rehearsal_was_made(outcomes: dict[str, Outcome], stack: str) -> None:
    expected = {
        "CRDs admit every pool",
        "system nodes exist",
        "the cluster's kubeconfig works",
        "tags on every AWS resource",
        "nothing of the user's was read",
        "a GPU pod runs on the cheapest instance",
        "a CPU pod runs, and on no GPU node",
        "a GPU pod without toleration stays pending",
        "50 GPU pods at once are all decided",
        DRIFT,
        "consolidation leaves notebooks alone",
        "a GPU node that is empty goes",
        "on-demand is bought while spot is out",
        "the destroy keeps its order",
        "nodes with running pods go",
        "no secret in plain text",
        "roles are within the boundary",
        "workflows' roles admit every call",
    }
    assert expected <= outcomes[stack].checks.keys()


def test_a_quick_rehearsal_runs_no_pods(toolchain: Toolchain, tmp_path: Path) -> None:
    with start("dev", "--quick", "--json", tmp_path / "quick.json") as process:
        printed, _ = process.communicate(timeout=20 * MINUTES)
    assert process.returncode == 0, printed
    report = json.loads((tmp_path / "quick.json").read_text(encoding="utf-8"))
    assert "pods" not in report["seconds"]
    assert report["left"]["names"] == {"state": [], "aws": [], "kubernetes": [], "processes": []}
    assert not any("pod" in check["name"] for check in report["checks"])


def test_production_refuses_a_destroy_until_it_is_unlocked(outcomes: dict[str, Outcome]) -> None:
    (check,) = [one for one in outcomes["prod"].report["checks"] if "protected" in one["name"]]
    assert check["ok"], check
    assert check["name"] not in outcomes["dev"].checks


def test_a_kept_stack_stays_up_until_it_is_ended(toolchain: Toolchain) -> None:
    with start("dev", "--keep") as process:
        printed, _ = process.communicate(timeout=20 * MINUTES)
    assert process.returncode == 0, printed
    try:
        kubeconfig = next(
            line.partition("=")[2] for line in printed.splitlines() if line.strip().startswith("export KUBECONFIG=")
        )
        assert yaml.safe_load(Path(kubeconfig).read_text(encoding="utf-8"))["clusters"]
        assert rehearsal_processes("dev")
    finally:
        with start("down") as ending:
            said, _ = ending.communicate(timeout=2 * MINUTES)
    assert "ended dev-" in said
    assert rehearsal_processes("dev") == []
    assert not Path(kubeconfig).exists()


@pytest.mark.parametrize("after", ["start", "preview", "up", "refresh", "checks"])
def test_ctrl_c_leaves_nothing_running(toolchain: Toolchain, after: str) -> None:
    with start("dev") as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith(f"done {after} "):
                break
        time.sleep(0.5)  # into the phase that follows
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(MINUTES) == 130, rest
    assert "Interrupted" in rest
    assert "Traceback" not in rest
    assert rehearsal_processes("dev") == []
    assert list((cache_folder() / "rehearsals").glob("dev-*")) == []


def test_ctrl_c_while_the_rest_is_built_after_the_first_preview(toolchain: Toolchain, tmp_path: Path) -> None:
    """A machine that has what a preview needs, and builds the rest: nothing of Kubernetes is there."""
    present = tmp_path / "cache" / "toolchain"
    present.mkdir(parents=True)
    for tool in (ENGINE, LANGUAGE_HOST):
        (present / tool.folder_name).symlink_to(cache_folder() / "toolchain" / tool.folder_name)
    go = tmp_path / "path" / "go"
    go.parent.mkdir()
    go.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/building\nsleep 600\n", encoding="utf-8")
    go.chmod(0o755)
    # Nobody is at the proxy: no network, so the rest is built.
    alone = {"GPULAB_CACHE": str(tmp_path / "cache"), "https_proxy": "http://127.0.0.1:9"}
    with start("dev", env={**alone, "PATH": f"{go.parent}{os.pathsep}{os.environ['PATH']}"}) as process:
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("done preview "):
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(MINUTES) == 130, rest
    said = "".join(lines)
    assert "programs are missing" in said
    assert "resources)" in lines[-1], said
    assert "7 programs are still missing" in rest
    assert "Traceback" not in said + rest
    assert not psutil.pid_exists(int((tmp_path / "building").read_text(encoding="utf-8")))
    assert list((tmp_path / "cache" / "rehearsals").iterdir()) == []


def test_drift_a_leftover_and_a_missing_tag_are_all_seen(toolchain: Toolchain) -> None:
    """What the rehearsal is there to find, made on purpose: none of its findings can be a constant."""
    quiet = Console(quiet=True)
    options = Options(stack_file=PROJECT / "Pulumi.dev.yaml", stack="dev")
    with staged(options, quiet) as rehearsal:
        rehearsal.up()
        ec2 = rehearsal.account.client("ec2")
        (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "tag:Owner", "Values": ["*"]}])["Vpcs"]
        ec2.delete_tags(Resources=[vpc["VpcId"]], Tags=[{"Key": "Owner"}])
        ec2.modify_vpc_attribute(VpcId=vpc["VpcId"], EnableDnsHostnames={"Value": False})
        (node, *_) = rehearsal.plane.request("GET", "/api/v1/nodes")["items"]
        rehearsal.plane.request("DELETE", f"/api/v1/nodes/{node['metadata']['name']}")
        rehearsal.refresh()
        assert any("Vpc" in change for change in rehearsal.report.refresh_changes)
        rehearsal.check()
        failed = {check.name for check in rehearsal.report.checks if check.ok is False}
        assert failed == {"tags on every AWS resource", "system nodes exist"}
        rehearsal.second_preview()
        assert any("Vpc" in change for change in rehearsal.report.second_preview_changes)

        volume = ec2.create_volume(AvailabilityZone="us-east-1a", Size=1)["VolumeId"]
        rehearsal.plane.request(
            "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "forgotten"}}
        )
        rehearsal.destroy()
        rehearsal.look_for_leftovers()
        assert rehearsal.report.left
        assert rehearsal.report.left.state == []
        assert rehearsal.report.left.aws == [f"ec2 Volumes {volume}"]
        assert "Namespace forgotten" in rehearsal.report.left.kubernetes


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["nowhere"], 2, "Pulumi.nowhere.yaml"),
        (["dev", "--today", "2030-01-01"], 2, "gpulab:lifecycle.expires"),
        (["down", "dev-00000000"], 2, "there is no rehearsal dev-00000000"),
        (["dev", "--plugins", "/no/such/folder"], 2, "/no/such/folder"),
        (["dev", "--today", "tomorrow"], 2, "--today"),
    ],
)
def test_wrong_arguments_are_refused_in_a_sentence_with_nothing_started(
    arguments: list[str], status: int, says: str
) -> None:
    with start(*arguments) as process:
        printed, _ = process.communicate(timeout=MINUTES)
    assert process.returncode == status, printed
    assert says in printed
    assert "Traceback" not in printed
