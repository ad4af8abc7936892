"""What NVIDIA's device plugin and feature discovery make of the GPUs in the machines of a site.

They do it while the stack's release of their chart, or of the GPU Operator, is deployed, and only where their
DaemonSets get: on nodes that its affinity selects and whose taints it tolerates, with the container runtime that sees
the GPUs. Where something is missing a node has no GPU to ask for, as on a site; the log says what.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import contracts
from contracts import MigGpu, clusters
from contracts.clusters import NodeGpus
from rehearsal.controllers.device_plugins import CHART as OPERATOR
from rehearsal.controllers.device_plugins import GPU, VENDOR, DevicePlugin, operator_plugin, report_gpus, sharing_plugin
from rehearsal.controllers.selectors import matches, tolerates
from rehearsal.controllers.world import NODES, Cluster, Object, place_of
from rehearsal.providers.kubernetes.chart_values import coalesced

from .machines import label_of

PLUGIN = "nvidia-device-plugin"
# NFD keeps the names of its labels in such an annotation of its own.
LABELLED = "rehearsal.gpulab.dev/feature-labels"

_LOG = logging.getLogger("controllers.plugins")
_RUNTIME_CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"
# On the RuntimeClass that the GPU Operator made.
_OF_OPERATOR = "rehearsal.gpulab.dev/of-operator"
_PCI = "feature.node.kubernetes.io/pci-10de.present"
# Distributions of cloud providers whose GPU images have NVIDIA's runtime as containerd's default.
_DEFAULT_RUNTIME = ("eks", "aks", "gke")


@dataclass(frozen=True, kw_only=True)
class Software:
    """NVIDIA's software as a release configures it.

    `found` are labels of node feature discovery on a node with a GPU; `discovers` says whether GPU feature discovery
    runs. `runtime_class` is what its pods ask for; None where containerd's default serves.
    """

    values: Mapping[str, Any]
    is_operator: bool
    found: Mapping[str, str]
    discovers: bool
    runtime_class: str | None
    affinity: Mapping[str, Any]
    node_selector: Mapping[str, str]
    tolerations: Sequence[Mapping[str, str]]

    @classmethod
    def of_plugin(cls, given: Mapping[str, Any]) -> Software:
        """The device plugin's own chart, with node feature discovery where GPU feature discovery wants it."""
        values = coalesced(given, contracts.chart(PLUGIN).values)
        discovers = bool(values["gfd"]["enabled"])
        with_features = values["nfd"].get("enabled", discovers)
        return cls(
            values=values,
            is_operator=False,
            found={_PCI: "true"} if with_features else {},
            discovers=discovers,
            runtime_class=values.get("runtimeClassName"),
            affinity=values.get("affinity") or {},
            node_selector=values.get("nodeSelector") or {},
            tolerations=values.get("tolerations") or [],
        )

    @classmethod
    def of_operator(cls, given: Mapping[str, Any]) -> Software:
        """The GPU Operator: it finds nodes with GPUs by node feature discovery, and sets the runtime class itself."""
        values = coalesced(given, contracts.chart(OPERATOR).values)
        return cls(
            values=values,
            is_operator=True,
            found={_PCI: "true"} if values["nfd"]["enabled"] else {},
            discovers=bool(values["gfd"]["enabled"]),
            runtime_class=values["operator"].get("runtimeClass") or "nvidia",
            affinity={},
            node_selector={},
            tolerations=values["daemonsets"]["tolerations"],
        )

    def plugin(self, labels: Mapping[str, str], machine: str, gpu: NodeGpus) -> DevicePlugin | None:
        """The device plugin of a node with these labels."""
        if self.is_operator:
            return operator_plugin(labels, self.values, _partitions(gpu), machine)
        config = self.values["config"]
        if not config["map"]:
            return DevicePlugin()
        return sharing_plugin(labels, config["map"], config["default"] or next(iter(config["map"])))

    def problem(self, node: Object, labels: Mapping[str, str], runtime_classes: set[str], distribution: str) -> str:
        """Why the DaemonSets do not run on a node, or see no GPU there; empty where they do."""
        wanted = self.affinity.get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution", {})
        terms = wanted.get("nodeSelectorTerms", [])
        if terms and not any(matches(term.get("matchExpressions", []), labels) for term in terms):
            return "the affinity of the device plugin does not select it"
        if not self.node_selector.items() <= labels.items():
            return "the node selector of the device plugin does not select it"
        taints = [one for one in node["spec"].get("taints", []) if one["effect"] != "PreferNoSchedule"]
        for taint in taints:
            if not any(tolerates(one, taint) for one in self.tolerations):
                return f"the device plugin does not tolerate its taint {taint['key']}"
        if self.runtime_class and self.runtime_class not in runtime_classes:
            return f"there is no RuntimeClass {self.runtime_class}, so the device plugin's pods are refused"
        if not self.runtime_class and distribution not in _DEFAULT_RUNTIME:
            return "the device plugin has no runtimeClassName, so its containers see no GPU (kubeflow #2683, k3s #4391)"
        return ""


class Plugins:
    """Keeps the labels and resources of machines with GPUs in line with NVIDIA's software."""

    def __init__(self, distribution: str) -> None:
        self._distribution = distribution
        self._told: dict[str, str] = {}

    def reconcile(self, cluster: Cluster) -> None:
        """Looks at each machine with GPUs."""
        software = _software(cluster)
        _keep_operators_class(cluster, software)
        classes = {one["metadata"]["name"] for one in cluster.listed(_RUNTIME_CLASSES)}
        for node in cluster.listed(NODES):
            hardware = clusters.gpus_of(node)
            if not hardware:
                continue
            gpus, found = self._made_of(node, hardware, software, classes)
            if software or LABELLED in node["metadata"].get("annotations", {}):
                _label(cluster, node, found)
                report_gpus(cluster, node, gpus)

    def _made_of(
        self, node: Object, hardware: Sequence[NodeGpus], software: Software | None, classes: set[str]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """The resources and the labels of a node."""
        if software is None:
            return {}, {}
        labels = {**node["metadata"].get("labels", {}), **software.found}
        problem = software.problem(node, labels, classes, self._distribution)
        name = node["metadata"]["name"]
        if problem != self._told.setdefault(name, ""):
            self._told[name] = problem
            _LOG.warning("%s: %s", name, problem or "the device plugin runs")
        plugin = None if problem else software.plugin(labels, name, hardware[0])
        if plugin is None:
            return {}, dict(software.found)
        count = sum(one.count for one in hardware)
        found = gpu_labels(hardware, plugin) if software.discovers else {}
        # Feature discovery does not say it: the GPU Operator does.
        present = {f"{GPU}.present": "true"} if software.is_operator else {}
        return plugin.resources(count), {**software.found, **present, **found}


def _keep_operators_class(cluster: Cluster, software: Software | None) -> None:
    """The GPU Operator makes its RuntimeClass where there is none, and that one goes with it."""
    classes = {one["metadata"]["name"]: one for one in cluster.listed(_RUNTIME_CLASSES)}
    wanted = software.runtime_class if software and software.is_operator else None
    for name, one in classes.items():
        if name != wanted and _OF_OPERATOR in one["metadata"].get("labels", {}):
            cluster.kubernetes.delete(place_of(_RUNTIME_CLASSES, one))
    if wanted and wanted not in classes:
        metadata = {"name": wanted, "labels": {_OF_OPERATOR: "true"}}
        made = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": metadata, "handler": wanted}
        cluster.kubernetes.create(place_of(_RUNTIME_CLASSES, made), made)


def _partitions(gpu: NodeGpus) -> MigGpu | None:
    """How such a GPU can be partitioned; None if it cannot. Its memory is told in different ways."""
    likely = (
        one
        for (name, memory), one in contracts.mig_gpus().items()
        if name in gpu.product and abs(memory - gpu.memory) <= memory / 10
    )
    return next(likely, None)


def gpu_labels(hardware: Sequence[NodeGpus], plugin: DevicePlugin) -> dict[str, str]:
    """The labels of GPU feature discovery (k8s-device-plugin, docs/gpu-feature-discovery).

    tests/node/unit/test_gpu_labels.py compares them with those of NVIDIA's own program. Of a GPU whose partitions are
    named like GPUs there is no memory here: the driver keeps some of each.
    """
    product, count = label_of(hardware[0].product), sum(one.count for one in hardware)
    slices = {profile: number * count for profile, number in plugin.slices.items()}
    capable = {f"{VENDOR}mps.capable": str(plugin.sharing == "mps" and plugin.replicas > 1).lower()}
    if not slices:
        memory = {f"{GPU}.memory": str(hardware[0].memory)}
        return {**_labels(GPU, product, count, plugin), **memory, **capable}
    strategy = {f"{VENDOR}mig.strategy": plugin.strategy}
    if plugin.strategy == "single":
        ((profile, number),) = slices.items()
        return {**_labels(GPU, f"{product}-MIG-{profile}", number, plugin), **strategy, **capable}
    found = {**_labels(GPU, product, count, None), f"{GPU}.memory": str(hardware[0].memory), **strategy, **capable}
    for profile, number in slices.items():
        found |= _labels(f"{VENDOR}mig-{profile}", f"{product}-MIG-{profile}", number, DevicePlugin())
    return found


def _labels(resource: str, product: str, count: int, plugin: DevicePlugin | None) -> dict[str, str]:
    """What a resource is and how it is shared; `plugin` is None where its GPUs are offered as partitions only."""
    shared = plugin is not None and plugin.replicas > 1
    return {
        # Of shares that bear the name of whole GPUs, the product says that they are shares.
        f"{resource}.product": product + ("-SHARED" if plugin and shared and not plugin.renamed else ""),
        f"{resource}.count": str(count),
        f"{resource}.replicas": str(plugin.replicas if plugin else 0),
        f"{resource}.sharing-strategy": plugin.sharing if plugin and shared else "none",
    }


def _software(cluster: Cluster) -> Software | None:
    """That of the deployed release; None without one."""
    if release := cluster.deployed(PLUGIN):
        return Software.of_plugin(release.values)
    release = cluster.deployed(OPERATOR)
    return Software.of_operator(release.values) if release else None


def _label(cluster: Cluster, node: Object, found: Mapping[str, str]) -> None:
    """Gives a node the labels that were found, and takes those away that were found before; others stay."""
    metadata = node["metadata"]
    before = [name for name in metadata.get("annotations", {}).get(LABELLED, "").split(",") if name]
    has = metadata.get("labels", {})
    # A label of that name that is the site's own stays the site's own.
    own = {name: value for name, value in found.items() if name in before or name not in has}
    changes = {name: own.get(name) for name in {*before, *own} if has.get(name) != own.get(name)}
    if changes or sorted(before) != sorted(own):
        annotations = {LABELLED: ",".join(sorted(own)) or None}
        cluster.kubernetes.patch(place_of(NODES, node), {"metadata": {"labels": changes, "annotations": annotations}})
