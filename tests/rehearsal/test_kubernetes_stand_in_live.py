"""The stand-in for pulumi-kubernetes against a real API server: what it makes, changes and refuses.

Each test has its own namespaces, and does not wait for their deletion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from kubernetes_stand_in_lab import (
    BACKGROUND,
    CONFIG_MAP,
    DEFINITION,
    DEPLOYMENT,
    SECRET,
    WIDGET,
    Resource,
    Stack,
    connected,
    deployment,
    stacked,
)

from rehearsal.machine.control_plane import ControlPlane
from rehearsal.providers.kubernetes.provider import KubernetesProvider
from rehearsal.providers.protocol.model import UNKNOWN, Difference, Refused

pytestmark = pytest.mark.seconds(60)


@pytest.fixture
def stack(cluster: ControlPlane) -> Iterator[Stack]:
    with stacked(connected(cluster)) as made:
        yield made


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
