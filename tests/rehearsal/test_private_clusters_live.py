"""A private cluster on an account that is not the rehearsal's: refused together with its VPC, and made after it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from background import background

from rehearsal.cloud import starting as aws
from rehearsal.machine import workspace
from rehearsal.machine.engine import Engine, Result
from rehearsal.machine.processes import free_ports
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT
from rehearsal.phases import REHEARSAL_DAY
from tests.rehearsal.labs import small_stack
from tests.rehearsal.recipes import recipes

pytestmark = pytest.mark.seconds(30)

ACCOUNT = "210987654321"
NETWORK = "gpulab:index:Network"


@pytest.fixture(scope="module")
def engine(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The engine on a lab with a private endpoint, with its own AWS account and without a cluster."""
    folder = tmp_path_factory.mktemp("private")
    stack_file = small_stack(folder)
    document = yaml.safe_load(stack_file.read_text(encoding="utf-8"))
    cluster = document["config"]["gpulab:cluster"]
    cluster["administrators"] = [f"arn:aws:iam::{ACCOUNT}:role/platform-admin"]
    cluster["endpoint"] = {"privateCidrs": [document["config"]["gpulab:network"]["cidr"]]}
    stack_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    (port,) = free_ports(1)
    made = workspace.make(
        folder / "rehearsal",
        stack_file,
        project=PROJECT,
        stack="dev",
        toolchain=toolchain,
        plugins={},
        aws_url=f"http://127.0.0.1:{port}",
        today=REHEARSAL_DAY,
    )
    with background(folder / "logs") as processes:
        own = {**made.environment, "PYTHONPATH": str(PROJECT), "GPULAB_QUOTAS": "{}", "MOTO_ACCOUNT_ID": ACCOUNT}
        aws.start(processes, port, own)
        made_engine = Engine(made, processes.rehearsal_id, folder / "logs")
        made_engine.initialise()
        made_engine.with_policies = False
        yield made_engine


def follow(engine: Engine, recipe: str, *command: str) -> Result:
    """The lines of a recipe that configure the stack, then a command instead of `pulumi up`."""
    *configuring, up = recipes()[recipe]
    assert up == "pulumi up"
    for line in configuring:
        done = subprocess.run(
            ["bash", "-c", line], cwd=engine.workspace.folder, env=dict(engine.workspace.environment), check=False
        )
        assert done.returncode == 0, line
    return engine.run(*command)


def test_a_private_cluster_is_refused_together_with_its_vpc_and_taken_after_it(engine: Engine) -> None:
    refused = engine.run("preview")
    assert not refused.ok
    said = "\n".join(refused.errors)
    assert "this run makes the VPC" in said
    assert "docs/private-clusters.md" in said
    assert "Traceback" not in said

    first = follow(engine, "network-first", "up", "--yes", "--skip-preview")
    assert first.ok, first.errors
    made = {one["type"] for one in engine.resources()}
    assert {NETWORK, "aws:ec2/vpc:Vpc", "aws:ec2/natGateway:NatGateway"} <= made
    assert not made & {"aws:eks/cluster:Cluster", "aws:kms/key:Key", "aws:efs/fileSystem:FileSystem"}

    then = follow(engine, "after-the-network", "preview")
    assert then.ok, then.errors
    assert any("Make sure that a VPN or a proxy leads there" in warning for warning in then.warnings)
    assert "aws:eks/cluster:Cluster" in {step.type for step in then.changes}


def test_values_for_documentation_are_refused_by_name(engine: Engine) -> None:
    document = yaml.safe_load(Path(engine.workspace.stack_file).read_text(encoding="utf-8"))
    documented = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))["config"]["gpulab:cluster"]
    document["config"]["gpulab:cluster"] = documented
    engine.workspace.stack_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    refused = engine.run("preview")
    assert not refused.ok
    said = "\n".join(refused.errors)
    assert "gpulab:cluster.endpoint.publicCidrs[0]: 203.0.113.0/24 is for documentation" in said
    assert {step.type for step in refused.steps if step.op == "create"} <= {
        "pulumi:pulumi:Stack",
        "gpulab:index:Platform",
        "pulumi:providers:aws",
    }
