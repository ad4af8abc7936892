"""The stand-in for pulumi-kubernetes against a real API server, driven as the engine drives a provider.

Each test has namespaces of its own, which go without being waited for.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

import pytest

from rehearsal.control_plane import ControlPlane
from rehearsal.pods import until
from rehearsal.providers.kubernetes.client import ApiError, Cluster
from rehearsal.providers.kubernetes.provider import KubernetesProvider
from rehearsal.providers.serving import (
    UNKNOWN,
    Difference,
    InitFailed,
    Properties,
    Provider,
    Refused,
    Request,
    ResourceType,
)
from tests.policies.fixes import FIXES, STATIC_POOL

pytestmark = pytest.mark.seconds(60)

NAMESPACE = "kubernetes:core/v1:Namespace"
CONFIG_MAP = "kubernetes:core/v1:ConfigMap"
SECRET = "kubernetes:core/v1:Secret"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
JOB = "kubernetes:batch/v1:Job"
SERVICE = "kubernetes:core/v1:Service"
DEFINITION = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
WIDGET = "kubernetes:test.gpulab.dev/v1:Widget"
NODE_POOL = "kubernetes:karpenter.sh/v1:NodePool"
RELEASE = "kubernetes:helm.sh/v3:Release"

# The garbage collector, which ends a foreground deletion, looks for new kinds only every 30 s.
BACKGROUND = {"pulumi.com/deletionPropagationPolicy": "background"}

names = (f"test-{number}" for number in itertools.count(1))


@dataclass
class Resource:
    """A resource in the state of a stack."""

    kind: ResourceType
    request: Request
    id: str
    inputs: Properties
    outputs: Properties

    def preview(self, news: Properties) -> Properties:
        return self.kind.preview(self.kind.check(news, self.inputs, self.request), self.outputs, self.request)

    def difference(self, news: Properties) -> Difference:
        return self.kind.difference(self.inputs, self.kind.check(news, self.inputs, self.request), self.outputs)

    def update(self, news: Properties) -> None:
        inputs = self.kind.check(news, self.inputs, self.request)
        self.outputs = self.kind.update(self.id, inputs, self.outputs, self.inputs, self.request)
        self.inputs = inputs

    def refresh(self) -> Difference | None:
        """What differs from the state; None when the resource is gone."""
        found = self.kind.read(self.id, self.inputs, self.outputs, self.request)
        return found and self.kind.difference(found[0], self.inputs, found[1])

    def delete(self) -> None:
        self.kind.delete(self.id, self.outputs, self.request)


class Stack:
    """Creates resources as the engine does: check, preview, create."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.made: list[Resource] = []

    def preview(self, token: str, name: str, inputs: Properties) -> Properties:
        kind, request = self.asked(token, name, 0)
        return kind.preview(kind.check(inputs, {}, request), None, request)

    def create(self, token: str, name: str, inputs: Properties, *, timeout: float = 0) -> Resource:
        kind, request = self.asked(token, name, timeout)
        checked = kind.check(inputs, {}, request)
        id, outputs = kind.create(checked, request)
        resource = Resource(kind, request, id, checked, outputs)
        self.made.append(resource)
        return resource

    def namespace(self) -> str:
        # A namespace takes 5 s to go.
        return self.create(NAMESPACE, next(names), {"metadata": {"annotations": {"pulumi.com/skipAwait": "true"}}}).id

    def asked(self, token: str, name: str, timeout: float) -> tuple[ResourceType, Request]:
        urn = f"urn:pulumi:s::p::{token}::{name}"
        return self.provider.resource_type(token), Request(urn=urn, provider=self.provider, timeout=timeout)


@pytest.fixture
def provider(cluster: ControlPlane) -> KubernetesProvider:
    made = KubernetesProvider()
    made.configure({"kubeconfig": cluster.kubeconfig.read_text(encoding="utf-8")})
    assert not made.unreachable
    return made


@pytest.fixture
def stack(provider: KubernetesProvider) -> Iterator[Stack]:
    made = Stack(provider)
    yield made
    for resource in reversed(made.made):
        # What the test deleted already is no error, but for a release.
        if resource.kind.read(resource.id, {}, resource.outputs, resource.request):
            request = Request(urn=resource.request.urn, provider=provider, timeout=120)
            resource.kind.delete(resource.id, resource.outputs, request)


@pytest.fixture
def widgets(stack: Stack) -> Resource:
    """A definition of custom resources with one typed field."""
    properties = {"size": {"type": "integer", "minimum": 1}}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    return stack.create(
        DEFINITION,
        "widgets",
        {
            "metadata": {"name": "widgets.test.gpulab.dev"},
            "spec": {
                "group": "test.gpulab.dev",
                "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
                "scope": "Namespaced",
                "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
            },
        },
    )


def deployment(namespace: str, **annotations: str) -> Properties:
    return {
        "metadata": {"namespace": namespace, "name": "web", "annotations": annotations},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "nodeSelector": {"nobody": "has-it"},
                    "containers": [
                        {"name": "web", "image": "web", "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}}}
                    ],
                },
            },
        },
    }


class TestObjects:
    def test_a_create_gives_the_live_object(self, stack: Stack) -> None:
        namespace = stack.namespace()
        made = stack.create(CONFIG_MAP, "settings", {"metadata": {"namespace": namespace}, "data": {"a": "1"}})
        assert re.fullmatch(rf"{namespace}/settings-[0-9a-f]{{8}}", made.id)
        assert made.outputs["metadata"]["uid"]
        assert made.refresh() == Difference([])

    def test_what_the_server_spells_otherwise_is_no_change(self, stack: Stack) -> None:
        made = stack.create(DEPLOYMENT, "web", deployment(stack.namespace(), **{"pulumi.com/skipAwait": "true"}))
        resources = made.outputs["spec"]["template"]["spec"]["containers"][0]["resources"]
        assert resources["requests"] == {"cpu": "1", "memory": "1Gi"}
        difference = made.kind.read(made.id, made.inputs, made.outputs, made.request)
        assert difference is not None
        assert difference[0] == made.inputs

    def test_a_change_by_somebody_else_is_drift_that_the_next_update_undoes(
        self, stack: Stack, cluster: ControlPlane
    ) -> None:
        inputs = deployment(stack.namespace(), **{"pulumi.com/skipAwait": "true"})
        made = stack.create(DEPLOYMENT, "web", inputs)
        path = f"/apis/apps/v1/namespaces/{made.id.partition('/')[0]}/deployments/web"
        cluster.request("PATCH", path, {"spec": {"replicas": 5}}, "application/merge-patch+json")
        drift = made.refresh()
        assert drift
        assert drift.changes == [(("spec", "replicas"), "update")]
        made.update(
            {
                **inputs,
                "metadata": {
                    **inputs["metadata"],
                    "annotations": {"pulumi.com/skipAwait": "true", "pulumi.com/patchForce": "true"},
                },
            }
        )
        assert cluster.request("GET", path)["spec"]["replicas"] == 1

    def test_a_field_that_the_program_drops_is_dropped(self, stack: Stack) -> None:
        inputs = {"metadata": {"namespace": stack.namespace(), "labels": {"a": "1", "b": "2"}}}
        made = stack.create(CONFIG_MAP, "settings", inputs)
        made.update({"metadata": {**inputs["metadata"], "labels": {"a": "1"}}})
        assert made.outputs["metadata"]["labels"] == {"a": "1"}
        managers = {entry["manager"] for entry in made.outputs["metadata"]["managedFields"]}
        assert managers == {made.outputs["__fieldManager"]}
        assert re.fullmatch(r"pulumi-kubernetes-[0-9a-f]{8}", made.outputs["__fieldManager"])

    def test_a_secrets_text_comes_back_as_data_and_changes_nothing(self, stack: Stack) -> None:
        inputs = {"metadata": {"namespace": stack.namespace()}, "stringData": {"password": "hunter2"}}
        made = stack.create(SECRET, "password", inputs)
        assert made.outputs["data"] == {"password": "aHVudGVyMg=="}
        assert made.kind.secret_outputs == {"data", "stringData"}
        assert made.refresh() == Difference([])

    def test_what_was_deleted_behind_our_back_is_gone(self, stack: Stack, cluster: ControlPlane) -> None:
        made = stack.create(CONFIG_MAP, "settings", {"metadata": {"namespace": stack.namespace()}})
        namespace, _, name = made.id.partition("/")
        cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        assert made.refresh() is None
        made.delete()

    def test_an_import_describes_the_object(self, stack: Stack) -> None:
        made = stack.create(CONFIG_MAP, "settings", {"metadata": {"namespace": stack.namespace()}, "data": {"a": "1"}})
        found = made.kind.read(made.id, {}, {}, made.request)
        assert found
        assert found[0]["data"] == {"a": "1"}
        assert "uid" not in found[0]["metadata"]

    def test_a_custom_resource_is_found_as_soon_as_its_definition_is_there(
        self, stack: Stack, widgets: Resource
    ) -> None:
        metadata = {"namespace": stack.namespace(), "annotations": BACKGROUND}
        made = stack.create(WIDGET, "one", {"metadata": metadata, "spec": {"size": 3}})
        assert made.outputs["spec"] == {"size": 3}
        made.delete()
        widgets.delete()
        # Its kind is gone now: that is no error.
        made.delete()
        assert made.refresh() is None

    def test_a_preview_passes_over_what_it_can_not_know(self, stack: Stack) -> None:
        inputs = {"metadata": {"namespace": "not-made-yet"}, "data": {"a": "1"}}
        assert stack.preview(CONFIG_MAP, "settings", inputs)["data"] == {"a": "1"}
        assert stack.preview(CONFIG_MAP, "settings", {"data": {"a": UNKNOWN}})["data"] == {"a": UNKNOWN}
        assert stack.preview("kubernetes:not.there/v1:Thing", "thing", {"spec": {}})["spec"] == {}

    def test_a_preview_shows_what_the_server_fills_in_and_changes_nothing(
        self, stack: Stack, cluster: ControlPlane
    ) -> None:
        namespace = stack.namespace()
        shown = stack.preview(DEPLOYMENT, "web", deployment(namespace))
        assert shown["spec"]["progressDeadlineSeconds"] == 600
        assert not cluster.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")["items"]


class TestRefusals:
    def test_an_unknown_property(self, stack: Stack, widgets: Resource) -> None:
        inputs = {"metadata": {"namespace": stack.namespace()}, "spec": {"size": 3, "colour": "red"}}
        for act in (stack.preview, stack.create):
            with pytest.raises(Refused, match=r'unknown field "spec.colour"'):
                act(WIDGET, "one", inputs)

    def test_a_wrong_type(self, stack: Stack, widgets: Resource) -> None:
        inputs = {"metadata": {"namespace": stack.namespace()}, "spec": {"size": "big"}}
        for act in (stack.preview, stack.create):
            with pytest.raises(Refused, match=r"spec\.size in body must be of type integer"):
                act(WIDGET, "one", inputs)

    def test_an_invalid_update_in_preview(self, stack: Stack, widgets: Resource) -> None:
        metadata = {"namespace": stack.namespace(), "name": "one", "annotations": BACKGROUND}
        made = stack.create(WIDGET, "one", {"metadata": metadata, "spec": {"size": 3}})
        with pytest.raises(Refused, match="should be greater than or equal to 1"):
            made.preview({"metadata": metadata, "spec": {"size": 0}})

    def test_a_namespace_that_is_not_there(self, stack: Stack) -> None:
        with pytest.raises(Refused, match='namespaces "nowhere" not found'):
            stack.create(CONFIG_MAP, "settings", {"metadata": {"namespace": "nowhere"}})

    def test_a_kind_that_is_not_there(self, stack: Stack) -> None:
        with pytest.raises(
            Refused, match='Verify that any required CRDs have been created: no matches for kind "Thing"'
        ):
            stack.create("kubernetes:not.there/v1:Thing", "thing", {"spec": {}})

    def test_an_object_that_exists(self, stack: Stack) -> None:
        inputs = {"metadata": {"namespace": stack.namespace(), "name": "settings"}}
        stack.create(CONFIG_MAP, "settings", inputs)
        with pytest.raises(Refused, match="already exists in the cluster"):
            stack.create(CONFIG_MAP, "again", inputs)

    def test_a_field_of_another_manager(self, stack: Stack, cluster: ControlPlane) -> None:
        inputs = deployment(stack.namespace(), **{"pulumi.com/skipAwait": "true"})
        made = stack.create(DEPLOYMENT, "web", inputs)
        path = (
            f"/apis/apps/v1/namespaces/{made.id.partition('/')[0]}/deployments/web?fieldManager=autoscaler&force=true"
        )
        theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 7}}
        cluster.request("PATCH", path, theirs, "application/apply-patch+yaml")
        wanted = {**inputs, "spec": {**inputs["spec"], "replicas": 2}}
        with pytest.raises(Refused, match=r'(?s)conflict with "autoscaler".*pulumi\.com/patchForce'):
            made.update(wanted)
        forced = {**wanted["metadata"]["annotations"], "pulumi.com/patchForce": "true"}
        made.update({**wanted, "metadata": {**wanted["metadata"], "annotations": forced}})
        assert made.outputs["spec"]["replicas"] == 2

    def test_an_unreachable_cluster(self, cluster: ControlPlane) -> None:
        provider = KubernetesProvider()
        kubeconfig = cluster.kubeconfig.read_text(encoding="utf-8").replace(cluster.url, "https://127.0.0.1:1")
        provider.configure({"kubeconfig": kubeconfig})
        stack = Stack(provider)
        assert stack.preview(CONFIG_MAP, "settings", {"data": {"a": "1"}})["data"] == {"a": "1"}
        with pytest.raises(Refused, match=r"cluster is unreachable: https://127\.0\.0\.1:1"):
            stack.create(CONFIG_MAP, "settings", {})
        kind, request = stack.asked(CONFIG_MAP, "settings", 0)
        with pytest.raises(Refused, match="PULUMI_K8S_DELETE_UNREACHABLE"):
            kind.delete("a/b", {}, request)
        provider.configure({"kubeconfig": kubeconfig, "deleteUnreachable": "true"})
        kind.delete("a/b", {}, request)
        assert kind.read("a/b", {}, {}, request) is None

    def test_a_token_that_nobody_knows(self, cluster: ControlPlane) -> None:
        provider = KubernetesProvider()
        kubeconfig = cluster.kubeconfig.read_text(encoding="utf-8").replace(cluster.token, "wrong")
        provider.configure({"kubeconfig": kubeconfig})
        with pytest.raises(Refused, match="unable to load schema information"):
            Stack(provider).create(CONFIG_MAP, "settings", {})


class TestWaiting:
    def test_a_deployment_that_finds_no_node_fails_with_the_reason_but_stays_in_the_state(self, stack: Stack) -> None:
        namespace = stack.namespace()
        with pytest.raises(InitFailed) as failed:
            stack.create(DEPLOYMENT, "web", deployment(namespace), timeout=20)
        reasons = "\n".join(failed.value.reasons)
        assert "'web' timed out waiting to be Ready: not within 20 s" in reasons
        assert "0/1 Pods available" in reasons
        assert "Unschedulable" in reasons
        assert failed.value.id == f"{namespace}/web"
        assert failed.value.outputs["metadata"]["uid"]

    def test_a_refresh_says_that_a_deployment_is_not_ready(self, stack: Stack) -> None:
        made = stack.create(DEPLOYMENT, "web", deployment(stack.namespace(), **{"pulumi.com/skipAwait": "true"}))
        made.inputs["metadata"]["annotations"] = {}
        with pytest.raises(InitFailed, match="failed to initialize"):
            made.refresh()
        made.inputs["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}

    def test_the_annotation_bounds_the_wait(self, stack: Stack) -> None:
        inputs = deployment(stack.namespace(), **{"pulumi.com/timeoutSeconds": "1"})
        with pytest.raises(InitFailed, match="not within 1 s"):
            stack.create(DEPLOYMENT, "web", inputs)

    def test_a_job_that_failed_is_not_waited_for(self, stack: Stack, cluster: ControlPlane) -> None:
        namespace = stack.namespace()
        containers = [{"name": "once", "image": "once"}]
        template = {"spec": {"restartPolicy": "Never", "nodeSelector": {"nobody": "has-it"}, "containers": containers}}
        inputs = {"metadata": {"namespace": namespace}, "spec": {"template": template, "activeDeadlineSeconds": 1}}
        with pytest.raises(InitFailed, match="DeadlineExceeded"):
            stack.create(JOB, "once", inputs, timeout=60)

    def test_custom_conditions_are_awaited(self, stack: Stack, cluster: ControlPlane) -> None:
        namespace = stack.namespace()
        annotations = {
            "pulumi.com/waitFor": json.dumps(["jsonpath={.data.ready}=yes", "jsonpath={.metadata.labels.a}"])
        }
        inputs = {"metadata": {"namespace": namespace, "name": "flag", "annotations": annotations}, "data": {"a": "1"}}
        path = f"/api/v1/namespaces/{namespace}/configmaps/flag"
        patch = {"data": {"ready": "yes"}, "metadata": {"labels": {"a": "b"}}}

        def patched() -> bool:
            with contextlib.suppress(HTTPError):
                cluster.request("PATCH", path, patch, "application/merge-patch+json")
                return True
            return False

        def become_ready() -> None:
            time.sleep(0.5)
            until(patched, "it is made", seconds=30)

        thread = threading.Thread(target=become_ready)
        thread.start()
        made = stack.create(CONFIG_MAP, "flag", inputs, timeout=30)
        thread.join()
        assert made.outputs["data"]["ready"] == "yes"

    def test_services_without_pods_to_wait_for_are_ready(self, stack: Stack) -> None:
        namespace = stack.namespace()
        ports = [{"port": 80}]
        for name, spec in {
            "headless": {"clusterIP": "None", "selector": {"app": "web"}, "ports": ports},
            "bare": {"ports": ports},
            "external": {"type": "ExternalName", "externalName": "example.com"},
        }.items():
            stack.create(SERVICE, name, {"metadata": {"namespace": namespace}, "spec": spec}, timeout=10)

    def test_a_load_balancer_waits_for_its_address(self, stack: Stack) -> None:
        spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
        with pytest.raises(InitFailed, match="was not allocated an IP address"):
            stack.create(SERVICE, "web", {"metadata": {"namespace": stack.namespace()}, "spec": spec}, timeout=1)


class TestDeleting:
    @staticmethod
    def let_go(cluster: ControlPlane, resource: Resource) -> None:
        """Takes the finalizers of a ConfigMap off."""
        namespace, _, name = resource.id.partition("/")
        path = f"/api/v1/namespaces/{namespace}/configmaps/{name}"
        cluster.request("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")

    def test_a_deletion_that_a_finalizer_holds_names_it(self, stack: Stack, cluster: ControlPlane) -> None:
        metadata = {"namespace": stack.namespace(), "finalizers": ["test.gpulab.dev/hold"]}
        held = stack.create(CONFIG_MAP, "held", {"metadata": metadata}, timeout=1)
        with pytest.raises(TimeoutError) as timed_out:
            held.delete()
        self.let_go(cluster, held)
        assert f"ConfigMap {held.id} was not deleted: not within 1 s" in str(timed_out.value)
        assert "test.gpulab.dev/hold" in str(timed_out.value)

    def test_a_foreground_deletion_names_the_dependent_that_holds_it(self, stack: Stack, cluster: ControlPlane) -> None:
        namespace = stack.namespace()
        owner = stack.create(CONFIG_MAP, "owner", {"metadata": {"namespace": namespace}}, timeout=2)
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": owner.outputs["metadata"]["name"],
            "uid": owner.outputs["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        metadata = {"namespace": namespace, "ownerReferences": [reference], "finalizers": ["test.gpulab.dev/hold"]}
        child = stack.create(CONFIG_MAP, "child", {"metadata": metadata})
        with pytest.raises(TimeoutError) as timed_out:
            owner.delete()
        self.let_go(cluster, child)
        assert f"go first: ConfigMap {child.id} (finalizers: test.gpulab.dev/hold)" in str(timed_out.value)

    def test_a_namespace_goes_with_what_is_in_it(self, stack: Stack) -> None:
        namespace = stack.namespace()
        inside = stack.create(CONFIG_MAP, "inside", {"metadata": {"namespace": namespace}})
        holder = stack.made[0]
        holder.outputs["metadata"]["annotations"] = {}
        holder.delete()
        assert holder.refresh() is None
        assert inside.refresh() is None


class TestReleases:
    @staticmethod
    def karpenter(namespace: str, **inputs: Any) -> Properties:
        return {"chart": "karpenter", "name": "karpenter", "namespace": namespace, "skipCrds": True, **inputs}

    def test_definitions_come_and_go_with_the_crd_chart(
        self, stack: Stack, cluster: ControlPlane, provider: KubernetesProvider
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
        self.admits_what_policies_ask_for(provider.cluster)
        definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/nodepools.karpenter.sh"
        owner = cluster.request("GET", definition)["metadata"]["annotations"]["meta.helm.sh/release-name"]
        assert owner == "karpenter-crd"
        release.delete()
        assert pool.refresh() is None

    @staticmethod
    def admits_what_policies_ask_for(cluster: Cluster) -> None:
        """The definitions' rules in CEL too, which tests/policies/test_fixes.py cannot ask."""
        for fix in FIXES:
            for manifest in (fix.refused, fix.fixed):
                cluster.create(manifest, field_manager="tests", dry_run=True)
        cluster.create(STATIC_POOL, field_manager="tests", dry_run=True)
        limited = {**STATIC_POOL, "spec": {**STATIC_POOL["spec"], "limits": {"nvidia.com/gpu": "8"}}}
        with pytest.raises(ApiError, match=r"only 'limits\.nodes' is supported on static NodePools"):
            cluster.create(limited, field_manager="tests", dry_run=True)

    def test_each_upgrade_is_a_revision_and_old_ones_go(self, stack: Stack, cluster: ControlPlane) -> None:
        namespace = stack.namespace()
        release = stack.create(RELEASE, "karpenter", self.karpenter(namespace, maxHistory=2))
        assert release.refresh() == Difference([])
        for replicas in (1, 3):
            release.update(self.karpenter(namespace, maxHistory=2, values={"replicas": replicas}))
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

    def test_a_release_without_its_secret_is_gone(self, stack: Stack, cluster: ControlPlane) -> None:
        namespace = stack.namespace()
        release = stack.create(RELEASE, "karpenter", self.karpenter(namespace))
        cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/secrets/sh.helm.release.v1.karpenter.v1")
        assert release.refresh() is None
        with pytest.raises(Refused, match="release: not found"):
            release.delete()

    def test_a_name_in_use(self, stack: Stack) -> None:
        namespace = stack.namespace()
        stack.create(RELEASE, "karpenter", self.karpenter(namespace))
        with pytest.raises(Refused, match="cannot re-use a name that is still in use"):
            stack.create(RELEASE, "again", self.karpenter(namespace))

    def test_a_namespace_that_is_not_there_unless_it_is_to_be_made(self, stack: Stack, cluster: ControlPlane) -> None:
        namespace = next(names)
        with pytest.raises(Refused, match=f'namespaces "{namespace}" not found'):
            stack.create(RELEASE, "karpenter", self.karpenter(namespace))
        stack.create(RELEASE, "karpenter", self.karpenter(namespace, createNamespace=True)).delete()
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
    def test_refusals(self, stack: Stack, inputs: Properties, expected: str) -> None:
        with pytest.raises(Refused, match=expected):
            stack.preview(RELEASE, "karpenter", self.karpenter("default", **inputs))

    def test_an_object_that_is_not_the_releases_own(self, stack: Stack) -> None:
        namespace = stack.namespace()
        first = {"chart": "karpenter-crd", "name": "first", "namespace": namespace}
        stack.create(RELEASE, "first", first)
        with pytest.raises(Refused, match="invalid ownership metadata"):
            stack.create(RELEASE, "second", {**first, "name": "second"})
