"""The gate: it waits until a driver has deleted its volumes, reports this, and fails at its timeout with what to do."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from components.gates import volume_gate
from components.gates.volume_gate import (
    DELETE_UNREACHABLE,
    LeftVolume,
    VolumeGate,
    VolumeGateProvider,
    VolumesLeftError,
    left_volumes,
    wait_until_gone,
)

DISK = LeftVolume(name="pvc-1", phase="Released", claim="team-ml/home-ada")


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.said: list[str] = []

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def wait(self, look: Callable[[], list[LeftVolume]], seconds: float, *, unreachable_is_gone: bool = False) -> None:
        wait_until_gone(
            look,
            seconds,
            unreachable_is_gone=unreachable_is_gone,
            say=self.said.append,
            sleep=self.sleep,
            now=lambda: self.seconds,
        )


def in_turn(*answers: list[LeftVolume] | Exception) -> Callable[[], list[LeftVolume]]:
    """Each answer once, then the last one forever."""
    rest: Iterator[list[LeftVolume] | Exception] = iter(answers)
    last: list[list[LeftVolume] | Exception] = []

    def look() -> list[LeftVolume]:
        last[:] = [next(rest, *last)] if last else [next(rest)]
        if isinstance(last[0], Exception):
            raise last[0]
        return last[0]

    return look


def volume(name: str, policy: str, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": name},
        "spec": {"persistentVolumeReclaimPolicy": policy, **spec},
        "status": {"phase": "Bound"},
    }


def test_it_waits_for_what_goes_with_its_claim_alone() -> None:
    claim = {"namespace": "team-ml", "name": "home-ada"}
    found = left_volumes([volume("disk", "Delete", claimRef=claim), volume("files", "Retain"), volume("new", "Delete")])
    assert [one.name for one in found] == ["disk", "new"]
    assert found[0].claim == "team-ml/home-ada"


def test_with_nothing_left_it_returns_at_once_and_says_nothing() -> None:
    clock = Clock()
    clock.wait(in_turn([]), 10)
    assert clock.seconds == 0
    assert clock.said == []


def test_it_says_what_it_waits_for_and_when_that_was_gone() -> None:
    clock = Clock()
    clock.wait(in_turn([DISK], [DISK], []), 600)
    assert "pvc-1" in clock.said[0]
    assert "team-ml/home-ada" in clock.said[0]
    assert "was gone after" in clock.said[-1]


def test_it_repeats_itself_now_and_then_but_not_each_time() -> None:
    clock = Clock()
    with pytest.raises(VolumesLeftError):
        clock.wait(in_turn([DISK]), 300)
    assert 5 < len(clock.said) < 20


def test_it_gives_up_in_time_with_names_and_a_way_out() -> None:
    clock = Clock()
    with pytest.raises(VolumesLeftError) as error:
        clock.wait(in_turn([DISK]), 60)
    for word in ("pvc-1", "team-ml/home-ada", "kubectl get pvc,pod", "pulumi destroy"):
        assert word in str(error.value)
    assert 60 <= clock.seconds < 70


def test_an_api_server_that_stumbles_is_asked_again() -> None:
    clock = Clock()
    clock.wait(in_turn(ConnectionError("reset"), [DISK], []), 60)
    assert "reset" in clock.said[0]


def test_an_api_server_that_is_gone_is_no_reason_to_go_on() -> None:
    with pytest.raises(VolumesLeftError) as error:
        Clock().wait(in_turn([DISK], ConnectionError("refused")), 60)
    assert "refused" in str(error.value)
    assert f"{DELETE_UNREACHABLE}=true" in str(error.value)


def test_a_cluster_that_was_deleted_by_hand_is_waited_for_no_longer_once_its_owner_says_so() -> None:
    clock = Clock()
    clock.wait(in_turn(ConnectionError("refused")), 600, unreachable_is_gone=True)
    assert 10 <= clock.seconds < 60
    assert DELETE_UNREACHABLE in clock.said[-1]


def test_a_cluster_that_answered_once_is_not_taken_for_gone() -> None:
    with pytest.raises(VolumesLeftError):
        Clock().wait(in_turn([DISK], ConnectionError("refused")), 60, unreachable_is_gone=True)


@pytest.mark.parametrize("set_to", ["true", "false", None])
def test_the_owner_says_so_by_the_kubernetes_providers_variable(
    set_to: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(
        volume_gate, "wait_until_gone", lambda *_, unreachable_is_gone, **__: asked.append(unreachable_is_gone)
    )
    monkeypatch.delenv(DELETE_UNREACHABLE, raising=False)
    if set_to:
        monkeypatch.setenv(DELETE_UNREACHABLE, set_to)
    VolumeGateProvider().delete("volumes", {"kubeconfig": "{}", "timeout": 5})
    assert asked == [set_to == "true"]


def test_a_deletion_asks_the_stacks_own_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(volume_gate, "persistent_volumes", lambda kubeconfig: asked.append(kubeconfig) or [])
    props = {"kubeconfig": json.dumps({"current-context": "ours"}), "timeout": 5}
    VolumeGateProvider().delete("volumes", props)
    assert asked == [{"current-context": "ours"}]


def test_only_another_way_to_the_cluster_or_another_patience_is_a_change() -> None:
    provider, before = VolumeGateProvider(), {"kubeconfig": "{}", "timeout": 5}
    assert not provider.diff("volumes", {**before, "__provider": "old"}, {**before, "__provider": "new"}).changes
    assert provider.diff("volumes", before, {**before, "kubeconfig": "{1}"}).changes
    assert provider.diff("volumes", before, {**before, "timeout": 6}).changes


def test_the_state_refers_to_the_provider_by_its_name(mocks: Any) -> None:
    """Pickled by value, it would be the code at the time of the `up`."""
    mocks.deploy(lambda: VolumeGate("gate", "{}"))
    (gate,) = [one for one in mocks.resources if "VolumeGate" in one.type]
    packed = base64.b64decode(gate.inputs["__provider"])
    assert b"components.gates.volume_gate" in packed
    assert b"VolumeGateProvider" in packed
    assert len(packed) < 200
    # The engine waits longer than the provider, which has the last word.
    assert float(gate.custom_timeouts["delete"].rstrip("s")) > gate.inputs["timeout"]
