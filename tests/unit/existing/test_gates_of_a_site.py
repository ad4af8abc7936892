"""What a destroy does on a cluster that stays: it asks that cluster by its context, and waits for its own volumes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.gates.access import AccessError, api_client
from components.gates.node_marks import MarksError, NodeMarksProvider
from components.gates.notebook_end import NotebookEndProvider, NotebooksUnreachableError
from components.gates.team_data import removal_message
from components.gates.volume_gate import (
    DELETE_UNREACHABLE,
    TIMEOUT_SECONDS,
    VolumeGate,
    VolumeGateProvider,
    VolumesLeftError,
    left_volumes,
    persistent_volumes,
    wait_until_gone,
)


def kubeconfig(*contexts: str, current: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": current,
        "clusters": [{"name": one, "cluster": {"server": f"https://{one}.example.com"}} for one in contexts],
        "contexts": [{"name": one, "context": {"cluster": one, "user": "admin"}} for one in contexts],
        "users": [{"name": "admin", "user": {"token": "t"}}],
    }


def test_the_context_of_the_stack_file_is_asked_and_not_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config").write_text(yaml.safe_dump(kubeconfig("lab", "production", current="production")))
    with api_client({"path": "~/config", "context": "lab"}) as client:
        assert client.configuration.host == "https://lab.example.com"
    monkeypatch.chdir(tmp_path)
    with api_client({"path": "config", "context": "lab"}) as client:
        assert client.configuration.host == "https://lab.example.com"


@pytest.fixture
def renamed(tmp_path: Path) -> str:
    """Access, as the state has it, by a context that has another name now."""
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(kubeconfig("lab-new", "production", current="production")))
    return json.dumps({"path": str(file), "context": "lab"})


def test_a_context_that_was_renamed_is_refused_at_once_with_the_known_ones(renamed: str) -> None:
    def never(seconds: float) -> None:
        raise AssertionError(f"waits {seconds} s")

    marks = {"kubeconfig": renamed, "stack": "lab", "node": "tower", "labels": {}, "taints": []}
    with pytest.raises(VolumesLeftError) as of_volumes:
        wait_until_gone(
            lambda: left_volumes(persistent_volumes(json.loads(renamed))), TIMEOUT_SECONDS, on_site=True, sleep=never
        )
    with pytest.raises(MarksError) as of_marks:
        NodeMarksProvider().delete("marks", marks)
    with pytest.raises(NotebooksUnreachableError) as of_notebooks:
        NotebookEndProvider().delete("notebooks", {"kubeconfig": renamed, "namespaces": ["team-a"]})
    for refusal in (of_volumes, of_marks, of_notebooks):
        said = str(refusal.value)
        assert "has no context lab, by which the state knows the cluster: it has lab-new, production" in said
        assert "kubectl config rename-context NEW lab" in said
        assert f"{DELETE_UNREACHABLE}=true" in said
        assert "does not answer" not in said
        assert "EC2" not in said


def test_a_kubeconfig_that_is_gone_is_named(tmp_path: Path) -> None:
    gone = {"path": str(tmp_path / "config"), "context": "lab"}
    with pytest.raises(AccessError, match=r"the kubeconfig .*config, by which the state knows the cluster, can't be"):
        api_client(gone).__enter__()


def test_a_context_that_went_with_its_cluster_holds_nobody_up(renamed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DELETE_UNREACHABLE, "true")
    monkeypatch.setattr("components.gates.volume_gate._GONE_AFTER_SECONDS", 0)
    VolumeGateProvider().delete("volumes", {"kubeconfig": renamed, "timeout": 5, "namespaces": ["hub"]})


def test_the_kubeconfig_of_an_eks_cluster_is_in_the_state() -> None:
    with api_client(kubeconfig("eks", current="eks")) as client:
        assert client.configuration.host == "https://eks.example.com"


def volume(name: str, namespace: str, policy: str = "Delete") -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"persistentVolumeReclaimPolicy": policy, "claimRef": {"namespace": namespace, "name": "data"}},
    }


def test_volumes_of_others_are_not_waited_for() -> None:
    volumes = [volume("ours", "hub"), volume("theirs", "shop"), volume("kept", "hub", "Retain")]
    assert [one.name for one in left_volumes(volumes, ["hub", "team-a"])] == ["ours"]
    assert [one.name for one in left_volumes(volumes)] == ["ours", "theirs"]


def test_the_gate_waits_in_the_namespaces_of_the_state(monkeypatch: pytest.MonkeyPatch, mocks: Any) -> None:
    mocks.deploy(lambda: VolumeGate("gate", "{}", namespaces=["team-b", "hub"]))
    (gate,) = [one for one in mocks.resources if "VolumeGate" in one.type]
    assert gate.inputs["namespaces"] == ["hub", "team-b"]
    seen: list[str] = []

    def look(wait: Any, *_: Any, **__: Any) -> None:
        seen.extend(one.name for one in wait())

    monkeypatch.setattr("components.gates.volume_gate.wait_until_gone", look)
    monkeypatch.setattr(
        "components.gates.volume_gate.persistent_volumes", lambda _: [volume("ours", "hub"), volume("theirs", "shop")]
    )
    VolumeGateProvider().delete("volumes", {"kubeconfig": "{}", "timeout": 5, "namespaces": ["hub", "team-b"]})
    assert seen == ["ours"]


def test_a_gate_of_eks_that_is_in_a_state_already_does_not_change() -> None:
    before = {"kubeconfig": "{}", "timeout": 900}
    assert not VolumeGateProvider().diff("volumes", before, {**before, "namespaces": None}).changes
    assert VolumeGateProvider().diff("volumes", before, {**before, "namespaces": ["hub"]}).changes


def test_a_volume_on_a_node_that_is_off_is_no_matter_of_ec2() -> None:
    look = lambda: left_volumes([volume("ours", "hub")])  # noqa: E731
    with pytest.raises(VolumesLeftError, match="waits for that node: start it") as left:
        wait_until_gone(look, 0, on_site=True)
    assert "EC2" not in str(left.value)


@pytest.mark.parametrize(("retain", "end"), [(False, "a destroy deletes them"), (True, "a destroy keeps them")])
def test_the_preview_says_where_the_files_of_a_removed_team_stay(retain: bool, end: str) -> None:
    said = removal_message("vision", {"namespace": "gpulab-files", "retain": retain, "homes": "per-person"})
    assert "shared files stay in the claims of namespace gpulab-files" in said
    assert end in said
    assert "storage class decides" in said
    assert "gp3" not in said
