"""What a cluster has, as it is made of the objects that its API server lists."""

from __future__ import annotations

import typing

import pytest
from existing_lab import changed, find, manifest

from components.ground.existing.description import gpu_labels, text
from components.ground.existing.found import FoundCluster
from components.ground.existing.ownership import HELM_RELEASE, STACK_LABEL, Named
from contracts import clusters
from settings.ground import Distribution

HELM_OWNED = {"meta.helm.sh/release-name": "nvdp", "meta.helm.sh/release-namespace": "nvidia"}


def test_every_distribution_with_a_fixture_is_recognised_and_is_no_other():
    assert {name: list(find(name).evidence) for name in clusters.known()} == {name: [name] for name in clusters.known()}


def test_every_distribution_of_a_stack_file_has_evidence_and_paths():
    names = set(typing.get_args(Distribution))
    assert set(clusters.evidence()) == names
    assert all(clusters.containerd(name).socket.endswith(".sock") for name in names)


@pytest.mark.parametrize(
    ("metadata", "spec", "info", "distribution"),
    [
        ({}, {}, {"kubeletVersion": "v1.33.5-gke.1080000"}, "gke"),
        ({"labels": {"cloud.google.com/gke-nodepool": "gpu"}}, {}, {}, "gke"),
        ({"labels": {"kubernetes.azure.com/cluster": "MC_ml"}}, {}, {}, "aks"),
        ({"annotations": {"kubeadm.alpha.kubernetes.io/cri-socket": "unix:///run/x.sock"}}, {}, {}, "kubeadm"),
        ({}, {}, {"osImage": "Talos (v1.10.2)"}, "talos"),
        ({}, {"providerID": "kind://docker/a/b"}, {}, "kind"),
        ({"labels": {"microk8s.io/cluster": "true"}}, {}, {}, "microk8s"),
        ({"labels": {"node.kubernetes.io/instance-type": "k3s"}}, {}, {}, "k3s"),
        ({}, {}, {"kubeletVersion": "v1.32.1+rke2r1"}, "rke2"),
        ({"labels": {"eks.amazonaws.com/nodegroup": "gpu"}}, {}, {}, "eks"),
    ],
)
def test_one_mark_is_enough(metadata, spec, info, distribution):
    info = {"kubeletVersion": "v1.34.0", **info}
    node = {"kind": "Node", "metadata": {"name": "a", **metadata}, "spec": spec, "status": {"nodeInfo": info}}
    assert list(FoundCluster.of([node]).evidence) == [distribution]


def test_nodes_that_say_nothing_leave_the_distribution_open():
    node = {"kind": "Node", "metadata": {"name": "a"}, "status": {"nodeInfo": {"kubeletVersion": "v1.34.0"}}}
    found = FoundCluster.of([node])
    assert not found.evidence
    assert "doesn't show" not in text(found)
    assert "don't show" in text(found)


def test_the_api_servers_version_goes_before_kubelets():
    assert find("k3s", version="v1.35.2+k3s1").version == "1.35"
    assert find("k3s").git_version == "v1.34.1+k3s1"
    older = changed("k3s", lambda node: node["status"]["nodeInfo"].update(kubeletVersion="v1.9.1"), "Node")
    assert older.version == "1.9"

    def one_behind(node: dict) -> None:
        if node["metadata"]["name"] == "ws-cpu":
            node["status"]["nodeInfo"]["kubeletVersion"] = "v1.9.1"

    assert changed("k3s", one_behind, "Node").version == "1.34"
    with pytest.raises(ValueError, match="no node"):
        FoundCluster.of([])


def test_nodes_have_labels_taints_that_settings_reserve_and_what_pods_may_have():
    gpu = next(node for node in find("eks").nodes if node.taints)
    assert gpu.labels["nvidia.com/gpu.product"] == "NVIDIA-A10G"
    assert [(taint.key, taint.value, taint.effect) for taint in gpu.taints] == [
        ("nvidia.com/gpu", "true", "NoSchedule")
    ]
    assert gpu.allocatable["nvidia.com/gpu"] == "1"


def test_the_control_plane_is_known_by_labels_and_by_taints():
    assert find("k3s").control_plane == {"ws-cpu"}
    assert find("talos").control_plane == {"talos-cp-1"}
    assert find("eks").control_plane == set()

    def without_label(node: dict) -> None:
        node["metadata"]["labels"].pop("node-role.kubernetes.io/control-plane", None)

    assert changed("talos", without_label, "Node").control_plane == {"talos-cp-1"}


@pytest.mark.parametrize(
    ("provisioner", "shares"),
    [
        ("rancher.io/local-path", False),
        ("microk8s.io/hostpath", False),
        ("ebs.csi.aws.com", False),
        ("nfs.csi.k8s.io", True),
        ("seaweedfs-csi-driver", True),
        ("rook-ceph.cephfs.csi.ceph.com", True),
        ("rook-ceph.rbd.csi.ceph.com", False),
        ("cluster.local/files-nfs-subdir-external-provisioner", True),
        ("driver.longhorn.io", True),
        ("efs.csi.aws.com", True),
        ("csi.juicefs.com", True),
        ("example.com/unheard-of", None),
    ],
)
def test_which_provisioners_share_volumes(provisioner, shares):
    storage_class = {**manifest("StorageClass", "class"), "provisioner": provisioner}
    found = find("talos", storage_class).storage_class("class")
    assert found is not None
    assert found.shares is shares


def test_default_classes_are_those_that_say_so():
    assert find("k3s").default_storage_class == find("k3s").storage_class("local-path")
    assert find("eks").default_storage_class is None
    ingress = find("microk8s").default_ingress_class
    assert ingress is not None
    assert ingress.name == "public"
    assert find("rke2").default_ingress_class is None


def test_the_device_plugin_and_feature_discovery_are_told_apart_although_they_share_an_image():
    found = find("eks")
    (plugin,), (discovery,) = found.running("device-plugin"), found.running("gpu-feature-discovery")
    assert plugin.workload.name == "nvdp-nvidia-device-plugin"
    assert discovery.workload.name.endswith("gpu-feature-discovery")
    assert plugin.version == "v0.18.0"
    assert not found.running("gpu-operator")


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("harbor.example.com:8443/mirror/cloudnative-pg/cloudnative-pg:1.30.0", "1.30.0"),
        ("ghcr.io/cloudnative-pg/cloudnative-pg@sha256:0123", None),
        ("cloudnative-pg", None),
    ],
)
def test_programs_are_known_from_any_registry(image, version):
    pods = {"spec": {"containers": [{"name": "manager", "image": image}]}}
    operator = {**manifest("Deployment", "cnpg", "cnpg-system"), "spec": {"template": pods}}
    assert [one.version for one in find("k3s", operator).running("cloudnative-pg")] == [version]


def test_a_database_is_not_its_operator():
    pods = {"spec": {"containers": [{"name": "postgres", "image": "ghcr.io/cloudnative-pg/postgresql:17"}]}}
    other = {**manifest("Deployment", "db", "db"), "spec": {"template": pods}}
    assert not find("k3s", other).running("cloudnative-pg")


def test_asking_for_a_program_that_nobody_knows_is_a_mistake():
    with pytest.raises(KeyError, match="device-plugin"):
        find("k3s").running("deviceplugin")


def test_objects_say_whose_they_are():
    found = find("eks", manifest("ClusterRole", "by-hand"), manifest("ClusterRole", "helms", annotations=HELM_OWNED))
    owners = {one.name: str(owner) for one, owner in found.objects.items()}
    assert owners["by-hand"] == "somebody who left no mark on it"
    assert owners["helms"] == "Helm release nvdp in nvidia"
    assert owners["servicemonitors.monitoring.coreos.com"] == "Argo CD (monitoring)"
    assert owners["nginx"] == "Argo CD (ingress-nginx)"
    local_path = find("k3s").objects[Named(kind="StorageClass", name="local-path")]
    assert str(local_path) == "k3s's or RKE2's own addon local-storage"
    operand = manifest("ClusterRole", "operand", ownerReferences=[{"kind": "ClusterPolicy", "name": "cluster-policy"}])
    assert (
        str(find("k3s", operand).objects[Named(kind="ClusterRole", name="operand")]) == "ClusterPolicy cluster-policy"
    )


def test_a_stacks_namespace_makes_what_helm_installs_from_it_the_stacks_own():
    labels = {"owner": "helm", "name": "keycloak"}
    found = find(
        "k3s",
        manifest("Namespace", "identity", labels={STACK_LABEL: "lab"}),
        manifest("Secret", "sh.helm.release.v1.keycloak.v1", "identity", labels=labels),
        manifest(
            "ClusterRole",
            "keycloak",
            annotations={"meta.helm.sh/release-name": "keycloak", "meta.helm.sh/release-namespace": "identity"},
        ),
        {
            **manifest("Deployment", "cnpg", "identity"),
            "spec": {"template": {"spec": {"containers": [{"name": "a", "image": "cloudnative-pg:1"}]}}},
        },
    )
    release = Named(kind=HELM_RELEASE, name="keycloak", namespace="identity")
    assert found.objects[release].stack == "lab"
    assert found.objects[Named(kind="ClusterRole", name="keycloak")].stack == "lab"
    assert not found.others("cloudnative-pg", "lab")
    assert found.others("cloudnative-pg", "another-lab")


def test_secrets_that_are_no_release_are_passed_over():
    found = find(
        "k3s", manifest("Secret", "sh.helm.release.v1.faked", "default", labels={"owner": "somebody", "name": "faked"})
    )
    assert not [one for one in found.objects if one.kind == HELM_RELEASE]


def test_labels_for_gpus_are_found_whoever_set_them():
    assert gpu_labels(find("k3s").nodes) == ["role=gpu"]
    assert gpu_labels(find("rke2").nodes) == ["accelerator=l40s"]
    assert "nvidia.com/gpu.present=true" in gpu_labels(find("eks").nodes)


@pytest.mark.parametrize(
    ("distribution", "lines"),
    [
        (
            "k3s",
            [
                "Kubernetes 1.34 (v1.34.1+k3s1), k3s (kubelet v1.34.1+k3s1, provider k3s://, "
                "label node.kubernetes.io/instance-type=k3s, annotation k3s.io/hostname)",
                "Nodes: 3, 1 of the control plane",
                "  ws-4090: no GPU that pods may have yet; labels role=gpu",
                "Storage classes: local-path [default] (rancher.io/local-path, one node at a time)",
                "Ingress classes: none",
            ],
        ),
        (
            "microk8s",
            [
                "  mk8s-2: NVIDIA-L40S, 46068 MiB each; nvidia.com/gpu 2",
                "Not there: cert-manager, CloudNativePG, Prometheus Operator",
            ],
        ),
        ("talos", ["  talos-gpu-1: no GPU that pods may have yet; labels role=gpu; taints gpu=true:NoSchedule"]),
    ],
)
def test_the_preview_says_what_a_cluster_has_and_lacks(distribution, lines):
    said = text(find(distribution)).splitlines()
    assert [line for line in lines if line not in said] == []
