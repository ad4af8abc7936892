"""The hub's old keys, which were RandomBytes: the recipe of docs/upgrades.md keeps them, and never in plain text."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

from rehearsal.machine import workspace
from rehearsal.machine.engine import Engine
from rehearsal.machine.processes import MARK
from rehearsal.machine.toolchain import Toolchain
from rehearsal.phases import REHEARSAL_DAY
from tests.rehearsal.recipes import recipes

HUB = """
import pulumi
import pulumi_random as random
from components.hub.jupyterhub import random_key

child = pulumi.ResourceOptions(parent=pulumi.ComponentResource("gpulab:index:Hub", "lab-hub"))
for key in ("cookies", "auth-state"):
    pulumi.export(key, KEY)
"""
BEFORE = HUB.replace("KEY", 'random.RandomBytes(f"lab-hub-{key}", length=32, opts=child).hex')
NOW = HUB.replace("KEY", 'random_key(f"lab-hub-{key}", child)')


def run(engine: Engine, line: str) -> str:
    """A line as the stack's owner types it, with every question answered yes."""
    environment = {
        **engine.workspace.environment,
        MARK: engine.rehearsal_id,
        "PULUMI_SKIP_CONFIRMATIONS": "true",
    }
    command = ["bash", "-e", "-o", "pipefail", "-c", line]
    folder = engine.workspace.folder
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_imported_keys_stay_and_no_state_has_them_open(toolchain: Toolchain, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("{name: lab, runtime: python}", encoding="utf-8")
    (project / "Pulumi.dev.yaml").write_text("config: {}", encoding="utf-8")
    (project / "__main__.py").write_text(BEFORE, encoding="utf-8")
    made = workspace.make(
        tmp_path / "rehearsal",
        project / "Pulumi.dev.yaml",
        project=project,
        stack="dev",
        toolchain=toolchain,
        plugins={},
        aws_url="http://127.0.0.1:9",
        today=REHEARSAL_DAY,
    )
    (tmp_path / "logs").mkdir()
    engine = Engine(made, f"tests-{tmp_path.name}", tmp_path / "logs")
    engine.with_policies = False
    engine.initialise()
    assert engine.run("up", "--yes", "--skip-preview").ok
    keys = json.loads(run(engine, "pulumi stack output --json --show-secrets"))
    spellings = [one for key in keys.values() for one in (key, base64.b64encode(bytes.fromhex(key)).decode())]
    assert [one for one in spellings if one in run(engine, "pulumi stack export")]

    run(engine, "\n".join(recipes()["keep-the-hubs-keys"]))
    (project / "__main__.py").write_text(NOW, encoding="utf-8")
    result = engine.run("up", "--yes", "--skip-preview")
    assert result.ok, result.output
    assert json.loads(run(engine, "pulumi stack output --json --show-secrets")) == keys
    assert {step.op for step in result.changes} == {"delete"}
    assert not [one for one in spellings if one in run(engine, "pulumi stack export")]
