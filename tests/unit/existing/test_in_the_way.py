"""What is in a cluster already, in the way of what a stack would bring."""

from __future__ import annotations

from typing import Any

import pytest
from existing_lab import FILER, PEOPLE, PRESENT, PUBLISHED, changed, errors, find, load, manifest

from components.ground.existing.makes import made_by
from components.ground.existing.ownership import HELM_RELEASE, STACK_LABEL
from components.hub.jupyterhub import NODES_ROLE

DISKS = {**manifest("StorageClass", "disks"), "provisioner": "rancher.io/local-path"}


@pytest.mark.parametrize("plugin", ["device-plugin", "operator"])
def test_a_second_device_plugin_is_refused(plugin):
    nodes = {"nodePools": {"gpu": {"selector": {"nvidia.com/gpu.present": "true"}, "gpus": {"count": 1}}}}
    assert errors(find("k3s"), gpu={"plugin": plugin}) == []
    (error,) = errors(find("microk8s"), "microk8s", gpu={"plugin": plugin}, **nodes)
    assert error.startswith(f"gpulab:gpu.plugin: is {plugin}, and another one would fight with it for the GPUs: NVIDIA")
    assert "Helm release gpu-operator in gpu-operator-resources" in error
    assert error.endswith("Set it to present")
    assert errors(find("microk8s"), "microk8s", gpu=PRESENT, **nodes) == []


def test_a_plugin_that_should_be_present_is_missed():
    (error,) = errors(find("k3s"), gpu=PRESENT)
    assert error.startswith(
        "gpulab:gpu.plugin: is present, and neither NVIDIA's device plugin nor the GPU Operator runs"
    )

    def advertising(node: dict) -> None:
        node["status"]["allocatable"]["nvidia.com/gpu"] = "1"

    assert errors(changed("k3s", advertising, "Node"), gpu=PRESENT) == [], "Bottlerocket runs it outside of pods"


def running(name: str, image: str, namespace: str = "theirs") -> dict[str, Any]:
    pods = {"spec": {"containers": [{"name": name, "image": image}]}}
    return {**manifest("Deployment", name, namespace), "spec": {"template": pods}}


@pytest.mark.parametrize(
    ("sections", "theirs", "expected"),
    [
        (
            {"ingress": {**PUBLISHED, "certificate": None, "install": {"traefik": {}, "certManager": {}}}},
            running("cert-manager", "quay.io/jetstack/cert-manager-controller:v1.19.1"),
            "gpulab:ingress.install.certManager: would be a second one: the cluster has cert-manager (Deployment "
            "cert-manager in theirs, made by somebody who left no mark on it). Leave it out, and name a ClusterIssuer",
        ),
        (
            {"storage": {"homes": "per-person", "homeSize": 20, "install": {"seaweedfs": FILER}}},
            running("csi-seaweedfs-plugin", "chrislusf/seaweedfs-csi-driver:v1.4.2"),
            "gpulab:storage.install.seaweedfs: would be a second one: the cluster has SeaweedFS CSI driver",
        ),
        (
            {"storage": {"homes": "per-person", "homeSize": 20, "install": {"nfs": {"server": "nas", "path": "/x"}}}},
            manifest("CSIDriver", "nfs.csi.k8s.io"),
            "gpulab:ground.context: leads to a cluster where CSIDriver nfs.csi.k8s.io is there already",
        ),
        (
            {"storage": {"homes": "per-person", "homeSize": 20, "install": {"localPath": {"className": "disks"}}}},
            DISKS,
            "gpulab:ground.context: leads to a cluster where StorageClass disks is there already, made by somebody",
        ),
    ],
)
def test_what_the_cluster_has_already_is_not_installed_twice(sections, theirs, expected):
    (error,) = errors(find("k3s", theirs), **sections)
    assert error.startswith(expected)


def test_two_local_path_provisioners_live_side_by_side():
    storage = {"homes": "per-person", "homeSize": 20, "install": {"localPath": {}}}
    assert find("k3s").running("local-path")
    assert errors(find("k3s"), storage=storage) == []


def test_an_issuer_needs_cert_manager():
    ingress = {**PUBLISHED, "certificate": {"issuer": "letsencrypt"}, "install": {"traefik": {}}}
    (error,) = errors(find("k3s"), ingress=ingress)
    assert error.startswith(
        "gpulab:ingress.certificate.issuer: is letsencrypt, and no cert-manager runs in the cluster"
    )
    cert_manager = running("cert-manager", "quay.io/jetstack/cert-manager-controller:v1.19.1")
    assert errors(find("k3s", cert_manager), ingress=ingress) == []


def test_a_stack_without_gpus_leaves_device_plugins_alone():
    pools = {"nodePools": {"cpu": {"selector": {"microk8s.io/cluster": "true"}}}}
    assert errors(find("microk8s"), "microk8s", **pools) == []


def test_the_stacks_own_device_plugin_is_in_nobodys_way():
    pods = {
        "spec": {"containers": [{"name": "nvidia-device-plugin-ctr", "image": "nvcr.io/nvidia/k8s-device-plugin:v1"}]}
    }
    own = find(
        "k3s",
        manifest("Namespace", "gpulab-gpu", labels={STACK_LABEL: "lab"}),
        {**manifest("DaemonSet", "nvidia-device-plugin", "gpulab-gpu"), "spec": {"template": pods}},
    )
    assert own.running("device-plugin")
    assert errors(own, gpu={"plugin": "device-plugin"}) == []


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        (manifest("Namespace", "hub"), "Namespace hub is there already, made by somebody who left no mark on it"),
        (
            manifest("Namespace", "identity", labels={STACK_LABEL: "other"}),
            "Namespace identity is there already, made by stack other of gpulab",
        ),
        (
            manifest("ClusterRole", "gpulab-team-look", labels={"app.kubernetes.io/managed-by": "pulumi"}),
            "ClusterRole gpulab-team-look is there already, made by pulumi",
        ),
        (
            manifest(
                "Secret", "sh.helm.release.v1.keycloak.v3", "identity", labels={"owner": "helm", "name": "keycloak"}
            ),
            "Helm release keycloak in identity is there already",
        ),
        (
            manifest("CustomResourceDefinition", "clusters.postgresql.cnpg.io", labels={"olm.managed": "true"}),
            "CustomResourceDefinition clusters.postgresql.cnpg.io is there already",
        ),
        (manifest("ValidatingAdmissionPolicy", "gpulab-team-pods"), "ValidatingAdmissionPolicy gpulab-team-pods is"),
        (manifest("Namespace", "gpulab-gpu"), "Namespace gpulab-gpu is there already"),
    ],
)
def test_what_is_somebody_elses_is_refused_by_name(theirs, words):
    (error,) = errors(find("k3s", theirs), **PEOPLE)
    assert error.startswith(f"gpulab:ground.context: leads to a cluster where {words}")
    assert "touches nothing that isn't its own" in error


def test_what_the_stack_made_is_its_own():
    settings = load(**PEOPLE)
    makes = made_by(settings, find("k3s"))
    made = [manifest(one.kind, one.name, labels={STACK_LABEL: "lab"}) for one in makes if one.kind != HELM_RELEASE]
    assert {"Namespace", "ClusterRole", "CustomResourceDefinition"} <= {one["kind"] for one in made}
    assert errors(find("k3s", *made), **PEOPLE) == []


def test_crds_of_the_stacks_release_are_its_own_even_without_a_mark():
    labels = {"owner": "helm", "name": "cloudnative-pg"}
    crd = manifest("CustomResourceDefinition", "clusters.postgresql.cnpg.io")
    release = manifest("Secret", "sh.helm.release.v1.cloudnative-pg.v1", "cnpg-system", labels=labels)
    namespace = manifest("Namespace", "cnpg-system", labels={STACK_LABEL: "lab"})
    assert errors(find("k3s", crd, release, namespace), **PEOPLE) == []
    assert len(errors(find("k3s", crd, namespace), **PEOPLE)) == 1


def test_crds_that_the_stacks_release_left_are_taken_over():
    helm = {"meta.helm.sh/release-name": "cloudnative-pg", "meta.helm.sh/release-namespace": "cnpg-system"}
    left = manifest("CustomResourceDefinition", "clusters.postgresql.cnpg.io", annotations=helm)
    assert errors(find("k3s", left), **PEOPLE) == []
    labels = {"owner": "helm", "name": "cloudnative-pg"}
    release = manifest("Secret", "sh.helm.release.v1.cloudnative-pg.v1", "cnpg-system", labels=labels)
    assert len(errors(find("k3s", left, release), **PEOPLE)) == 2, "the release is there, and is somebody else's"


def test_somebody_elses_database_operator_is_used():
    pods = {"spec": {"containers": [{"name": "manager", "image": "ghcr.io/cloudnative-pg/cloudnative-pg:1.27.0"}]}}
    theirs = [
        manifest("Namespace", "cnpg-system"),
        manifest("CustomResourceDefinition", "clusters.postgresql.cnpg.io"),
        {**manifest("Deployment", "cnpg-controller-manager", "cnpg-system"), "spec": {"template": pods}},
    ]
    assert errors(find("k3s", *theirs), **PEOPLE) == []
    assert len(errors(find("k3s", *theirs[:2]), **PEOPLE)) == 2, "without the operator they are in the way"


def test_a_role_of_somebody_else_is_in_the_way_of_a_hub_that_reads_nodes_and_of_no_other():
    discovered = {**PEOPLE, "profiles": {"gpu": {**PEOPLE["profiles"]["gpu"], "gpu": {"discover": True}}}}
    theirs = manifest("ClusterRole", NODES_ROLE)
    there = find("k3s", theirs)
    assert any(f"ClusterRole {NODES_ROLE}" in error for error in errors(there, **discovered))
    assert not any(NODES_ROLE in error for error in errors(there, **PEOPLE))
