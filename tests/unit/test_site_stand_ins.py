"""The parts of a rehearsal on a cluster that exists: its machines, and what NVIDIA's software and provisioners do."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

import settings
from components.ground.existing.ownership import Named
from contracts import clusters
from rehearsal.controllers.deployed import DeployedRelease
from rehearsal.controllers.world import NODES, Cluster
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.providers.kubernetes import configuration
from rehearsal.site import kubeconfig, machines, secrets_given
from rehearsal.site.cluster import Snapshot, without_programs
from rehearsal.site.plugins import LABELLED, Plugins
from rehearsal.site.provisioners import Provisioners
from rehearsal.stack_phases import REHEARSAL_DAY
from settings import ExistingSettings
from settings.pools.fixed_pools import FixedPool

STACK = Path(__file__).parent.parent / "stacks" / "existing-gpus.happy.yaml"
SHARED = (
    "version: v1\nsharing: {timeSlicing: {renameByDefault: true, resources: [{name: nvidia.com/gpu, replicas: 8}]}}"
)
TAINT = {"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}
VALUES: dict[str, Any] = {
    "runtimeClassName": "nvidia",
    "gfd": {"enabled": True},
    "config": {"map": {"shared": SHARED, "whole_gpus": "version: v1"}, "default": "whole_gpus"},
}


def pool(**given: Any) -> FixedPool:
    return FixedPool.model_validate({"gpus": {}, **given})


class Site(Cluster):
    """A cluster with some objects and NVIDIA's release; a patch merges into its node."""

    def __init__(
        self, values: dict[str, Any] | None, *nodes: Any, runtime_classes: tuple[str, ...] = ("nvidia",)
    ) -> None:
        super().__init__(kubernetes=mock.Mock(patch=self._patch))
        self.release = DeployedRelease("nvidia-device-plugin", values) if values is not None else None
        self.nodes = list(nodes)
        self.classes = [{"metadata": {"name": name}, "handler": name} for name in runtime_classes]

    def listed(self, collection: str) -> list[Any]:
        return self.nodes if collection == NODES else self.classes

    def deployed(self, chart: str) -> DeployedRelease | None:
        return self.release if self.release and self.release.chart == chart else None

    def _patch(self, path: str, changes: Any) -> None:
        (node,) = [one for one in self.nodes if path.startswith(f"{NODES}/{one['metadata']['name']}")]
        merge(node, changes)


def merge(target: dict[str, Any], changes: Any) -> None:
    for key, value in changes.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def workstation(**labels: str) -> dict[str, Any]:
    (node,) = [one for one in clusters.cluster("k3s") if one["metadata"]["name"] == "ws-4090"]
    node["metadata"]["labels"] |= labels
    node["spec"]["taints"] = [TAINT]
    return node


def gpus(site: Site, distribution: str = "k3s") -> dict[str, str]:
    """What the only node advertises after a pass."""
    Plugins(distribution).reconcile(site)
    (node,) = site.nodes
    return {key: value for key, value in node["status"]["allocatable"].items() if key.startswith("nvidia.com/")}


def test_the_plugin_shares_a_card_as_its_configuration_says() -> None:
    site = Site(VALUES, workstation(**{"nvidia.com/device-plugin.config": "shared"}))
    assert gpus(site) == {"nvidia.com/gpu.shared": "8"}
    labels = site.nodes[0]["metadata"]["labels"]
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-GeForce-RTX-4090"
    assert labels["nvidia.com/gpu.replicas"] == "8"
    assert gpus(Site(VALUES, workstation())) == {"nvidia.com/gpu": "1"}


@pytest.mark.parametrize(
    ("values", "classes", "distribution"),
    [
        ({"runtimeClassName": None}, ("nvidia",), "k3s"),
        ({}, (), "k3s"),
        ({"tolerations": []}, ("nvidia",), "k3s"),
        ({"nfd": {"enabled": False}}, ("nvidia",), "k3s"),
        ({"nodeSelector": {"role": "other"}}, ("nvidia",), "k3s"),
    ],
    ids=["no runtimeClassName", "no RuntimeClass", "taint", "affinity", "node selector"],
)
def test_a_plugin_that_does_not_get_to_the_gpu_advertises_none(
    values: dict[str, Any], classes: tuple[str, ...], distribution: str
) -> None:
    assert gpus(Site({**VALUES, **values}, workstation(), runtime_classes=classes), distribution) == {}


def test_images_of_cloud_providers_need_no_runtime_class() -> None:
    assert gpus(Site({**VALUES, "runtimeClassName": None}, workstation(), runtime_classes=()), "eks")


def test_labels_go_with_the_plugin_and_those_of_the_site_stay() -> None:
    own = {"nvidia.com/gpu.present": "true", "role": "gpu"}
    site = Site(VALUES, workstation(**own))
    before = dict(site.nodes[0]["metadata"]["labels"])
    assert gpus(site)
    site.release = None
    assert gpus(site) == {}
    assert site.nodes[0]["metadata"]["labels"] == before
    assert LABELLED not in site.nodes[0]["metadata"]["annotations"]


def test_gpus_of_a_plugin_that_was_there_before_are_left_alone() -> None:
    node = workstation()
    node["status"]["allocatable"]["nvidia.com/gpu"] = "1"
    assert gpus(Site(None, node)) == {"nvidia.com/gpu": "1"}


def test_each_pool_has_a_machine_with_its_names_labels_and_taints() -> None:
    fixture = [one for one in clusters.cluster("k3s") if one["kind"] == "Node"]
    pools = {
        "known": pool(nodes=["ws-6000"]),
        "named": pool(nodes=["tower"], gpus={"product": "NVIDIA-H100-PCIe", "memory": 80, "count": 2}),
        "more": pool(nodes=["third"]),
        "labelled": FixedPool.model_validate(
            {"selector": {"rack": "a"}, "taints": [{"key": "a", "effect": "NoSchedule"}]}
        ),
    }
    found = {one["metadata"]["name"]: one for one in machines.fitted(fixture, pools)}
    assert found.keys() == {"ws-6000", "tower", "third", "ws-cpu"}
    (gpus,) = clusters.gpus_of(found["tower"])
    assert (machines.label_of(gpus.product), gpus.memory, gpus.count) == ("NVIDIA-H100-PCIe", 80 * 1024, 2)
    assert "taints" not in found["tower"]["spec"], "the stack sets them on nodes that it names"
    assert found["ws-cpu"]["metadata"]["labels"]["rack"] == "a"
    assert found["ws-cpu"]["spec"]["taints"] == [{"key": "a", "effect": "NoSchedule"}]
    assert found["third"]["metadata"]["labels"]["kubernetes.io/hostname"] == "third"
    assert fixture[0]["metadata"]["labels"].get("rack") is None, "the fixture is left alone"


def test_a_machine_in_two_pools_is_one_machine() -> None:
    fixture = [one for one in clusters.cluster("k3s") if one["kind"] == "Node"]
    pools = {
        "cpu": FixedPool.model_validate({"selector": {"kubernetes.io/hostname": "node-1"}}),
        "gpu": pool(nodes=["node-1"], gpus={"product": "NVIDIA-L40S", "memory": 45, "count": 1}),
    }
    found = machines.fitted(fixture, pools)
    (machine,) = [one for one in found if one["metadata"]["labels"]["kubernetes.io/hostname"] == "node-1"]
    assert machine["metadata"]["name"] == "node-1"
    assert [gpus.product for gpus in clusters.gpus_of(machine)] == ["NVIDIA L40S"]
    assert {one["metadata"]["name"] for one in found} > {"ws-cpu"}, "the machines without GPUs are others"


def test_a_program_that_the_stack_brings_is_not_there_before() -> None:
    objects = clusters.cluster("microk8s")
    rest = without_programs(
        objects, ["gpu-operator", "device-plugin", "gpu-feature-discovery", "node-feature-discovery"]
    )
    gone = {f"{one['kind']} {one['metadata']['name']}" for one in objects if one not in rest}
    assert {"Deployment gpu-operator", "Secret sh.helm.release.v1.gpu-operator.v1"} < gone
    assert "Namespace gpu-operator-resources" in gone
    assert not {one for one in gone if "traefik" in one or "seaweedfs" in one or "kube-system" in one}
    of_k3s = without_programs(clusters.cluster("k3s"), ["metrics-server", "local-path"])
    assert len(of_k3s) == len(clusters.cluster("k3s")) - 2, "kube-system is not theirs alone"


def claim(mode: str, **annotations: str) -> dict[str, Any]:
    spec = {"storageClassName": "class", "accessModes": [mode], "resources": {"requests": {"storage": "5Gi"}}}
    metadata = {"namespace": "team-a", "name": "home", "uid": "1", "annotations": annotations}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Pending"}}


def provisioned(provisioner: str, asked: dict[str, Any], binding: str = "WaitForFirstConsumer") -> Any:
    """The events and volumes that were made for a claim."""
    storage_class = {
        "metadata": {"name": "class"},
        "provisioner": provisioner,
        "parameters": {"server": "nas.example.com", "share": "/export"},
        "volumeBindingMode": binding,
    }
    kubernetes = mock.Mock()
    kubernetes.list.side_effect = lambda path: {
        "/api/v1/persistentvolumeclaims": [asked],
        "/apis/storage.k8s.io/v1/storageclasses": [storage_class],
    }.get(path, [])
    Provisioners().reconcile(Cluster(kubernetes=kubernetes))
    return [call.args[1] for call in kubernetes.create.call_args_list]


def test_a_folder_of_one_node_is_no_volume_for_several() -> None:
    (event,) = provisioned("rancher.io/local-path", claim("ReadWriteMany"))
    assert event["reason"] == "ProvisioningFailed"
    assert "ReadWriteMany" in event["message"]
    (volume,) = provisioned("nfs.csi.k8s.io", claim("ReadWriteMany"), "Immediate")
    assert volume["spec"]["claimRef"]["name"] == "home"


def test_a_volume_on_a_node_waits_for_the_scheduler_and_stays_there() -> None:
    assert provisioned("rancher.io/local-path", claim("ReadWriteOnce")) == []
    chosen = claim("ReadWriteOnce", **{"volume.kubernetes.io/selected-node": "ws-cpu"})
    (volume,) = provisioned("rancher.io/local-path", chosen)
    (term,) = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["ws-cpu"]


def test_only_the_named_context_leads_to_the_cluster(tmp_path: Path) -> None:
    administrators = tmp_path / "administrators"
    server = {"server": "https://127.0.0.1:6443"}
    entry = {"clusters": [{"name": "a", "cluster": server}], "users": [{"name": "a", "user": {"token": "t"}}]}
    administrators.write_text(yaml.safe_dump(entry), encoding="utf-8")
    plane = ControlPlane(url="", ca="", token="t", kubeconfig=administrators)
    kubeconfig.write(tmp_path / "site", plane, "k3s")
    path = str(tmp_path / "site")
    assert configuration.access({"kubeconfig": path, "context": "k3s"}).host == server["server"]
    assert configuration.access({"kubeconfig": path}).host != server["server"]


def test_what_a_destroy_leaves_or_changes_of_others_is_named() -> None:
    node, space = Named(kind="Node", name="ws-cpu"), Named(kind="Namespace", name="hub")
    before = Snapshot(frozenset([node]), {node: {"labels": {"role": "gpu"}, "spec": {}}})
    assert before.changes(before) == []
    after = Snapshot(frozenset([node, space]), {node: {"labels": {}, "spec": {"taints": [TAINT]}}})
    assert before.changes(after) == ["Namespace hub is left", "Node ws-cpu has other labels, spec"]
    assert before.changes(Snapshot(frozenset())) == ["Node ws-cpu is gone"]
    assert before.changes(Snapshot(before.names | {space}, before.contents, frozenset([space]))) == [], (
        "its chart keeps it"
    )


def test_every_secret_that_a_stack_names_is_given(tmp_path: Path) -> None:
    document = yaml.safe_load(STACK.read_text(encoding="utf-8"))
    document["config"]["gpulab:identity"]["ldap"] = {
        "url": "ldaps://directory.example.com",
        "vendor": "other",
        "bindDn": "cn=a",
        "bindPassword": {"kubernetesSecret": "ldap", "namespace": "secrets", "key": "secret"},
        "users": "dc=a",
    }
    document["config"]["gpulab:hub"] = {"registry": {"pullSecret": {"config": "harbor"}}}
    path = tmp_path / "Pulumi.lab.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    stack = settings.check_stack_file(path, stack="lab", today=REHEARSAL_DAY)
    assert isinstance(stack, ExistingSettings)
    found = secrets_given.given(stack)
    assert [(one["kind"], one["metadata"]["name"]) for one in found.objects] == [
        ("Namespace", "secrets"),
        ("Secret", "ldap"),
    ]
    assert found.config.keys() == {"gpulab-secrets:harbor"}
    assert "auths" in found.values["harbor"]
    assert found.values["secrets/ldap secret"] == found.objects[1]["stringData"]["secret"]
