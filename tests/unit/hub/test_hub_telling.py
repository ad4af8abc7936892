"""The cluster's words in plain ones, and why a notebook did not start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from components.hub.telling import broken, machines, refused, stuck, told, why_not

# As Karpenter 1.14, the scheduler and kubelet say it.
BOUGHT = {
    "type": "Normal",
    "reason": "Nominated",
    "message": "Pod should schedule on: nodeclaim/gpu-x7k2p",
    "source": {"component": "karpenter"},
}
BOUGHT_AGAIN = {**BOUGHT, "message": "Pod should schedule on: nodeclaim/gpu-9zzzz"}
ON_NODE = {**BOUGHT, "message": "Pod should schedule on: node/ip-10-40-0-7.ec2.internal"}
NO_MACHINE = {
    "type": "Warning",
    "reason": "FailedScheduling",
    "message": "Failed to schedule pod, all available instance types exceed limits for nodepool: gpu",
    "source": {"component": "karpenter"},
}
NO_ROOM = {
    "type": "Warning",
    "reason": "FailedScheduling",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
    "reportingComponent": "default-scheduler",
    "source": {},
}
PULLING = {"type": "Normal", "reason": "Pulling", "message": 'Pulling image "quay.io/jupyter/example:1"'}
NO_MOUNT = {"type": "Warning", "reason": "FailedMount", "message": "MountVolume.SetUp failed for volume homes"}


def pod(node: str | None = None, **status: Any) -> dict[str, Any]:
    return {"spec": {"nodeName": node} if node else {}, "status": {"phase": "Pending", **status}}


def test_events_are_told_as_what_happens() -> None:
    assert "buys a machine for it (gpu-x7k2p)" in told(BOUGHT)
    assert "runs already" in told(ON_NODE)
    assert "exceed limits for nodepool: gpu" in told(NO_MACHINE)
    assert "Karpenter looks for one" in told(NO_ROOM)
    assert "quay.io/jupyter/example:1" in told(PULLING)
    assert told({"reason": "Unheard", "message": "as it is"}) == "as it is"


def test_a_limit_that_karpenter_names_is_the_reason() -> None:
    assert "could buy no machine for it within 600 seconds: all available instance types" in why_not(
        [NO_ROOM, NO_MACHINE], pod(), 600
    )


def test_machines_that_were_ordered_and_never_came_are_named() -> None:
    said = why_not([NO_ROOM, BOUGHT, NO_ROOM, BOUGHT_AGAIN], pod(), 600)
    assert "ordered 2 machines for it (gpu-x7k2p, gpu-9zzzz), and none was ready" in said
    assert "AWS is out of capacity for this instance type right now" in said


def claim(*conditions: dict[str, str]) -> dict[str, Any]:
    return {
        "metadata": {"name": "gpu-x7k2p", "creationTimestamp": "2026-11-30T08:00:00Z"},
        "status": {"conditions": [{"type": "Registered", "status": "True"}, *conditions]},
    }


def test_a_machine_that_never_gets_ready_is_named_with_what_it_lacks() -> None:
    lacks = {
        "type": "Initialized",
        "status": "Unknown",
        "reason": "ResourceNotRegistered",
        "message": 'Resource "nvidia.com/gpu" was requested but not registered',
    }
    at = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)
    said = stuck(claim(lacks), at)
    assert said is not None
    assert 'gpu-x7k2p was bought at 08:00 UTC and is not ready: Resource "nvidia.com/gpu" was requested' in said
    assert "kubectl delete nodeclaim gpu-x7k2p" in said
    assert stuck(claim(), at)  # Karpenter has said nothing yet
    # Until then it is on its way, and what is ready is ready.
    assert stuck(claim(lacks), at.replace(minute=14)) is None
    assert stuck(claim({"type": "Initialized", "status": "True"}), at) is None

    assert machines([NO_ROOM, BOUGHT, NO_ROOM, BOUGHT_AGAIN]) == ["gpu-9zzzz"]
    assert machines([BOUGHT, ON_NODE]) == ["gpu-x7k2p"]
    assert why_not([BOUGHT], pod(), 600, [said]) == said
    assert "could buy no machine" in why_not([BOUGHT, NO_MACHINE], pod(), 600, [said])


def test_what_came_last_counts() -> None:
    assert "could buy no machine" in why_not([BOUGHT, NO_MACHINE], pod(), 600)
    assert "ordered a machine" in why_not([NO_MACHINE, BOUGHT], pod(), 600)


def test_on_its_machine_it_is_the_last_warning() -> None:
    said = why_not([NO_ROOM, BOUGHT, NO_MOUNT, PULLING], pod("node"), 600)
    assert "had a machine" in said
    assert "MountVolume.SetUp failed" in said


def test_with_nothing_said_there_is_no_guess() -> None:
    assert "said nothing" in why_not([], pod(), 600)
    assert "0/3 nodes" in why_not([NO_ROOM], pod(), 600)
    assert "gone before it ran" in why_not([], None, 600)


def test_what_can_never_run_is_told_at_once() -> None:
    waiting = {"state": {"waiting": {"reason": "InvalidImageName", "message": "couldn't parse image"}}}
    assert "couldn't parse image" in (broken(pod(containerStatuses=[waiting])) or "")
    pulling = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}}
    assert broken(pod(containerStatuses=[pulling])) is None, "the registry may come back"
    ended = {"state": {"terminated": {"exitCode": 127}}}
    assert "exit code 127" in (broken(pod(phase="Failed", containerStatuses=[ended])) or "")
    again = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 127}}}
    assert "exit code 127, again and again" in (broken(pod(containerStatuses=[again])) or "")
    assert "Evicted" in (broken(pod(phase="Failed", reason="Evicted")) or "")
    assert broken(pod()) is None


def test_the_clusters_refusal_begins_where_it_means_something() -> None:
    message = 'pods "jupyter-ada" is forbidden: exceeded quota: team, requested: requests.nvidia.com/gpu=1'
    assert refused(message) == (
        "The cluster refused the notebook: exceeded quota: team, requested: requests.nvidia.com/gpu=1"
    )
    assert refused("no such thing").endswith("no such thing")
