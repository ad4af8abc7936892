"""The fixtures of clusters, and what is known of distributions."""

from __future__ import annotations

import pytest
from existing_lab import find

from components.ground.existing.found import release_number
from components.ground.existing.ownership import named
from contracts import clusters
from settings.kubernetes_versions import KUBERNETES_VERSIONS


@pytest.fixture(params=clusters.known())
def objects(request: pytest.FixtureRequest) -> list[clusters.Object]:
    return clusters.cluster(request.param)


def test_the_distributions_of_the_examples_have_a_fixture():
    assert clusters.known() == ("eks", "k3s", "kind", "microk8s", "rke2", "talos")
    with pytest.raises(KeyError, match="microk8s"):
        clusters.cluster("plan9")


def test_a_caller_may_change_a_fixture():
    clusters.cluster("k3s").clear()
    assert clusters.cluster("k3s")


def test_objects_are_complete_and_there_once(objects):
    names = [(one["apiVersion"], named(one)) for one in objects]
    assert len(names) == len(set(names))
    namespaces = {one["metadata"]["name"] for one in objects if one["kind"] == "Namespace"}
    assert {one["metadata"]["namespace"] for one in objects if "namespace" in one["metadata"]} <= namespaces


def test_each_fixture_has_gpus_and_only_what_feature_discovery_saw_is_in_labels(objects):
    nodes = [one for one in objects if one["kind"] == "Node"]
    assert any(map(clusters.gpus_of, nodes))
    for node in nodes:
        gpus, labels = clusters.gpus_of(node), node["metadata"]["labels"]
        if "nvidia.com/gpu.product" in labels:
            assert labels["nvidia.com/gpu.product"] == gpus[0].product.replace(" ", "-")
            assert int(labels["nvidia.com/gpu.memory"]) == gpus[0].memory
            assert int(node["status"]["allocatable"]["nvidia.com/gpu"]) == gpus[0].count
        else:
            assert "nvidia.com/gpu" not in node["status"]["allocatable"]


def test_the_workstations_have_two_products_and_a_machine_without():
    gpus = [clusters.gpus_of(one) for one in clusters.cluster("k3s") if one["kind"] == "Node"]
    assert [[one.product for one in found] for found in gpus] == [
        [],
        ["NVIDIA GeForce RTX 4090"],
        ["NVIDIA RTX A6000"],
    ]


@pytest.mark.parametrize("distribution", clusters.known())
def test_the_runtime_class_is_there_where_the_distribution_makes_it(distribution):
    found = find(distribution)
    is_there = "nvidia" in {one.name for one in found.runtime_classes}
    makes = clusters.containerd(distribution).makes_runtime_class
    assert is_there == (makes or bool(found.running("gpu-operator")))


def test_the_distributions_of_rancher_have_paths_of_their_own_and_the_same_socket():
    k3s, rke2, microk8s = map(clusters.containerd, ("k3s", "rke2", "microk8s"))
    assert k3s.config != rke2.config
    assert k3s.socket == rke2.socket != microk8s.socket
    assert microk8s.toolkit is not None
    assert microk8s.toolkit["CONTAINERD_CONFIG"] == microk8s.template
    for paths in (k3s, rke2, microk8s):
        assert paths.toolkit is not None
        assert paths.toolkit["CONTAINERD_SOCKET"] == paths.socket
    assert clusters.containerd("talos").toolkit is None, "it has system extensions"


def test_versions_of_the_fixtures_and_of_new_clusters_are_in_the_range():
    oldest, newest = map(release_number, clusters.kubernetes_range())
    accepted = [find(name).git_version for name in clusters.known()] + list(KUBERNETES_VERSIONS)
    assert all(oldest <= release_number(version) <= newest for version in accepted)
