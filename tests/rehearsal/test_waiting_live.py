"""What the stand-in for pulumi-kubernetes waits for after a create and a delete, on a real API server."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from urllib.error import HTTPError

import pytest
from kubernetes_stand_in_lab import (
    CONFIG_MAP,
    DEPLOYMENT,
    JOB,
    SERVICE,
    Resource,
    Stack,
    connected,
    deployment,
    stacked,
)

from rehearsal.checks.pods import until
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.providers.protocol.model import InitFailed


@pytest.fixture
def stack(cluster: ControlPlane) -> Iterator[Stack]:
    with stacked(connected(cluster)) as made:
        yield made


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

    def test_a_job_that_failed_is_not_waited_for_and_replaced_by_the_next_up(self, stack: Stack) -> None:
        containers = [{"name": "once", "image": "once"}]
        template = {"spec": {"restartPolicy": "Never", "nodeSelector": {"nobody": "has-it"}, "containers": containers}}
        metadata = {"namespace": stack.namespace(), "annotations": {"pulumi.com/replaceUnready": "true"}}
        inputs = {"metadata": metadata, "spec": {"template": template, "activeDeadlineSeconds": 1}}
        with pytest.raises(InitFailed, match="DeadlineExceeded") as failed:
            stack.create(JOB, "once", inputs, timeout=60)
        kind, made = stack.asked(JOB, "once", 0)[0], failed.value.outputs
        assert kind.difference(made, made, made).replacing

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
