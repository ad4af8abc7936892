"""What a preview finds when it compares a stack file with the cluster that it names."""

from __future__ import annotations

import json

import pytest
from existing_lab import FILER, PEOPLE, PRESENT, PUBLISHED, STACK, changed, errors, find, load, manifest, warnings

from components.gates.node_marks import MarksError, patch_of
from components.nodes.fixed_nodes import pool_marks
from contracts import clusters
from settings.found_findings import pool_findings

DISKS = {**manifest("StorageClass", "disks"), "provisioner": "rancher.io/local-path"}
NFS = {**manifest("StorageClass", "nfs"), "provisioner": "nfs.csi.k8s.io"}
UNHEARD_OF = {**manifest("StorageClass", "strange"), "provisioner": "example.com/unheard-of"}
VOLUME = {"data": {"mountPath": "/datasets", "storageClass": "disks"}}


@pytest.mark.parametrize(
    ("distribution", "selector", "storage"),
    [
        ("k3s", {"role": "gpu"}, {}),
        ("rke2", {"accelerator": "l40s"}, {"homes": "shared", "sharedClass": "longhorn"}),
        ("talos", {"role": "gpu"}, {"homes": "shared", "sharedClass": "seaweedfs-storage"}),
        ("microk8s", {"nvidia.com/gpu.present": "true"}, {"homeClass": "seaweedfs-storage"}),
        ("kind", {"kubernetes.io/hostname": "kind-worker"}, {}),
        ("eks", {"eks.amazonaws.com/nodegroup": "gpu"}, {"homeClass": "gp3"}),
    ],
)
def test_a_stack_file_that_fits_its_cluster_has_no_findings(distribution, selector, storage):
    sections = {
        "gpu": {"plugin": "present" if find(distribution).running("device-plugin") else "device-plugin"},
        "nodePools": {"gpu": {"selector": selector, "gpus": {"count": 1}}},
        "storage": {"homes": "per-person", "homeSize": 20, **storage},
        **PEOPLE,
    }
    assert errors(find(distribution), distribution, **sections) == []
    assert warnings(find(distribution), distribution, **sections) == []


def test_a_distribution_that_the_cluster_contradicts_is_an_error():
    (error,) = errors(find("k3s"), "rke2")
    assert error.startswith("gpulab:ground.distribution: is rke2, and the cluster shows that it is k3s (kubelet v1.34")


def test_a_cluster_of_kind_is_none_of_kubeadm():
    selector = {"nodePools": {"gpu": {"nodes": ["kind-worker"], "gpus": {"count": 1}}}}
    assert errors(find("kind"), "kubeadm", **selector)[0].startswith("gpulab:ground.distribution: is kubeadm")


def test_a_cluster_that_shows_nothing_is_a_warning():
    def bare(node: dict) -> None:
        node["status"]["nodeInfo"]["kubeletVersion"] = "v1.34.1"
        node["spec"] = {}
        node["metadata"] |= {"annotations": {}, "labels": {"role": "gpu"}}

    (warning,) = warnings(changed("k3s", bare, "Node"))
    assert warning.startswith("gpulab:ground.distribution: is k3s, which nothing in the cluster confirms or denies")


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("v1.31.9+k3s1", "is older than 1.32: upgrade the cluster"),
        ("v1.9.9+k3s1", "is older than 1.32"),
        ("v1.38.0+k3s1", "take a newer release"),
        ("v1.32.0+k3s1", None),
        ("v1.37.1+k3s1", None),
    ],
)
def test_kubernetes_outside_the_range_is_an_error(version, words):
    found = errors(find("k3s", version=version))
    assert len(found) == (words is not None)
    assert all(words in error and version in error for error in found)


@pytest.mark.parametrize(
    ("storage", "more", "expected"),
    [
        (
            {"homeClass": "local-pth"},
            [],
            "gpulab:storage.homeClass: is local-pth, and there is no such storage class: there is local-path "
            "(did you mean local-path?)",
        ),
        (
            {"homes": "shared", "sharedClass": "disks"},
            [DISKS],
            "gpulab:storage.sharedClass: is disks (rancher.io/local-path), whose volumes one node can mount, not "
            "several: no class of the cluster can, so set storage.install.nfs or storage.install.seaweedfs, or set "
            "homes: per-person",
        ),
        (
            {"volumes": VOLUME},
            [DISKS, NFS],
            "gpulab:storage.volumes.data.storageClass: is disks (rancher.io/local-path), whose volumes one node "
            "can mount, not several: take nfs",
        ),
        (
            {"sharedClass": "weed", "volumes": {"data": {"mountPath": "/datasets"}}},
            [NFS],
            "gpulab:storage.sharedClass: is weed, and there is no such storage class: there are local-path, nfs",
        ),
    ],
)
def test_storage_that_the_cluster_lacks_is_an_error(storage, more, expected):
    storage = {"homes": "per-person", "homeSize": 20, **storage}
    assert errors(find("k3s", *more), storage=storage) == [expected]


def test_a_provisioner_that_nobody_knows_is_a_warning():
    storage = {"homes": "shared", "homeSize": 20, "sharedClass": "strange"}
    assert errors(find("k3s", UNHEARD_OF), storage=storage) == []
    (warning,) = warnings(find("k3s", UNHEARD_OF), storage=storage)
    assert warning.startswith("gpulab:storage.sharedClass: is strange (example.com/unheard-of): whether it can do")


def test_disks_without_a_class_need_a_default_class():
    pools = {
        "gpu": {"plugin": "present"},
        "nodePools": {"gpu": {"selector": {"eks.amazonaws.com/nodegroup": "gpu"}, "gpus": {"count": 1}}},
    }
    (error,) = errors(find("eks"), "eks", **pools)
    assert error == (
        "gpulab:storage.homeClass: is missing, and the cluster has no default storage class: there are efs, gp2, gp3"
    )
    shared = {"storage": {"homes": "shared", "homeSize": 20, "sharedClass": "efs"}}
    assert errors(find("eks"), "eks", **pools, **shared) == [], "nothing needs a disk"
    assert errors(find("eks"), "eks", **pools, **shared, **PEOPLE) == [error], "databases do"


def test_two_default_classes_are_a_warning():
    also = {**manifest("StorageClass", "other", annotations={"storageclass.kubernetes.io/is-default-class": "true"})}
    (warning,) = warnings(find("k3s", {**also, "provisioner": "nfs.csi.k8s.io"}))
    assert "2 default classes (local-path, other)" in warning


def test_a_class_that_the_stack_installs_counts_as_there():
    weed = {"homes": "shared", "homeSize": 20, "sharedClass": "weed"}
    assert len(errors(find("k3s"), storage=weed)) == 1
    assert errors(find("k3s"), storage={**weed, "install": {"seaweedfs": {**FILER, "className": "weed"}}}) == []


@pytest.mark.parametrize(
    ("distribution", "ingress_class", "expected"),
    [
        (
            "k3s",
            None,
            "is missing, and the cluster has no ingress class: set install.traefik, or access: port-",
        ),
        ("k3s", "traefik", "is traefik, and the cluster has no ingress class"),
        ("rke2", None, "is missing, and the cluster has no default ingress class: there is nginx"),
        ("rke2", "ngnix", "is ngnix, and there is no such class: there is nginx (did you mean nginx?)"),
        ("microk8s", None, None),
        ("microk8s", "traefik", None),
    ],
)
def test_ingress_classes(distribution, ingress_class, expected):
    nodes = [node.name for node in find(distribution).nodes[-1:]]
    ingress = {**PUBLISHED, **({"ingressClass": ingress_class} if ingress_class else {})}
    found = errors(find(distribution), distribution, ingress=ingress, nodePools={"gpu": {"nodes": nodes}})
    assert len(found) == (expected is not None)
    assert all(error.startswith(f"gpulab:ingress.ingressClass: {expected}") for error in found)


def test_an_ingress_class_that_the_stack_installs_counts_as_there():
    assert len(errors(find("k3s"), ingress=PUBLISHED)) == 1
    assert errors(find("k3s"), ingress={**PUBLISHED, "install": {"traefik": {}}}) == []


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (
            {"nodes": ["ws-4900"], "gpus": {"count": 1}},
            "gpulab:nodePools.gpu.nodes: has ws-4900, and the cluster has no such node: there are ws-4090, ws-6000, "
            "ws-cpu (did you mean ws-4090?)",
        ),
        (
            {"selector": {"roll": "gpu"}, "gpus": {"count": 1}},
            "gpulab:nodePools.gpu.selector: is roll=gpu, which no node has: labels that look like "
            "GPUs are role=gpu. Or name the nodes in nodes",
        ),
        (
            {"selector": {"tier": "cpu"}},
            "gpulab:nodePools.gpu.selector: is tier=cpu, which no node has: `kubectl get nodes --show-labels` lists "
            "their labels. Or name the nodes in nodes",
        ),
    ],
)
def test_pools_without_nodes_are_errors(pool, expected):
    assert errors(find("k3s"), nodePools={"gpu": pool}) == [expected]


POOL_LABEL = "gpulab.dev/pool"
NAMED = {"gpu": {"nodes": ["ws-4090"], "gpus": {"count": 1}, "taints": [{"key": "gpu", "effect": "NoSchedule"}]}}


@pytest.mark.parametrize(
    ("labels", "taints", "words"),
    [
        ({POOL_LABEL: "other"}, [], f"label {POOL_LABEL}=other, and the stack needs gpu"),
        (
            {"nvidia.com/device-plugin.config": "theirs"},
            [],
            "label nvidia.com/device-plugin.config=theirs, and the stack needs gpu",
        ),
        (
            {},
            [{"key": "gpu", "value": "theirs", "effect": "NoSchedule"}],
            "taint gpu=theirs:NoSchedule, and the stack needs gpu:NoSchedule",
        ),
        ({POOL_LABEL: "gpu"}, [{"key": "gpu", "effect": "NoSchedule"}, {"key": "x", "effect": "NoExecute"}], None),
    ],
)
def test_marks_of_others_on_a_named_node_are_refused_as_an_update_refuses_them(labels, taints, words):
    def marked(node: dict) -> None:
        if node["metadata"]["name"] == "ws-4090":
            node["metadata"]["labels"] |= labels
            node["spec"]["taints"] = taints

    found = changed("k3s", marked, "Node")
    node = next(one for one in clusters.cluster("k3s") if one["metadata"]["name"] == "ws-4090")
    marked(node)
    node["metadata"]["resourceVersion"] = "1"
    settings = load(nodePools=NAMED)
    marks = pool_marks("gpu", settings.node_pools["gpu"], settings.gpu.plugin)
    if words is None:
        assert errors(found, nodePools=NAMED) == []
        return
    with pytest.raises(MarksError, match=words) as update:
        patch_of(node, STACK, marks)
    assert errors(found, nodePools=NAMED) == [f"gpulab:nodePools.gpu.nodes: {update.value}"]
    assert pool_findings(settings, found.nodes)[0] == [], "it is said once"


def test_a_node_that_another_stack_has_marked_is_refused_and_ones_own_is_not():
    def marked_by(stack: str):
        note = {"stack": stack, "labels": {POOL_LABEL: "old"}, "taints": []}

        def mark(node: dict) -> None:
            if node["metadata"]["name"] == "ws-4090":
                node["metadata"]["labels"][POOL_LABEL] = "old"
                node["metadata"].setdefault("annotations", {})["gpulab.dev/marks"] = json.dumps(note)

        return changed("k3s", mark, "Node")

    assert errors(marked_by(STACK), nodePools=NAMED) == []
    (error,) = errors(marked_by("other"), nodePools=NAMED)
    assert error.startswith("gpulab:nodePools.gpu.nodes: node ws-4090 is marked by stack other")


def test_labels_that_the_stacks_own_feature_discovery_will_set_are_waited_for():
    pools = {"nodePools": {"gpu": {"selector": {"nvidia.com/gpu.product": "Tesla-T4"}, "gpus": {"count": 1}}}}
    assert errors(find("k3s"), **pools) == []
    (warning,) = warnings(find("k3s"), **pools)
    assert warning.startswith(
        "gpulab:nodePools.gpu.selector: is nvidia.com/gpu.product=Tesla-T4, which no node has yet"
    )
    assert "gpulab:nodePools.gpu.selector" in errors(find("k3s"), gpu=PRESENT, **pools)[0]


def test_a_label_that_only_the_gpu_operator_sets_is_not_waited_for():
    """NVIDIA's own feature discovery does not set it: tests/node/unit/test_gpu_labels.py."""
    pools = {"nodePools": {"gpu": {"selector": {"nvidia.com/gpu.present": "true"}, "gpus": {"count": 1}}}}
    (error,) = errors(find("k3s"), gpu={"plugin": "device-plugin"}, **pools)
    assert "select by feature.node.kubernetes.io/pci-10de.present=true" in error
    assert errors(find("k3s"), gpu={"plugin": "operator"}, **pools) == []


def test_a_tainted_control_plane_belongs_to_a_pool_only_when_asked():
    selector = {"kubernetes.io/hostname": "talos-cp-1"}
    (error,) = errors(find("talos"), "talos", nodePools={"cpu": {"selector": selector}})
    assert error.startswith("gpulab:nodePools.cpu.includeControlPlane: is false, and all nodes with kubernetes.io/host")
    asked = {"cpu": {"selector": selector, "includeControlPlane": True}}
    assert errors(find("talos"), "talos", nodePools=asked) == []
    assert errors(find("k3s"), nodePools={"cpu": {"selector": {"kubernetes.io/hostname": "ws-cpu"}}}) == []


def test_a_node_that_takes_no_pods_is_a_warning():
    def cordoned(node: dict) -> None:
        if node["metadata"]["name"] == "ws-4090":
            node["spec"]["taints"] = [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]

    (warning,) = warnings(changed("k3s", cordoned, "Node"))
    assert warning.startswith("gpulab:nodePools.gpu: has ws-4090, which takes no pods now (node.kubernetes.io/unsched")


def test_homes_that_a_destroy_is_to_keep_need_a_class_that_keeps_disks():
    storage = {"homes": "per-person", "homeSize": 20, "homeClass": "local-path", "retain": True}
    (error,) = errors(find("k3s"), storage=storage)
    assert error.startswith("gpulab:storage.retain: can't keep homes: class local-path deletes a disk with its claim")
    kept = changed("k3s", lambda one: one.update(reclaimPolicy="Retain"), "StorageClass")
    assert errors(kept, storage=storage) == []


def test_a_class_that_waits_for_a_pod_can_hold_no_shared_files():
    waits = {**NFS, "volumeBindingMode": "WaitForFirstConsumer"}
    storage = {"homes": "shared", "homeSize": 20, "sharedClass": "nfs"}
    (error,) = errors(find("k3s", waits), storage=storage)
    assert error.startswith("gpulab:storage.sharedClass: is nfs, which makes a volume only when a pod uses its claim")
    assert errors(find("k3s", NFS), storage=storage) == []


def test_cilium_and_the_api_server_deserve_a_look():
    cilium = manifest("CustomResourceDefinition", "ciliumnetworkpolicies.cilium.io")
    (warning,) = warnings(find("k3s", cilium))
    assert "policyCIDRMatchMode: nodes" in warning
