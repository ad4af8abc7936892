"""A stack that is kept after `up`: a person can work with it like with a real one, until they end it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from labs import small_stack
from user_command import MINUTES, rehearsal_processes, start

from rehearsal.checks.pods import Pods, Wish, until
from rehearsal.controllers.world import Kubernetes
from rehearsal.machine.toolchain import Toolchain

pytestmark = pytest.mark.seconds(150)


@dataclass(frozen=True)
class Kept:
    """A kept stack, reached with the commands that its user was shown."""

    lines: list[str]

    def line(self, start: str) -> str:
        return next(line for line in self.lines if line.startswith(start))

    def types(self, *commands: str) -> str:
        """The output of `commands` in a shell of the kept stack. Its user also has their own state and credentials."""
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


def test_a_kept_stack_stays_up_until_it_is_ended(toolchain: Toolchain, tmp_path: Path) -> None:
    with start(small_stack(tmp_path, people=True, pools=("cpu", "gpu")), "--keep") as process:
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

    def claim_of_mine() -> Any:
        pods.run_again("mine")
        return pods.claim_of("mine")

    claim = until(claim_of_mine, "it runs", seconds=4 * MINUTES, otherwise=lambda: pods.standing("mine"))
    tag = {"Name": "tag:karpenter.sh/nodeclaim", "Values": [claim["metadata"]["name"]]}
    (reservation,) = kept.asks_aws(f"boto3.client('ec2').describe_instances(Filters=[{tag}])['Reservations']")
    assert [one["State"]["Name"] for one in reservation["Instances"]] == ["running"]
