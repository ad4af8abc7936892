"""Scene 8: a stack on EKS whose hub, Keycloak and notebooks run in containers; AWS is simulated."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from playwright.sync_api import Browser, Playwright
from rich.console import Console

from components.platform_urls import PlatformUrls
from rehearsal.controllers.world import NODE_CLAIMS, Kubernetes, Object
from rehearsal.machine.processes import answers
from rehearsal.machine.workspace import PROJECT
from rehearsal.node import root
from rehearsal.node.eks import EksNodeRehearsal
from rehearsal.node.namespaces import own_network
from rehearsal.progress import Display
from rehearsal.run import begun
from rehearsal.stack_phases import Options
from verify import __main__ as verify
from verify.cluster_api import RUNS

from . import chromium
from .keycloak import PASSWORD, Keycloak
from .pages import Seen
from .pictures import Pictures
from .waiting import until

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.endurance, pytest.mark.seconds(600)]

URLS = PlatformUrls.of(None)
# Of those that dev names, this one can be had without a registry.
IMAGE = "quay.io/jupyter/scipy-notebook:2026-08-03"
_EFS = "efs.csi.aws.com"


@pytest.fixture(scope="module")
def cloud(_cache_of_machines: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EksNodeRehearsal]:
    """The stack `dev`, up, in whose network this thread is."""
    options = Options(stack_file=_stack_file(tmp_path_factory.mktemp("stack")), stack="dev", node=True)
    with own_network(), begun(options, Console(stderr=True)) as rehearsal:
        rehearsal.begin()
        rehearsal.up()
        yield cast("EksNodeRehearsal", rehearsal)


@pytest.fixture(scope="module")
def forwarded(cloud: EksNodeRehearsal) -> Iterator[None]:
    """Sign-in and the platform at localhost, by the commands that the stack's outputs name."""
    kubectl = cloud.toolchain.path("kubectl")
    environment = {"PATH": f"{kubectl.parent}:/usr/bin:/bin", "KUBECONFIG": str(cloud.plane.kubeconfig), "HOME": "/"}
    commands: dict[str, str] = cloud.engine.outputs()["portForward"]
    running = [subprocess.Popen(shlex.split(one), env=environment) for one in commands.values()]
    try:
        until(lambda: all(answers(url) for url in (URLS.sign_in, f"{URLS.platform}/jupyter/hub/health")), "both answer")
        yield
    finally:
        for one in running:
            one.terminate()
            one.wait()


@pytest.fixture(scope="module")
def browser(
    cloud: EksNodeRehearsal, playwright: Playwright, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Browser]:
    """Chromium in the network of the machine with the control plane."""
    debian = root.ensure(Display(Console(stderr=True)))
    folder = tmp_path_factory.mktemp("chromium")
    with chromium.started(playwright, folder, debian, cloud.rig.machines[0]) as started:
        yield started


def test_each_node_is_a_machine_and_the_checks_of_the_stack_hold(cloud: EksNodeRehearsal) -> None:
    # Before anybody has a notebook: quotas are tried too.
    cloud.check()
    failed = [f"{one.name}: {one.detail}" for one in cloud.report.checks if one.ok is False]
    assert not failed, "\n".join(failed)


def test_a_person_computes_on_machines_that_karpenter_bought(
    cloud: EksNodeRehearsal, forwarded: None, browser: Browser, tmp_path: Path
) -> None:
    kubernetes = Kubernetes(cloud.plane.kubeconfig)
    ada = Seen(browser.new_page(), Pictures.of("8-eks", tmp_path), URLS)
    ada.open_hub()
    ada.sign_in("ada", Keycloak(kubernetes).first_passwords["ada"])
    ada.set_password(PASSWORD)
    ada.open_form()
    ada.start("PyTorch, a share of a GPU")
    lab = ada.in_lab()
    lab.pictures.take(lab.tab, "lab")

    lab.new_notebook()
    assert lab.run_cell("6 * 7") == "42"
    assert "NVIDIA" in lab.run_cell("!nvidia-smi -L")
    assert lab.run_cell("!touch ~/kept && df --output=target ~ | tail -1").strip() == "/home/jovyan"
    lab.pictures.take(lab.tab, "cell")

    (pod,) = _notebooks(kubernetes)
    claim = _claim_of(kubernetes, pod)
    assert claim["metadata"]["labels"]["karpenter.sh/nodepool"] == "gpu-shared"
    assert _driver_of_home(kubernetes, pod) == _EFS


def test_verify_finds_that_the_site_works_and_leaves_nothing(cloud: EksNodeRehearsal, tmp_path: Path) -> None:
    kubernetes = Kubernetes(cloud.plane.kubeconfig)
    report = tmp_path / "verify.json"
    arguments = [str(cloud.options.stack_file), "--kubeconfig", str(cloud.plane.kubeconfig), "--json", str(report)]
    status = verify.main(arguments)
    checks = {one["name"]: one for one in json.loads(report.read_text(encoding="utf-8"))["checks"]}
    assert status == verify.WORKS, report.read_text(encoding="utf-8")
    assert {name for name, one in checks.items() if one["state"] == "skipped"} == {
        "names lead somewhere",
        "certificates are valid",
    }
    assert "NVIDIA L4" in checks["a pod sees the GPU of gpu-shared"]["detail"]
    namespaces = {one["metadata"]["name"] for one in kubernetes.list("/api/v1/namespaces")}
    assert not [name for name in namespaces if name.startswith(RUNS)]


def _stack_file(folder: Path) -> Path:
    """Dev, with the one image of Jupyter's that the rig has for notebooks without a GPU."""
    document: Any = yaml.safe_load((PROJECT / "Pulumi.dev.yaml").read_text(encoding="utf-8"))
    document["config"]["gpulab:profiles"]["python"]["image"] = IMAGE
    path = folder / "Pulumi.dev.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def _notebooks(kubernetes: Kubernetes) -> list[Object]:
    return kubernetes.list("/api/v1/pods", labelSelector="component=singleuser-server")


def _claim_of(kubernetes: Kubernetes, pod: Object) -> Object:
    """The NodeClaim of the node on which a pod runs."""
    node = pod["spec"]["nodeName"]
    (found,) = [one for one in kubernetes.list(NODE_CLAIMS) if one.get("status", {}).get("nodeName") == node]
    return found


def _driver_of_home(kubernetes: Kubernetes, pod: Object) -> str:
    """The CSI driver of the volume that is mounted as the home."""
    (mounted,) = [
        one["name"] for one in pod["spec"]["containers"][0]["volumeMounts"] if one["mountPath"] == "/home/jovyan"
    ]
    (volume,) = [one for one in pod["spec"]["volumes"] if one["name"] == mounted]
    namespace, claim = pod["metadata"]["namespace"], volume["persistentVolumeClaim"]["claimName"]
    bound = kubernetes.request("GET", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{claim}")
    found = kubernetes.request("GET", f"/api/v1/persistentvolumes/{bound['spec']['volumeName']}")
    return found["spec"]["csi"]["driver"]
