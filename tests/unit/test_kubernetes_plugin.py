"""Where the stand-in for pulumi-kubernetes acts like the real plugin (from 4.30 on), and what this requires of us."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import contracts
from components import quantities
from components.storage import volumes
from contracts.quantities import amount
from rehearsal.machine import chart_paths
from rehearsal.machine.engine import Result, Step, _step
from rehearsal.phases import PhaseFailed, Rehearsal
from rehearsal.providers.kubernetes import awaiting, normalizing
from rehearsal.providers.kubernetes.provider import KubernetesProvider
from rehearsal.providers.kubernetes.release import _values
from rehearsal.providers.protocol.model import UNKNOWN, Properties, Refused, Request

RELEASE = "kubernetes:helm.sh/v3:Release"
SECRET = "kubernetes:core/v1:Secret"


class Telling(KubernetesProvider):
    """The provider, with the warnings that it gives."""

    def __init__(self) -> None:
        super().__init__()
        self.warnings: list[str] = []

    def warn(self, urn: str, message: str) -> None:
        self.warnings.append(message)


def check(token: str, inputs: Properties, provider: KubernetesProvider | None = None) -> Properties:
    provider = provider or KubernetesProvider()
    return provider.resource_type(token).check(
        inputs, {}, Request(urn=f"urn:pulumi:s::p::{token}::x", provider=provider)
    )


@pytest.mark.parametrize(
    ("condition", "annotation", "replaced"),
    [
        ("Failed", "true", True),
        (None, "true", True),  # it runs
        ("Complete", "true", False),
        ("Failed", "false", False),
    ],
)
def test_a_job_that_failed_is_replaced_by_the_next_up_where_its_annotation_says_so(
    condition: str | None, annotation: str, replaced: bool
) -> None:
    metadata = {"name": "once", "namespace": "lab", "annotations": {"pulumi.com/replaceUnready": annotation}}
    inputs = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {}}}
    conditions = [{"type": condition, "status": "True"}] if condition else []
    provider = KubernetesProvider()
    provider.connection._unreachable = ""
    cluster = SimpleNamespace(get=lambda obj: {**obj, "status": {"conditions": conditions}})
    provider.connection._cluster = cast("Any", cluster)
    found = provider.resource_type("kubernetes:batch/v1:Job").difference(inputs, inputs, inputs)
    assert bool(found.replacing) is replaced
    # The new one has the name of the old one.
    assert found.delete_before_replace is replaced


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("2048Gi", "2Ti"),
        ("1536Gi", "1536Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("0.1", "100m"),
        ("1000", "1k"),
        (1000, "1k"),
        ("100", "100"),
        ("0Gi", "0"),
        ("0", "0"),
        ("1e3", "1e3"),
        ("1E", "1E"),
        ("12E", "12E"),
    ],
)
def test_quantities_have_one_form(written, kept):
    assert quantities.canonical(written) == kept


@given(number=st.integers(1, 10**6), suffix=st.sampled_from(["", "m", "k", "M", "G", "Ki", "Mi", "Gi", "Ti"]))
def test_the_form_says_the_same_and_stays(number, suffix):
    form = quantities.canonical(f"{number}{suffix}")
    assert amount(form) == amount(f"{number}{suffix}")
    assert quantities.canonical(form) == form


def test_quantities_and_empty_values_of_built_in_kinds_are_kept_as_the_plugin_keeps_them():
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "x", "labels": {}, "annotations": None},
        "spec": {"capacity": {"storage": "2048Gi"}, "mountOptions": [], "storageClassName": "", "csi": {"driver": "x"}},
    }
    kept = check("kubernetes:core/v1:PersistentVolume", volume)
    assert kept["spec"] == {"capacity": {"storage": "2Ti"}, "storageClassName": "", "csi": {"driver": "x"}}
    assert not {"labels", "annotations"} & kept["metadata"].keys()


def test_what_is_empty_and_means_something_stays():
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"volumes": [{"name": "x", "emptyDir": {}}], "nodeSelector": {}}}
    assert normalizing.normalized(pod)["spec"] == {"volumes": [{"name": "x", "emptyDir": {}}]}
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "spec": {"podSelector": {}, "egress": [{}]},
    }
    assert normalizing.normalized(policy) == policy


def test_custom_resources_and_what_is_not_known_are_left_as_they_are():
    pool = {"spec": {"limits": {"memory": "2048Gi"}, "template": {"spec": {"taints": []}}}}
    assert check("kubernetes:karpenter.sh/v1:NodePool", pool)["spec"] == pool["spec"]
    quota = {"spec": {"hard": {"requests.memory": "2048Gi", "pods": UNKNOWN}}}
    assert check("kubernetes:core/v1:ResourceQuota", quota)["spec"] == quota["spec"]


def test_texts_of_a_secret_are_kept_as_data_and_stay_secret():
    kind = KubernetesProvider().resource_type(SECRET)
    kept = check(SECRET, {"stringData": {"a": "b"}, "data": {"c": "ZA=="}})
    assert "stringData" not in kept
    assert kept["data"] == {"a": "Yg==", "c": "ZA=="}
    assert kind.copies["data"] == "stringData"
    # In a state of before, the text itself stands: that is no change.
    before = {**kept, "stringData": {"a": "b"}, "data": {"c": "ZA=="}}
    assert kind.difference(before, kept, {}).changes == []


def test_nulls_reach_helm_and_the_flag_that_once_kept_them_is_warned_of():
    assert _values({"values": {"a": None, "b": [{"c": None}]}}) == {"a": None, "b": [{"c": None}]}
    provider = Telling()
    check(RELEASE, {"chart": "karpenter", "allowNullValues": True}, provider)
    assert provider.warnings == [
        "`allowNullValues` is deprecated and has no effect; null values in Helm chart values are preserved by default."
    ]


def write_chart(folder: Path, *, dependencies: tuple[str, ...] = (), inside: tuple[str, ...] = ()) -> Path:
    chart = folder / "x"
    chart.mkdir(parents=True)
    named = [{"name": name, "version": "1.0.0", "repository": "https://example.com"} for name in dependencies]
    (chart / "Chart.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v2", "name": "x", "version": "1.0.0", "dependencies": named}), encoding="utf-8"
    )
    for name in inside:
        (chart / "charts" / name).mkdir(parents=True)
        (chart / "charts" / name / "Chart.yaml").write_text(f"name: {name}\nversion: 1.0.0\n", encoding="utf-8")
    (chart / "templates").mkdir()
    (chart / "templates" / "large.txt").write_bytes(bytes(range(256)) * 4096)
    return chart


def packed(chart: Path) -> Path:
    archive = chart.parent / f"{chart.name}-1.0.0.tgz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(chart, chart.name)
    return archive


def test_a_chart_is_loaded_whole_before_anything_is_made(tmp_path):
    chart = write_chart(tmp_path, dependencies=("sub", "gone"), inside=("sub",))
    for path in (chart, packed(chart)):
        with pytest.raises(Refused, match=r"missing in charts/ directory: gone; check the chart name"):
            check(RELEASE, {"chart": str(path)})
    whole = packed(write_chart(tmp_path / "whole", dependencies=("sub",), inside=("sub",)))
    assert check(RELEASE, {"chart": str(whole)})["version"] == "1.0.0"
    whole.write_bytes(whole.read_bytes()[:-2000])
    with pytest.raises(Refused, match="is not a chart archive"):
        check(RELEASE, {"chart": str(whole)})


def test_a_claim_without_a_class_is_told_what_to_wait_for():
    """Else the plugin warns `no storage class found` of each team's volumes."""
    volume = volumes.TeamVolume(name="homes", directory="/teams/a/homes", mount_path="/home")
    annotations = volumes.claim("team-a", volume)["metadata"]["annotations"]
    assert annotations == {"pulumi.com/waitFor": "jsonpath={.status.phase}=Bound"}


class Holding:
    """A cluster that has an object as it is."""

    def __init__(self, obj: Properties) -> None:
        self._obj = obj

    def get(self, obj: Properties) -> Properties:
        return self._obj


def test_a_claim_without_a_class_is_warned_of_unless_it_says_what_to_wait_for():
    metadata = {"name": "homes", "namespace": "team-a"}
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": {"storageClassName": ""},
        "status": {"phase": "Bound"},
    }
    for annotated, warnings in (({}, ['no storage class found for "homes"']), (volumes.UNTIL_BOUND, [])):
        waited = {**claim, "metadata": {**metadata, "annotations": annotated}}
        provider = Telling()
        request = Request(urn="urn:pulumi:s::p::kubernetes:core/v1:PersistentVolumeClaim::x", provider=provider)
        assert awaiting.until_ready(cast("Any", Holding(waited)), waited, waited, request) == waited
        assert provider.warnings == warnings


def chart_archive(folder: Path, name: str, version: str) -> Path:
    path = folder / f"{name}-{version}.tgz"
    content = json.dumps({"apiVersion": "v2", "name": name, "version": version}).encode()
    with tarfile.open(path, "w:gz") as tar:
        entry = tarfile.TarInfo(f"{name}/Chart.yaml")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return path


def test_charts_at_hand_are_found_for_a_plugin_that_knows_no_folders(tmp_path):
    version = contracts.chart("jupyterhub").version
    path = chart_archive(tmp_path, "jupyterhub", version)
    assert chart_paths.at_hand([tmp_path]) == {"jupyterhub": path}
    other = tmp_path / "other"
    (other / "karpenter").mkdir(parents=True)
    (other / "karpenter" / "Chart.yaml").write_text("name: karpenter\nversion: 0.0.1\n", encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"karpenter is pinned at .*, but .* is 0\.0\.1"):
        chart_paths.at_hand([other])


def test_charts_that_are_in_no_folder_are_asked_of_their_repositories(tmp_path, monkeypatch):
    asked: list[Any] = []

    def pull_into(folder: Path, helm: str, reference: str, version: str, repository: str | None) -> Path | None:
        asked.append((reference, version, repository))
        return folder / "karpenter.tgz" if reference.endswith("karpenter") else None

    monkeypatch.setattr("rehearsal.providers.kubernetes.archives.pull_into", pull_into)
    at_hand = chart_archive(tmp_path, "keycloakx", "7.1.11")
    releases = [
        {"chart": "oci://public.ecr.aws/karpenter/karpenter", "version": "1.14.1"},
        {"chart": "jupyterhub", "version": "4.4.0", "repository": "https://hub.jupyter.org/helm-chart/"},
        {"chart": str(at_hand)},
    ]
    found, missing = chart_paths.pulled(releases, tmp_path, Path("helm"))
    assert found == {"karpenter": tmp_path / "karpenter.tgz"}
    assert missing == ["jupyterhub"]
    assert len(asked) == 2


def release_step(chart: str) -> Step:
    """A release as the engine tells of it in a preview."""
    inputs = {"chart": chart, "version": "1.0.0", "repositoryOpts": {"repo": "https://example.com"}}
    urn = f"urn:pulumi:s::p::{RELEASE}::x"
    return _step({"op": "create", "urn": urn, "type": RELEASE, "new": {"inputs": inputs}}, 0)


def test_a_chart_that_cannot_be_had_ends_the_first_preview(tmp_path, monkeypatch):
    monkeypatch.setattr("rehearsal.providers.kubernetes.archives.pull_into", lambda *_: None)
    helm = SimpleNamespace(wait_for=lambda program: None, path=lambda program: tmp_path / program)
    rehearsal = cast("Any", SimpleNamespace(toolchain=helm))
    with pytest.raises(PhaseFailed, match=r"cannot be downloaded: gone\. .* with --charts"):
        Rehearsal._get_charts(rehearsal, Result("preview", steps=[release_step("gone")]))
    at_hand = chart_archive(tmp_path, "x", "1.0.0")
    Rehearsal._get_charts(rehearsal, Result("preview", steps=[release_step(str(at_hand))]))


def test_a_chart_that_was_pulled_is_named_in_the_stack_file(tmp_path, monkeypatch):
    pulled = tmp_path / "karpenter-1.0.0.tgz"
    monkeypatch.setattr("rehearsal.providers.kubernetes.archives.pull_into", lambda *_: pulled)
    told: dict[str, Any] = {}
    rehearsal = SimpleNamespace(
        toolchain=SimpleNamespace(wait_for=lambda program: None, path=lambda program: tmp_path / program),
        workspace=SimpleNamespace(change_config=lambda key, **values: told.update({key: values})),
    )
    Rehearsal._get_charts(cast("Any", rehearsal), Result("preview", steps=[release_step("oci://x/karpenter")]))
    assert told == {"gpulab:charts": {"karpenter": {"path": str(pulled)}}}
