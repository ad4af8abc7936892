"""A failed upgrade of the hub: Helm rolls back, notebooks keep running, and the stack file can go back too.

The chart is made here: only the hub's Deployment with its files. Helm is real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from changed_program import change, copied_program

import contracts
from components.gates.notebook_end import NOTEBOOKS
from components.hub.values import CHART, PACKAGE
from components.teams.names import HUB_NAMESPACE, NOTEBOOK_SERVICE_ACCOUNT
from rehearsal.checks.helm_releases import releases
from rehearsal.checks.pods import DO_NOT_DISRUPT
from rehearsal.controllers.world import PODS, Kubernetes, Object, place
from rehearsal.machine.toolchain import Toolchain
from rehearsal.phases import Options, Rehearsal
from tests.rehearsal import bare_pods
from tests.rehearsal.labs import lab, small_stack

pytestmark = pytest.mark.seconds(150)

TEAM_NAMESPACE = "team-research"
CONFIG_MAPS = "/api/v1/configmaps"
DEPLOYMENT = "/apis/apps/v1/namespaces/hub/deployments/hub"
PATIENCE = 240

TEMPLATE = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: hub}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {component: hub}}
  template:
    metadata:
      labels: {component: hub}
      annotations: {{ toJson .Values.hub.annotations }}
    spec:
      serviceAccountName: hub
      nodeSelector: {{ toJson .Values.hub.nodeSelector }}
      tolerations: {{ toJson .Values.scheduling.corePods.tolerations }}
      securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
      volumes: {{ toJson .Values.hub.extraVolumes }}
      containers:
        - name: hub
          image: hub
          resources: {{ toJson .Values.hub.resources }}
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: hub}
"""


@pytest.fixture
def charts(tmp_path: Path) -> Path:
    """A folder with the chart, at the pinned version and with the real one's values."""
    pinned = contracts.chart(CHART)
    folder = tmp_path / "charts" / CHART
    (folder / "templates").mkdir(parents=True)
    metadata = {"apiVersion": "v2", "name": CHART, "version": pinned.version}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(metadata), encoding="utf-8")
    (folder / "values.yaml").write_text(yaml.safe_dump(dict(pinned.values)), encoding="utf-8")
    (folder / "templates" / "hub.yaml").write_text(TEMPLATE, encoding="utf-8")
    return folder.parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The program, with a timeout of seconds for upgrades of the hub."""
    made = copied_program(tmp_path / "program")
    change(made / "components" / "hub" / "jupyterhub.py", r"RELEASE_TIMEOUT = 900", "RELEASE_TIMEOUT = 60")
    return made


@pytest.fixture
def rehearsal(toolchain: Toolchain, project: Path, charts: Path, tmp_path: Path) -> Iterator[Rehearsal]:
    """A small lab with a hub, up."""
    stack_file = small_stack(tmp_path, people=True)
    with lab(Options(stack_file=stack_file, stack="dev", project=project, charts=(charts,))) as staging:
        staging.up()
        yield staging


def mounted(kubernetes: Kubernetes) -> dict[str, str]:
    """The files that the hub's pods find, by name."""
    hub = kubernetes.get(DEPLOYMENT)
    assert hub
    assert hub["status"].get("readyReplicas") == 1, hub["status"]
    (volume,) = [one for one in hub["spec"]["template"]["spec"]["volumes"] if one["name"] == PACKAGE]
    names = [source["configMap"]["name"] for source in volume["projected"]["sources"]]
    maps = {name: kubernetes.get(place(CONFIG_MAPS, name, HUB_NAMESPACE)) for name in names}
    assert None not in maps.values(), f"the hub's pods mount {names}, of which there are {maps.keys()}"
    return {key: text for one in maps.values() if one for key, text in one["data"].items()}


def run_notebook(kubernetes: Kubernetes) -> Callable[[], tuple[str, str, int]]:
    """Starts a notebook. Returns its uid, phase and restarts, which show whether it is still the same."""
    key, _, value = NOTEBOOKS.partition("=")
    path = place(PODS, "notebook", TEAM_NAMESPACE)
    restricted: Object = {
        "allowPrivilegeEscalation": False,
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": "main",
        "securityContext": restricted,
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    }
    spec = {
        "serviceAccountName": NOTEBOOK_SERVICE_ACCOUNT,
        "nodeSelector": {"gpulab.dev/pool": "cpu"},
        "containers": [container],
    }
    metadata = {"name": "notebook", "labels": {key: value}, "annotations": {DO_NOT_DISRUPT: "true"}}
    bare_pods.run(kubernetes, path, {"metadata": metadata, "spec": spec}, seconds=PATIENCE)

    def look() -> tuple[str, str, int]:
        pod = kubernetes.get(path)
        assert pod, ["the notebook is gone", *(one["message"] for one in kubernetes.list("/api/v1/events"))]
        restarts = sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))
        return pod["metadata"]["uid"], pod["status"]["phase"], restarts

    return look


def test_a_failed_upgrade_ends_no_notebook_and_can_be_taken_back(rehearsal: Rehearsal, project: Path) -> None:
    kubernetes = Kubernetes(rehearsal.plane.kubeconfig)
    before = mounted(kubernetes)
    look = run_notebook(kubernetes)
    notebook = look()
    stack_file = rehearsal.workspace.stack_file
    previous = stack_file.read_text(encoding="utf-8")

    # Another catalogue, other modules, and a hub that no system node has room for.
    document = yaml.safe_load(previous)
    document["config"]["gpulab:profiles"]["python"]["displayName"] = "Snake"
    stack_file.write_text(yaml.safe_dump(document), encoding="utf-8")
    module = project / "components" / "hub" / "inside" / "people.py"
    previous_module = module.read_text(encoding="utf-8")
    module.write_text(f"{previous_module}\n# Another.\n", encoding="utf-8")
    values = project / "components" / "hub" / "values.py"
    previous_values = values.read_text(encoding="utf-8")
    change(values, r'"cpu": "200m"', '"cpu": "32"')
    failed = rehearsal.engine.run("up", "--yes", "--skip-preview")
    assert not failed.ok
    assert any("has been rolled back due to atomic being set" in error for error in failed.errors), failed.errors
    # What ran runs again, with the files that it had.
    (release,) = [one for one in releases(rehearsal.plane) if one.name == CHART]
    assert release.status == "deployed"
    assert mounted(kubernetes) == before
    assert look() == notebook

    stack_file.write_text(previous, encoding="utf-8")
    module.write_text(previous_module, encoding="utf-8")
    values.write_text(previous_values, encoding="utf-8")
    rehearsal.up()
    assert mounted(kubernetes) == before
    rehearsal.second_preview()
    assert rehearsal.report.second_preview_changes == []
    assert look() == notebook
    # Nothing of the attempt is left.
    collection = f"/api/v1/namespaces/{HUB_NAMESPACE}/configmaps"
    maps = [one["metadata"]["name"] for one in kubernetes.list(collection) if one.get("immutable")]
    assert len(maps) == 2, maps
