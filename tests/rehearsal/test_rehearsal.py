"""Whole rehearsals, as a user starts them: dev and prod side by side, kept and ended, broken off, and gone wrong."""

from __future__ import annotations

import json
import os
import shlex
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
from rich.console import Console

from rehearsal.controllers.world import Kubernetes
from rehearsal.phases import Options
from rehearsal.pods import Pods, Wish, until
from rehearsal.processes import MARK
from rehearsal.run import staged
from rehearsal.toolchain import Toolchain, cache_folder
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


@dataclass(frozen=True)
class Kept:
    """A stack that was kept, by the lines that its user was told to type."""

    lines: list[str]

    def line(self, start: str) -> str:
        return next(line for line in self.lines if line.startswith(start))

    def types(self, *commands: str) -> str:
        """What `commands` print in a shell of the kept stack, whose user has state and credentials of their own."""
        users_own = {"AWS_PROFILE": "production", "AWS_ACCESS_KEY_ID": "AKIAUSERSOWN00000000", "PULUMI_STACK": "own"}
        script = "\n".join(["set -e", self.line(". "), self.line("cd "), *commands])
        done = subprocess.run(
            ["sh", "-c", script],
            check=False,
            env={**os.environ, **users_own},
            capture_output=True,
            text=True,
            timeout=10 * MINUTES,
        )
        assert done.returncode == 0, f"{commands}: {done.stdout}{done.stderr}"
        return done.stdout

    def asks_aws(self, expression: str) -> Any:
        code = f"import boto3, json; print(json.dumps({expression}, default=str))"
        return json.loads(self.types(f"python -c {shlex.quote(code)}"))


def test_a_kept_stack_stays_up_until_it_is_ended(toolchain: Toolchain) -> None:
    with start("dev", "--keep") as process:
        printed, _ = process.communicate(timeout=20 * MINUTES)
    assert process.returncode == 0, printed
    kept = Kept([line.strip() for line in printed.splitlines()])
    file = Path(shlex.split(kept.line(". "))[1])
    try:
        assert file.stat().st_mode & 0o777 == 0o600
        kept.types("pulumi up --yes --skip-preview --expect-no-changes --non-interactive")
        clusters = "boto3.client('eks').list_clusters()['clusters']"
        assert kept.asks_aws(clusters) == ["gpulab-dev"]
        if any(line.startswith("aws ") for line in kept.lines):
            assert json.loads(kept.types("aws eks list-clusters --output json"))["clusters"] == ["gpulab-dev"]
        _run_gpu_pod(kept)
        kept.types("sleep 600 > /dev/null 2>&1 &")
        # The shell in which it is typed goes on, though it is one of the stack.
        ended = kept.types(f"sh -c {shlex.quote(kept.lines[-1] + '; echo the shell goes on')}")
        assert "ended dev-" in ended
        assert "the shell goes on" in ended
    finally:
        with start("down") as ending:
            said, _ = ending.communicate(timeout=2 * MINUTES)
    assert "nothing was kept" in said
    assert rehearsal_processes("dev") == []
    assert not file.parent.exists()


def _run_gpu_pod(kept: Kept) -> None:
    """A pod for a GPU gets a node, and the node is an instance in AWS."""
    pods = Pods(Kubernetes(Path(kept.types('printf %s "$KUBECONFIG"'))))
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    wish = Wish(requests={"nvidia.com/gpu": "1"}, selects={"gpulab.dev/pool": "gpu"}, tolerations=tolerations)
    pods.run("mine", wish)
    claim = until(lambda: pods.claim_of("mine"), "it runs", seconds=2 * MINUTES)
    tag = {"Name": "tag:karpenter.sh/nodeclaim", "Values": [claim["metadata"]["name"]]}
    (reservation,) = kept.asks_aws(f"boto3.client('ec2').describe_instances(Filters=[{tag}])['Reservations']")
    assert [one["State"]["Name"] for one in reservation["Instances"]] == ["running"]


@pytest.mark.parametrize(
    ("after", "how"), [*((phase, []) for phase in ("start", "preview", "up", "refresh", "checks")), ("up", ["--keep"])]
)
def test_ctrl_c_leaves_nothing_running(toolchain: Toolchain, after: str, how: list[str]) -> None:
    with start("dev", *how) as process:
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
