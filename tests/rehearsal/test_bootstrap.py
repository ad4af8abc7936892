"""The bootstrap of an account on the real engine: as a user starts its rehearsal, and what it makes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from rehearsal.bootstrapping import Bootstrapping, staged
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT

pytestmark = pytest.mark.seconds(80)

MINUTES = 60
POLICIES = f"--policy-pack-config={PROJECT / 'bootstrap' / 'policies.json'}"


def test_it_goes_up_keeps_a_state_refuses_a_destroy_and_once_unlocked_leaves_nothing(
    toolchain: Toolchain, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "rehearsal", "bootstrap", "--json", str(tmp_path / "report.json")]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=10 * MINUTES, check=False)
    assert done.returncode == 0, done.stdout
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["resources_created"] > 20
    assert (report["second_preview_changes"], report["refresh_changes"]) == (0, 0)
    checks = {check["name"]: check["ok"] for check in report["checks"]}
    assert checks == {"the bucket keeps a stack's state": True, "a destroy is refused": True}
    assert report["left"]["names"] == {"state": [], "aws": [], "kubernetes": [], "processes": []}
    assert not any(policy["mandatory"] for policy in report["policies"])


@pytest.fixture(scope="module")
def up(toolchain: Toolchain) -> Iterator[Bootstrapping]:
    with staged(Console(quiet=True)) as bootstrap:
        bootstrap.run("up", "up", "--yes", "--skip-preview", POLICIES)
        yield bootstrap


def test_each_role_is_taken_on_by_its_jobs_alone(up: Bootstrapping) -> None:
    iam = up.account.client("iam")
    roles = {role["RoleName"]: role for role in iam.list_roles(PathPrefix="/gpulab-bootstrap/")["Roles"]}
    subjects = {}
    for name, role in roles.items():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        condition = statement["Condition"]["StringEquals"]
        assert condition["token.actions.githubusercontent.com:aud"] == "sts.amazonaws.com"
        subjects[name] = condition["token.actions.githubusercontent.com:sub"]
    assert subjects == {
        "gpulab-preview": ["repo:example/gpulab:pull_request", "repo:example/gpulab:ref:refs/heads/main"],
        "gpulab-deploy-dev": ["repo:example/gpulab:environment:dev"],
        "gpulab-deploy-prod": ["repo:example/gpulab:environment:prod"],
    }


def test_it_prints_what_comes_next(up: Bootstrapping) -> None:
    outputs = up.engine.outputs()
    assert outputs["login"].startswith("pulumi login 's3://gpulab-state-")
    assert outputs["stackInit"]["dev"] == (
        "pulumi stack init dev --secrets-provider 'awskms://alias/gpulab-state?region=us-east-1'"
    )
    assert outputs["repositoryVariables"].keys() == {"GPULAB_STATE", "GPULAB_PREVIEW_ROLE", "GPULAB_REGION"}
    role = outputs["environmentVariables"]["prod"]["GPULAB_DEPLOY_ROLE"]
    assert role.endswith(":role/gpulab-bootstrap/gpulab-deploy-prod")
    assert outputs["permissionsBoundary"].endswith(":policy/gpulab-bootstrap/gpulab-boundary")


def test_an_account_that_knows_github_already_keeps_its_provider(up: Bootstrapping) -> None:
    iam = up.account.client("iam")
    (known,) = [one["Arn"] for one in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
    up.engine.configure("gpulab-bootstrap:openIdConnectProvider", known)
    result = up.run("with a provider", "preview", POLICIES)
    # The one of its own goes; the roles go on to trust the same ARN.
    assert [(step.op, step.type) for step in result.changes] == [
        ("delete", "aws:iam/openIdConnectProvider:OpenIdConnectProvider")
    ]


def test_a_configuration_that_is_wrong_is_refused_before_the_first_resource(up: Bootstrapping) -> None:
    up.engine.configure("gpulab-bootstrap:repository", "example")
    result = up.engine.run("preview", POLICIES)
    assert not result.ok
    assert any("gpulab-bootstrap:repository: must be a repository on GitHub" in error for error in result.errors)
    assert result.changes == []
