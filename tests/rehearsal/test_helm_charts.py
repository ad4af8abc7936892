"""Charts with archives, installed by the real Helm through the stand-in for pulumi-kubernetes, on a real API server."""

from __future__ import annotations

import os
import stat
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from helm_lab import DEPLOYMENT, NAME, NODE_LABELS, Lab, write_chart

from rehearsal.checks.helm_releases import releases
from rehearsal.checks.pods import until
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.toolchain import Toolchain
from rehearsal.providers.kubernetes import archives, chart_lookup, helm
from rehearsal.providers.kubernetes.provider import KubernetesProvider
from rehearsal.providers.protocol.model import Difference, InitFailed, Refused


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    return write_chart(tmp_path)


@pytest.fixture
def provider(cluster: ControlPlane, toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch) -> KubernetesProvider:
    monkeypatch.setenv("PATH", str(toolchain.path("helm").parent), prepend=os.pathsep)
    made = KubernetesProvider()
    made.configure({"kubeconfig": cluster.kubeconfig.read_text(encoding="utf-8")})
    return made


@pytest.fixture(scope="module")
def node(cluster: ControlPlane) -> Iterator[None]:
    """A node for the chart's pods, and for no others."""
    metadata = {"name": f"node-of-{NAME}", "labels": NODE_LABELS}
    status = {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "20"}, "capacity": {"cpu": "4", "pods": "20"}}
    cluster.request("POST", "/api/v1/nodes", {"metadata": metadata, "status": status})
    yield
    cluster.request("DELETE", f"/api/v1/nodes/{metadata['name']}")


@pytest.fixture
def lab(provider: KubernetesProvider, cluster: ControlPlane, node: None) -> Iterator[Lab]:
    made = Lab(provider, cluster)
    yield made
    cluster.request("DELETE", f"/api/v1/namespaces/{made.namespace}")


class TestInstalling:
    def test_a_release_comes_changes_and_goes(self, lab: Lab, chart: Path) -> None:
        inputs = lab.inputs(chart, values={"greeting": "good morning", "secret": "hunter2"}, maxHistory=2)
        outputs = lab.create(inputs)
        assert outputs["status"] == {
            "name": NAME,
            "namespace": lab.namespace,
            "revision": 1,
            "status": "deployed",
            "chart": NAME,
            "version": "1.2.3",
            "appVersion": "4.5.6",
        }
        assert outputs["resourceNames"] == {"Deployment.apps/apps/v1": [NAME], "ConfigMap/v1": [NAME]}
        # It was waited for: a pod of it runs. Helm looks at its ReplicaSet, whose count the Deployment shows later.
        until(lambda: lab.ready_replicas() == 1, "the Deployment counts its pod", seconds=60)
        hook = lab.get("jobs", f"{NAME}-before", "batch/v1")
        assert hook
        assert hook["status"]["succeeded"] == 1
        (release,) = [one for one in releases(lab.cluster) if one.namespace == lab.namespace]
        assert (release.is_stand_in, release.hooks) == (False, {f"{NAME}-before": "Succeeded"})
        assert lab.refresh(inputs, outputs) == Difference([])

        for replicas in (2, 3):
            inputs = lab.inputs(chart, values={"replicas": replicas, "greeting": None}, maxHistory=2)
            outputs = lab.update(inputs, outputs)
        assert outputs["status"]["revision"] == 3
        deployment = lab.get("deployments")
        assert deployment
        until(lambda: lab.ready_replicas() == 3, "the Deployment counts its pods", seconds=60)
        # A null takes the chart's default away, as with the real plugin.
        assert deployment["metadata"]["annotations"]["greeting"] == ""
        assert lab.refresh(inputs, outputs) == Difference([])
        secrets = lab.cluster.request("GET", f"/api/v1/namespaces/{lab.namespace}/secrets?labelSelector=owner=helm")
        assert len(secrets["items"]) == 2

        lab.delete(outputs)
        assert lab.get("deployments") is None
        assert lab.refresh(inputs, outputs) is None

    def test_an_install_that_fails_is_taken_back_with_atomic(self, lab: Lab, chart: Path) -> None:
        values = {"nodeSelector": {"nobody": "has-it"}}
        inputs = lab.inputs(chart, values=values, atomic=True, timeout=2, disableWebhooks=True)
        with pytest.raises(Refused, match="has been uninstalled due to atomic being set"):
            lab.create(inputs)
        assert lab.get("deployments") is None
        assert lab.refresh(inputs, {}) is None

    def test_an_install_that_fails_stays_without_atomic_and_the_next_up_mends_it(self, lab: Lab, chart: Path) -> None:
        values = {"nodeSelector": {"nobody": "has-it"}}
        inputs = lab.inputs(chart, values=values, timeout=2, disableWebhooks=True)
        with pytest.raises(InitFailed, match="failed to initialize completely") as failed:
            lab.create(inputs)
        assert failed.value.id == f"{lab.namespace}/{NAME}"
        assert failed.value.outputs["status"]["status"] == "failed"
        # Given no values at all, Helm would go on with the last ones.
        outputs = lab.update(lab.inputs(chart, values={"nodeSelector": NODE_LABELS}), failed.value.outputs)
        assert outputs["status"]["status"] == "deployed"
        lab.delete(outputs)

    def test_an_upgrade_that_fails_is_rolled_back_with_atomic(self, lab: Lab, chart: Path) -> None:
        outputs = lab.create(lab.inputs(chart))
        values = {"nodeSelector": {"nobody": "has-it"}, "greeting": "good night"}
        worse = lab.inputs(chart, values=values, atomic=True, timeout=20, disableCRDHooks=True)
        with pytest.raises(InitFailed, match="has been rolled back due to atomic being set"):
            lab.update(worse, outputs)
        deployment = lab.get("deployments")
        assert deployment
        assert deployment["metadata"]["annotations"]["greeting"] == "hello"
        # A refresh sees that it is not what the program asked for.
        drift = lab.refresh(worse, outputs)
        assert drift
        assert (("values", "greeting"), "delete") in drift.changes
        lab.delete(outputs)

    def test_what_the_api_server_refuses_is_refused(self, lab: Lab, chart: Path) -> None:
        template = chart / "templates" / "deployment.yaml"
        template.write_text(DEPLOYMENT.replace("image: greeter", "image: greeter, ports: 80"), encoding="utf-8")
        with pytest.raises(InitFailed, match="ports"):
            lab.create(lab.inputs(chart, disableWebhooks=True))

    def test_a_release_that_was_cancelled_half_way_is_in_the_state(self, lab: Lab, chart: Path) -> None:
        inputs = lab.inputs(chart, values={"nodeSelector": {"nobody": "has-it"}}, disableWebhooks=True)

        def cancel_once_helm_waits() -> None:
            until(lambda: lab.get("deployments"), "Helm has made the Deployment", seconds=60)
            lab.provider.cancelled.set()

        thread = threading.Thread(target=cancel_once_helm_waits)
        thread.start()
        with pytest.raises(InitFailed, match="cancelled while `helm install greeter`") as failed:
            lab.create(inputs)
        thread.join()
        lab.provider.cancelled.clear()
        assert failed.value.outputs["status"]["status"] == "failed"
        lab.delete(failed.value.outputs)

    def test_a_cancelled_engine_ends_helm(self, lab: Lab, chart: Path) -> None:
        inputs = lab.inputs(chart, values={"nodeSelector": {"nobody": "has-it"}}, atomic=True, disableWebhooks=True)
        lab.provider.cancelled.set()
        with pytest.raises(InterruptedError, match="cancelled while `helm install greeter`"):
            lab.create(inputs)
        lab.provider.cancelled.clear()


class TestFinding:
    def test_values_against_the_schema_are_refused_before_anything_is_done(self, lab: Lab, chart: Path) -> None:
        with pytest.raises(Refused) as refused:
            lab.inputs(chart, values={"replicas": "many", "greetings": "hello"})
        assert len(refused.value.failures) == 2

    def test_helm_itself_refuses_them_too(self, lab: Lab, chart: Path) -> None:
        inputs = {**lab.inputs(chart), "values": {"replicas": "many"}}
        with pytest.raises(Refused, match=r"(?s)values don't meet the specifications.*replicas"):
            lab.create(inputs)

    def test_a_chart_is_found_in_the_folders_given(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        version = chart_lookup.find("karpenter", None).version
        write_chart(tmp_path / "source", version, "karpenter")
        (tmp_path / "archives").mkdir()
        with tarfile.open(tmp_path / "archives" / f"karpenter-{version}.tgz", "w:gz") as tar:
            tar.add(tmp_path / "source" / "karpenter", "karpenter")
        for folder in ("source", "archives"):
            monkeypatch.setenv(archives.FOLDERS, os.pathsep.join([str(tmp_path / "empty"), str(tmp_path / folder)]))
            inputs = lab.inputs("oci://example.com/karpenter", values={"replicas": 0})
            assert inputs["version"] == version
            outputs = lab.create(inputs)
            assert outputs["status"]["appVersion"] == "4.5.6"
            lab.delete(outputs)

    def test_a_release_of_a_chart_is_not_upgraded_to_a_stand_in(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would remove all that the chart installed."""
        write_chart(tmp_path, chart_lookup.find("karpenter", None).version, "karpenter")
        monkeypatch.setenv(archives.FOLDERS, str(tmp_path))
        outputs = lab.create(lab.inputs("karpenter", values={"replicas": 0}, disableWebhooks=True))
        monkeypatch.delenv(archives.FOLDERS)
        with pytest.raises(Refused, match="from the chart karpenter, which cannot be found anymore"):
            lab.update(lab.inputs("karpenter"), outputs)
        lab.delete(outputs)

    def test_a_chart_at_another_version_than_the_pin_is_refused(
        self, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_chart(tmp_path, "0.0.1", "karpenter")
        monkeypatch.setenv(archives.FOLDERS, str(tmp_path))
        with pytest.raises(Refused, match=r"the chart karpenter is pinned at \S+, but .*karpenter is 0\.0\.1"):
            lab.inputs("karpenter")

    def test_a_path_that_holds_no_chart_is_refused(self, lab: Lab, tmp_path: Path) -> None:
        (tmp_path / "chart.tgz").write_text("no archive", encoding="utf-8")
        with pytest.raises(Refused, match="not a chart archive"):
            lab.inputs(tmp_path / "chart.tgz")

    def test_a_version_asked_for_is_held_against_the_charts_own(self, lab: Lab, chart: Path) -> None:
        with pytest.raises(Refused, match=r"is at version '1\.2\.3', not '2\.0\.0'"):
            lab.inputs(chart, version="2.0.0")

    def test_without_helm_a_chart_at_hand_is_an_error(
        self, lab: Lab, chart: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", "")
        with pytest.raises(Refused, match="`helm` is not on PATH"):
            lab.create(lab.inputs(chart))


def test_credentials_and_values_are_for_this_user_alone(
    lab: Lab, chart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = tmp_path / "bin" / "helm"
    spy.parent.mkdir()
    spy.write_text(f'#!/bin/sh\nfor file in "$@"; do [ -f "$file" ] && ls -l "$file"; done > {tmp_path}/seen\nexit 1\n')
    spy.chmod(0o755)
    monkeypatch.setenv("PATH", str(spy.parent), prepend=os.pathsep)
    monkeypatch.setenv("HELM_KUBETOKEN", "the-users-own")
    inputs = lab.inputs(chart, values={"secret": "hunter2"})
    with pytest.raises(helm.HelmFailed):
        helm.run(lab.provider.connection.kubeconfig(), helm.install_arguments(chart, inputs), lab.request)
    for line in (tmp_path / "seen").read_text(encoding="utf-8").splitlines():
        assert line.startswith(stat.filemode(stat.S_IFREG | 0o600))
