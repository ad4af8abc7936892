"""Releases of charts without archives: Helm installs stand-ins made of their contracts, on a real API server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes_stand_in_lab import BACKGROUND, NODE_POOL, RELEASE, Stack, connected, names, stacked

from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.toolchain import Toolchain
from rehearsal.providers.kubernetes.client import ApiError, Cluster
from rehearsal.providers.kubernetes.provider import KubernetesProvider
from rehearsal.providers.protocol.model import Difference, Properties, Refused
from tests.policies.fixes import FIXES, STATIC_POOL


@pytest.fixture
def provider(cluster: ControlPlane, toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch) -> KubernetesProvider:
    monkeypatch.setenv("PATH", str(toolchain.path("helm").parent), prepend=os.pathsep)
    return connected(cluster)


@pytest.fixture
def stack(provider: KubernetesProvider) -> Iterator[Stack]:
    with stacked(provider) as made:
        yield made


def karpenter(namespace: str, **inputs: Any) -> Properties:
    return {"chart": "karpenter", "name": "karpenter", "namespace": namespace, "skipCrds": True, **inputs}


def test_definitions_come_and_go_with_the_crd_chart(
    stack: Stack, cluster: ControlPlane, provider: KubernetesProvider
) -> None:
    inputs = {"chart": "karpenter-crd", "name": "karpenter-crd", "namespace": stack.namespace()}
    release = stack.create(RELEASE, "karpenter-crd", inputs)
    kind = "CustomResourceDefinition.apiextensions.k8s.io/apiextensions.k8s.io/v1"
    assert "nodepools.karpenter.sh" in release.outputs["resourceNames"][kind]
    requirement = {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]}
    reference = {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "default"}
    template = {"spec": {"nodeClassRef": reference, "requirements": [requirement]}}
    pool = stack.create(
        NODE_POOL, "cpu", {"metadata": {"name": "cpu", "annotations": BACKGROUND}, "spec": {"template": template}}
    )
    assert pool.id == "cpu"
    with pytest.raises(Refused, match=r"spec\.weight"):
        stack.preview(NODE_POOL, "heavy", {"spec": {"template": template, "weight": 1000}})
    admits_what_policies_ask_for(provider.connection.cluster)
    definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodepools.karpenter.sh"
    owner = cluster.request("GET", definition)["metadata"]["annotations"]["meta.helm.sh/release-name"]
    assert owner == "karpenter-crd"
    release.delete()
    assert pool.refresh() is None


def admits_what_policies_ask_for(cluster: Cluster) -> None:
    """Also checks the CRDs' CEL rules, which tests/policies/test_fixes.py cannot."""
    for fix in FIXES:
        for manifest in (fix.refused, fix.fixed):
            cluster.create(manifest, field_manager="tests", dry_run=True)
    cluster.create(STATIC_POOL, field_manager="tests", dry_run=True)
    limited = {**STATIC_POOL, "spec": {**STATIC_POOL["spec"], "limits": {"nvidia.com/gpu": "8"}}}
    with pytest.raises(ApiError, match=r"only 'limits\.nodes' is supported on static NodePools"):
        cluster.create(limited, field_manager="tests", dry_run=True)


def test_each_upgrade_is_a_revision_and_old_ones_go(stack: Stack, cluster: ControlPlane) -> None:
    namespace = stack.namespace()
    release = stack.create(RELEASE, "karpenter", karpenter(namespace, maxHistory=2))
    assert release.refresh() == Difference([])
    for replicas in (1, 3):
        release.update(karpenter(namespace, maxHistory=2, values={"replicas": replicas}))
    assert release.outputs["status"] | {"appVersion": ""} == {
        "name": "karpenter",
        "namespace": namespace,
        "revision": 3,
        "status": "deployed",
        "chart": "karpenter",
        "version": release.inputs["version"],
        "appVersion": "",
    }
    secrets = cluster.request("GET", f"/api/v1/namespaces/{namespace}/secrets?labelSelector=owner=helm")["items"]
    assert {secret["metadata"]["name"]: secret["metadata"]["labels"]["status"] for secret in secrets} == {
        "sh.helm.release.v1.karpenter.v2": "superseded",
        "sh.helm.release.v1.karpenter.v3": "deployed",
    }


def test_a_release_without_its_secret_is_gone(stack: Stack, cluster: ControlPlane) -> None:
    namespace = stack.namespace()
    # Its contract has no objects, which would stay.
    inputs = {"chart": "nvidia-device-plugin", "name": "plugin", "namespace": namespace}
    release = stack.create(RELEASE, "plugin", inputs)
    cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/secrets/sh.helm.release.v1.plugin.v1")
    assert release.refresh() is None
    with pytest.raises(Refused, match="release: not found"):
        release.delete()


def test_a_name_in_use(stack: Stack) -> None:
    namespace = stack.namespace()
    stack.create(RELEASE, "karpenter", karpenter(namespace))
    with pytest.raises(Refused, match="cannot re-use a name that is still in use"):
        stack.create(RELEASE, "again", karpenter(namespace))


def test_a_namespace_that_is_not_there_unless_it_is_to_be_made(stack: Stack, cluster: ControlPlane) -> None:
    namespace = next(names)
    with pytest.raises(Refused, match=f'namespaces "{namespace}" not found'):
        stack.create(RELEASE, "karpenter", karpenter(namespace))
    stack.create(RELEASE, "karpenter", karpenter(namespace, createNamespace=True)).delete()
    # Helm leaves the namespace that it made.
    cluster.request("DELETE", f"/api/v1/namespaces/{namespace}")


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"version": "1.0.0"}, "'1.0.0' is not the version"),
        ({"values": {"settings": {"clustername": "lab"}}}, "did you mean clusterName"),
        ({"chart": "jupyterhub", "values": {"cull": {"every": "often"}}}, r"values\.cull\.every"),
    ],
)
def test_refusals(stack: Stack, inputs: Properties, expected: str) -> None:
    with pytest.raises(Refused, match=expected):
        stack.preview(RELEASE, "karpenter", karpenter("default", **inputs))


def test_an_object_that_is_not_the_releases_own(stack: Stack) -> None:
    namespace = stack.namespace()
    first = {"chart": "karpenter-crd", "name": "first", "namespace": namespace}
    stack.create(RELEASE, "first", first)
    with pytest.raises(Refused, match="invalid ownership metadata"):
        stack.create(RELEASE, "second", {**first, "name": "second"})
