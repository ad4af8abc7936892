"""The workflows' steps on the real engine, API server and simulated AWS: preview, up, drift, destroy, unreachable.

Only GitHub is a stand-in: a `gh` that has no later commits.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from labs import lab, name_guardrails

from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT
from rehearsal.phases import Options, Rehearsal
from tests.workflows.step_bench import COMMIT, github_without_later_commits

pytestmark = pytest.mark.seconds(200)

STACK = "lab"


@dataclass
class Runner:
    """What a job is to its steps: the checkout as the working directory, the environment, the summary."""

    rehearsal: Rehearsal
    folder: Path
    github: Path

    def step(self, module: str, **environment: str) -> subprocess.CompletedProcess[str]:
        surroundings = self.rehearsal.workspace.environment
        summary = self.folder / "summary.md"
        summary.unlink(missing_ok=True)
        return subprocess.run(
            [sys.executable, "-m", f"ci.{module}"],
            cwd=self.rehearsal.workspace.folder,
            env={
                **surroundings,
                "PATH": f"{self.github}:{surroundings['PATH']}",
                "PYTHONPATH": str(PROJECT),
                "AWS_DEFAULT_REGION": self.rehearsal.settings.region,
                "GITHUB_STEP_SUMMARY": str(summary),
                **COMMIT,
                "STACK": STACK,
                "STACKS": json.dumps([STACK]),
                **environment,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def summary(self) -> str:
        return (self.folder / "summary.md").read_text(encoding="utf-8")

    def outcome(self) -> dict[str, Any]:
        previews = self.rehearsal.workspace.folder / "previews"
        return json.loads((previews / f"{STACK}.outcome.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runner(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    folder = tmp_path_factory.mktemp("runner")
    stack_file = folder / f"Pulumi.{STACK}.yaml"
    minimal = (PROJECT / "tests" / "stacks" / "minimal.happy.yaml").read_text(encoding="utf-8")
    stack_file.write_text(minimal.replace('"2026-06-01"', '"2027-06-01"'), encoding="utf-8")
    with lab(Options(stack_file=stack_file, stack=STACK)) as rehearsal:
        name_guardrails(rehearsal)
        yield Runner(rehearsal, folder, github_without_later_commits(folder))


def test_a_preview_becomes_a_comment(runner: Runner) -> None:
    done = runner.step("preview")
    assert done.returncode == 0, done.stdout + done.stderr
    assert runner.outcome()["how"] == "previewed"
    done = runner.step("comment")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"### Stack `{STACK}`" in runner.summary
    assert "NodePools" in runner.summary


def test_it_goes_up_and_then_nothing_drifts(runner: Runner) -> None:
    done = runner.step("up")
    assert done.returncode == 0, done.stdout[-3000:]
    done = runner.step("drift")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "no drift" in runner.summary


def test_a_lab_that_sleeps_has_no_nodes_and_wakes_as_it_was(runner: Runner) -> None:
    eks = runner.rehearsal.account.client("eks")
    named = {"clusterName": "gpulab-lab"}
    (group,) = eks.list_nodegroups(**named)["nodegroups"]

    def system_nodes() -> int:
        return eks.describe_nodegroup(**named, nodegroupName=group)["nodegroup"]["scalingConfig"]["desiredSize"]

    done = runner.step("park")
    assert done.returncode == 0, done.stdout + done.stderr
    assert system_nodes() == 0
    assert runner.step("drift").returncode == 0
    assert "parked" in runner.summary
    done = runner.step("unpark")
    assert done.returncode == 0, done.stdout + done.stderr
    # That nothing differs now, `test_a_setting_that_was_not_rolled_out_is_drift_too` sees.
    assert system_nodes() == 2


def test_what_was_changed_behind_its_back_is_drift_and_stays_as_it_is(runner: Runner) -> None:
    logs = runner.rehearsal.account.client("logs")
    group = "/aws/eks/gpulab-lab/cluster"

    def retention() -> int:
        return logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["retentionInDays"]

    before = retention()
    logs.put_retention_policy(logGroupName=group, retentionInDays=1)
    try:
        done = runner.step("drift")
        assert done.returncode == 1
        assert "the cloud differs from the state" in runner.summary, runner.summary
        assert f"retentionInDays: {before} => 1" in runner.summary, runner.summary
        assert retention() == 1
    finally:
        logs.put_retention_policy(logGroupName=group, retentionInDays=before)


def test_a_setting_that_was_not_rolled_out_is_drift_too(runner: Runner) -> None:
    path = runner.rehearsal.workspace.stack_file
    text = path.read_text(encoding="utf-8")
    runner.rehearsal.workspace.change_config("gpulab:cluster", logRetentionDays=7)
    try:
        assert runner.step("drift").returncode == 1
        assert "has changes that were not rolled out" in runner.summary, runner.summary
        assert "the cloud differs" not in runner.summary, runner.summary
    finally:
        path.write_text(text, encoding="utf-8")


def test_what_was_forgotten_in_the_account_is_found_after_a_destroy(runner: Runner) -> None:
    runner.rehearsal.account.client("iam").create_role(
        RoleName="gpulab-lab-left",
        AssumeRolePolicyDocument=json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
                ],
            }
        ),
        Tags=[{"Key": "Stack", "Value": STACK}, {"Key": "Project", "Value": "gpulab"}],
    )
    done = runner.step("destroy", CONFIRM="dev")
    assert done.returncode == 1
    assert len(runner.rehearsal.engine.resources()) > 50
    done = runner.step("destroy", CONFIRM=STACK)
    assert done.returncode == 1, done.stdout[-3000:]
    assert "gpulab-lab-left" in runner.summary
    assert "aws iam delete-role" in runner.summary
    assert runner.rehearsal.engine.resources() == []
    runner.rehearsal.account.client("iam").delete_role(RoleName="gpulab-lab-left")
    done = runner.step("destroy", CONFIRM=STACK)
    assert done.returncode == 0, done.stdout[-3000:]


def test_an_unreachable_cluster_is_reported_and_never_passed(runner: Runner) -> None:
    assert runner.step("up").returncode == 0
    # Nobody answers there any more, as for a runner outside of the VPC.
    for process in runner.rehearsal.session.processes.running():
        if process.name() == "kube-apiserver":
            process.kill()
            process.wait(30)
    done = runner.step("preview")
    assert done.returncode == 1
    assert runner.outcome()["how"] == "unreachable", runner.outcome()
    done = runner.step("comment")
    assert done.returncode == 1
    assert "cluster cannot be reached" in runner.summary
    done = runner.step("drift")
    assert done.returncode == 1
    assert "no drift" not in runner.summary
