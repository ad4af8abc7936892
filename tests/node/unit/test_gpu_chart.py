"""NVIDIA's real chart takes what the platform gives it, and differs from its contract in nothing but the version."""

from __future__ import annotations

import datetime
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import contracts
import settings
from components.ground.placement import Placement
from components.images import chart_images
from components.nodes.site_gpu import SiteGpuArgs, device_plugin_values
from contracts import clusters
from rehearsal.machine.toolchain import Toolchain
from rehearsal.machine.workspace import PROJECT
from rehearsal.node.gpu import charts
from rehearsal.node.gpu.tools import DEVICE_PLUGIN
from rehearsal.providers.kubernetes import archives

STACK_FILES = (PROJECT / "Pulumi.workstation.yaml", PROJECT / "examples" / "talos.yaml")
PLACEMENT = Placement(node_selector={}, tolerations=[], annotations={}, off_pools={"nodeSelector": {"role": "system"}})

pytestmark = pytest.mark.skipif(not shutil.which("go"), reason="Go downloads the modules that have the charts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("charts")
    charts.charts(made)
    return made


def rendered(folder: Path, toolchain: Toolchain, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The objects of a release, by the real Helm."""
    command = [toolchain.path("helm"), "template", "gpu", folder / charts.NAME, "--values", "-", "--namespace", "gpu"]
    done = subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@pytest.mark.parametrize("path", STACK_FILES, ids=lambda path: path.stem)
def test_its_daemon_sets_get_to_the_nodes_that_the_stack_means(folder: Path, toolchain: Toolchain, path: Path) -> None:
    stack = settings.check_stack_file(path, "lab", datetime.date(2026, 6, 1))
    assert isinstance(stack, settings.ExistingSettings)
    values = device_plugin_values(
        SiteGpuArgs(
            pools=stack.node_pools,
            gpu=stack.gpu,
            placement=PLACEMENT,
            containerd=clusters.containerd(stack.ground.distribution),
            runtime_class_exists=True,
        )
    )
    objects = rendered(folder, toolchain, values)
    templates = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in objects if one["kind"] == "DaemonSet"
    }
    assert len(templates) == 4  # the plugin, feature discovery of GPUs and of nodes, MPS
    for name, pod in templates.items():
        assert pod["affinity"] == values["affinity"], name
        assert all(one in pod["tolerations"] for one in values["tolerations"]), name
        assert pod.get("runtimeClassName") == (None if "worker" in name else "nvidia"), name
    (configs,) = [
        one["data"] for one in objects if one["kind"] == "ConfigMap" and one["metadata"]["name"].endswith("configs")
    ]
    assert configs == {name: text.strip() for name, text in values["config"]["map"].items()}


def test_helm_and_the_rehearsal_find_it_by_the_version_of_the_contract(folder: Path) -> None:
    contract = contracts.chart(charts.NAME)
    archive = archives.find(charts.NAME, contract.version, [folder])
    assert archive
    archive.load()
    assert archive.defaults == contract.values
    assert archive.schema == contract.schema


def test_its_images_are_those_that_a_node_has(folder: Path, toolchain: Toolchain) -> None:
    objects = rendered(folder, toolchain, {"gfd": {"enabled": True}})
    pods = [one["spec"]["template"]["spec"] for one in objects if "template" in one.get("spec", {})]
    used = {one["image"] for pod in pods for one in (*pod["containers"], *(pod.get("initContainers") or []))}
    assert used == set(chart_images(charts.NAME).values())


def test_a_report_says_what_is_not_the_release_that_the_stack_pins() -> None:
    (sentence,) = charts.differences()
    assert DEVICE_PLUGIN.version in sentence
    assert contracts.chart(charts.NAME).version in sentence
