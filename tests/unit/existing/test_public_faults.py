"""Faults that people have reported in public, of GPUs and volumes on clusters that exist: none of them is made here.

Each test has its source, read on 2026-11-30. They judge what the committed stack files make.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import settings
from components.ground.existing.found import FoundCluster
from components.ground.placement import Placement
from components.hub.catalogue_from_settings import catalogue
from components.hub.inside.catalogue import parse
from components.hub.inside.choices import choices
from components.hub.inside.pod import overrides
from components.nodes.site_gpu import SiteGpu, SiteGpuArgs, device_plugin_values, site_operator_values
from components.storage.site_storage import SiteStorageClasses, SiteStorageClassesArgs
from contracts import clusters
from rehearsal.controllers.selectors import matches, tolerates
from settings.pools.fixed_pools import FixedPool
from settings.pools.site_gpu import SiteGpu as SiteGpuSettings

PROJECT = Path(__file__).parents[3]
WORKSTATION, TALOS = PROJECT / "Pulumi.workstation.yaml", PROJECT / "examples" / "talos.yaml"
TODAY = datetime.date(2026, 6, 1)
PLACEMENT = Placement(node_selector={}, tolerations=[], annotations={}, off_pools={})
RELEASE, RUNTIME_CLASS = "kubernetes:helm.sh/v3:Release", "kubernetes:node.k8s.io/v1:RuntimeClass"
RBAC = "kubernetes:rbac.authorization.k8s.io/v1"


def load(path: Path) -> settings.ExistingSettings:
    loaded = settings.check_stack_file(path, "lab", TODAY)
    assert isinstance(loaded, settings.ExistingSettings)
    return loaded


def gpu_args(path: Path) -> SiteGpuArgs:
    """What the GPU software of a stack file gets on the cluster of its distribution's fixture."""
    stack = load(path)
    distribution = stack.ground.distribution
    found = FoundCluster.of(clusters.cluster(distribution))
    return SiteGpuArgs(
        pools=stack.node_pools,
        gpu=stack.gpu,
        placement=PLACEMENT,
        containerd=clusters.containerd(distribution),
        runtime_class_exists=stack.gpu.runtime_class in {one.name for one in found.runtime_classes},
    )


def operator_args(distribution: str, **gpu: bool) -> SiteGpuArgs:
    """What the GPU Operator gets on hosts of a distribution."""
    pool = FixedPool.model_validate({"selector": {"accelerator": "l40s"}, "gpus": {"count": 2}})
    return SiteGpuArgs(
        pools={"gpu": pool},
        gpu=SiteGpuSettings.model_validate({"plugin": "operator", **gpu}),
        placement=PLACEMENT,
        containerd=clusters.containerd(distribution),
        runtime_class_exists=False,
    )


def env_of(values: Mapping[str, Any], part: str) -> dict[str, str]:
    return {one["name"]: one["value"] for one in values[part].get("env", ())}


def selects(affinity: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a pod with this node affinity may run on a node with these labels."""
    terms = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    return any(matches(term["matchExpressions"], labels) for term in terms)


@pytest.mark.parametrize("path", [WORKSTATION, TALOS], ids=["k3s", "talos"])
def test_the_device_plugin_has_the_runtime_class(path: Path, mocks: Any) -> None:
    """k3s finds NVIDIA's runtime, and does not make it the default: without runtimeClassName the plugin finds no GPU.

    https://github.com/NVIDIA/k8s-device-plugin/issues/406, https://github.com/k3s-io/k3s/issues/4391. k3s makes the
    RuntimeClass itself; on Talos a pod that names it is refused until somebody makes it.
    """
    args = gpu_args(path)
    mocks.deploy(lambda: SiteGpu("lab-gpu", args))
    release = mocks.one(RELEASE)
    assert release.inputs["values"]["runtimeClassName"] == "nvidia"
    made = [(one.inputs["metadata"]["name"], one.inputs["handler"]) for one in mocks.all(RUNTIME_CLASS)]
    assert made == ([] if path == WORKSTATION else [("nvidia", "nvidia")])
    for one in mocks.all(RUNTIME_CLASS):
        assert mocks.needs(release, one)


@pytest.mark.parametrize("distribution", ["k3s", "rke2", "microk8s", "kubeadm", "talos"])
def test_the_validator_looks_for_the_hosts_driver(distribution: str) -> None:
    """The operator's validator repeats "Attempting to validate a driver container installation" on hosts with a driver.

    https://github.com/NVIDIA/gpu-operator/issues/1276 (k3s), https://github.com/NVIDIA/gpu-operator/issues/1687 (Talos,
    whose driver is below /usr/local). It also waits for links in /dev/char, which it may be unable to make.
    """
    values = site_operator_values(operator_args(distribution))
    assert values["driver"] == {"enabled": False}
    assert values["toolkit"] == {"enabled": False}
    root = values.get("hostPaths", {}).get("driverInstallDir", "/")
    assert root == ("/usr/local" if distribution == "talos" else "/")
    assert {"name": "DISABLE_DEV_CHAR_SYMLINK_CREATION", "value": "true"} in values["validator"]["driver"]["env"]


@pytest.mark.parametrize("distribution", ["k3s", "rke2"])
def test_the_toolkit_leaves_ranchers_template_alone(distribution: str) -> None:
    """RKE2's containerd is not where the toolkit looks; and with its template overwritten RKE2 does not start again.

    https://github.com/NVIDIA/gpu-operator/issues/406 (socket), https://github.com/NVIDIA/gpu-operator/issues/992
    (config.toml.tmpl).
    """
    env = env_of(site_operator_values(operator_args(distribution, toolkit=True)), "toolkit")
    assert env["CONTAINERD_SOCKET"] == "/run/k3s/containerd/containerd.sock"
    assert not [value for value in env.values() if value.endswith(".tmpl")]


def test_the_toolkit_finds_the_containerd_of_a_snap() -> None:
    """MicroK8s has everything below /var/snap: https://github.com/canonical/microk8s-core-addons, addons/nvidia."""
    env = env_of(site_operator_values(operator_args("microk8s", toolkit=True)), "toolkit")
    assert env["CONTAINERD_SOCKET"] == "/var/snap/microk8s/common/run/containerd.sock"
    assert env["CONTAINERD_CONFIG"].startswith("/var/snap/microk8s/current/args/")


@pytest.mark.parametrize("path", [WORKSTATION, TALOS], ids=["k3s", "talos"])
def test_notebooks_see_the_gpu_that_plain_pods_see(path: Path) -> None:
    """A test pod sees the GPU, and a notebook's torch.cuda.is_available() is False: its pod has no runtimeClassName.

    https://github.com/kubeflow/community-distribution/issues/2683 (k3s). Where a start follows one with a GPU,
    KubeSpawner merges what it gets, so a notebook without GPUs takes the class away.
    """
    read = parse(catalogue(load(path)))
    groups = [f"/{team}/data-scientist" for team in read.teams]
    offered = choices(read, groups)
    with_gpus = {one.profile.name: bool(one.profile.gpu) for one in offered}
    assert {True, False} <= {*with_gpus.values()}
    for one in offered:
        pod = overrides(read, one, datetime.datetime.now(datetime.UTC))
        wanted = "nvidia" if one.profile.gpu else None
        assert pod["extra_pod_config"]["runtimeClassName"] == wanted
        assert bool(pod["extra_resource_limits"].keys() & {"nvidia.com/gpu", "nvidia.com/gpu.shared"}) == bool(wanted)


@pytest.mark.parametrize("distribution", ["k3s", "talos"])
def test_a_second_local_path_provisioner_leaves_the_first_its_rights(distribution: str, mocks: Any) -> None:
    """Rancher's manifest on k3s binds the only ClusterRoleBinding to its own namespace: k3s' provisioner then crashes.

    https://github.com/rancher/local-path-provisioner/issues/211, .../issues/330. Two that serve one class would also
    both make its volumes.
    """
    storage = load(TALOS).storage
    args = SiteStorageClassesArgs(settings=storage, distribution="k3s", placement=PLACEMENT)
    mocks.deploy(lambda: SiteStorageClasses("lab-storage", args))
    first = clusters.cluster(distribution)
    taken = {(one["kind"], one["metadata"]["name"]) for one in first if "namespace" not in one["metadata"]}
    ranchers = {
        ("ClusterRole", "local-path-provisioner-role"),
        ("ClusterRoleBinding", "local-path-provisioner-bind"),
        ("StorageClass", "local-path"),
    }
    made = {
        (one.type.rpartition(":")[2], one.inputs["metadata"]["name"])
        for one in mocks.resources
        if one.type.startswith("kubernetes:") and "namespace" not in one.inputs.get("metadata", {"namespace": ""})
    }
    assert {"ClusterRole", "ClusterRoleBinding", "StorageClass"} <= {kind for kind, _ in made}
    assert made.isdisjoint(taken | ranchers)
    binding = mocks.one(f"{RBAC}:ClusterRoleBinding")
    (subject,) = binding.inputs["subjects"]
    assert subject["namespace"] in {name for kind, name in made if kind == "Namespace"}
    assert ("ClusterRole", binding.inputs["roleRef"]["name"]) in made
    provisioners = {one["provisioner"] for one in first if one["kind"] == "StorageClass"}
    assert mocks.one("kubernetes:storage.k8s.io/v1:StorageClass").inputs["provisioner"] not in provisioners


@pytest.mark.parametrize("path", [WORKSTATION, TALOS], ids=["k3s", "talos"])
def test_gpu_software_runs_where_only_the_sites_own_label_is(path: Path) -> None:
    """The chart's DaemonSets want labels of Node Feature Discovery, whose workers want others: 0 pods are desired.

    https://github.com/NVIDIA/k8s-device-plugin/issues/607 (nvidia.com/gpu.present by hand), .../issues/1213 (Talos,
    where the PCI label has the device's class in it), .../issues/734 (a taint that the workers do not tolerate).
    """
    args = gpu_args(path)
    values = device_plugin_values(args)
    nodes = {node.name: node for node in FoundCluster.of(clusters.cluster(load(path).ground.distribution)).nodes}
    labels = {name: dict(node.labels) for name, node in nodes.items()}
    taints = {name: [_taint(one) for one in node.taints] for name, node in nodes.items()}
    for name, pool in args.pools.items():
        for node in pool.nodes:  # as `components.nodes.fixed_nodes` marks them
            labels[node] |= pool.node_selector(name)
            taints[node] += [_taint(one) for one in pool.taints]
    with_gpus = {node["metadata"]["name"] for node in _machines(path) if clusters.gpus_of(node)}
    for affinity, tolerations in (
        (values["affinity"], values["tolerations"]),
        (values["nfd"]["worker"]["affinity"], values["nfd"]["worker"]["tolerations"]),
    ):
        assert {name for name in nodes if selects(affinity, labels[name])} == with_gpus
        for name in with_gpus:
            assert all(any(tolerates(one, taint) for one in tolerations) for taint in taints[name])


def _machines(path: Path) -> Sequence[dict[str, Any]]:
    return [one for one in clusters.cluster(load(path).ground.distribution) if one["kind"] == "Node"]


def _taint(taint: Any) -> dict[str, str]:
    return {"key": taint.key, "value": taint.value or "", "effect": taint.effect}
