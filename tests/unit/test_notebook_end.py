"""The gate that ends notebooks when the hub is deleted: in every team, with an error if the cluster does not answer."""

from __future__ import annotations

from typing import Any

import pytest

from components.gates.notebook_end import NOTEBOOKS, NotebookEndProvider, NotebooksUnreachableError
from components.gates.volume_gate import DELETE_UNREACHABLE


def test_deletion_ends_the_notebooks_of_every_team(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    class Api:
        def __init__(self, client: Any) -> None:
            assert client == "client"

        def delete_collection_namespaced_pod(self, namespace: str, *, label_selector: str, **_: Any) -> None:
            asked.append((namespace, label_selector))

    class Client:
        def __enter__(self) -> str:
            return "client"

        def __exit__(self, *_: object) -> None:
            pass

    import kubernetes  # noqa: PLC0415

    monkeypatch.setattr(kubernetes.config, "new_client_from_config_dict", lambda config: Client())
    monkeypatch.setattr(kubernetes.client, "CoreV1Api", Api)
    NotebookEndProvider().delete("notebooks", {"kubeconfig": "{}", "namespaces": ["team-a", "team-b"]})
    assert asked == [("team-a", NOTEBOOKS), ("team-b", NOTEBOOKS)]


def answering(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """An API server that answers with an error, or does not answer at all."""
    import kubernetes  # noqa: PLC0415

    def refuse(config: Any) -> None:
        raise error

    monkeypatch.setattr(kubernetes.config, "new_client_from_config_dict", refuse)


@pytest.mark.parametrize("value", ["", "false"])
def test_notebooks_of_a_cluster_out_of_reach_stop_the_deletion_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    answering(monkeypatch, OSError("timed out"))
    monkeypatch.setenv(DELETE_UNREACHABLE, value)
    with pytest.raises(NotebooksUnreachableError) as refusal:
        NotebookEndProvider().delete("notebooks", {"kubeconfig": "{}", "namespaces": ["team-a"]})
    for part in ("team-a", "timed out", f"{DELETE_UNREACHABLE}=true"):
        assert part in str(refusal.value)


def test_notebooks_of_a_cluster_that_was_deleted_by_hand_have_ended_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, OSError("timed out"))
    monkeypatch.setenv(DELETE_UNREACHABLE, "true")
    NotebookEndProvider().delete("notebooks", {"kubeconfig": "{}", "namespaces": ["team-a"]})


def test_an_api_server_that_refuses_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from kubernetes.client import ApiException  # noqa: PLC0415

    answering(monkeypatch, ApiException(status=403))
    monkeypatch.setenv(DELETE_UNREACHABLE, "true")
    with pytest.raises(ApiException):
        NotebookEndProvider().delete("notebooks", {"kubeconfig": "{}", "namespaces": ["team-a"]})


def test_namespaces_that_come_and_go_are_kept_up_to_date() -> None:
    provider = NotebookEndProvider()
    before = {"kubeconfig": "{}", "namespaces": ["team-a"]}
    assert provider.diff("notebooks", before, {**before, "namespaces": ["team-a", "team-b"]}).changes
    assert not provider.diff("notebooks", before, before).changes
