"""The cluster's messages in plain words, and why a notebook did not start."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from components.hub.inside.start_messages import (
    assigned,
    broken,
    ends_early,
    event_in_words,
    gone,
    node_claims,
    refused,
    startup,
    stuck,
    why_not,
)

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
    assert "buys a machine for it (gpu-x7k2p)" in event_in_words(BOUGHT, buys=True)
    assert "running machine" in event_in_words(ON_NODE, buys=True)
    assert "exceed limits for nodepool: gpu" in event_in_words(NO_MACHINE, buys=True)
    assert "Karpenter looks for one" in event_in_words(NO_ROOM, buys=True)
    assert "quay.io/jupyter/example:1" in event_in_words(PULLING, buys=True)
    assert event_in_words({"reason": "Unheard", "message": "as it is"}, buys=True) == "as it is"


def test_a_limit_that_karpenter_names_is_the_reason() -> None:
    assert "could not buy a machine for it within 600 seconds: all available instance types" in why_not(
        [NO_ROOM, NO_MACHINE], pod(), 600, buys=True
    )


def test_machines_that_were_ordered_and_never_came_are_named() -> None:
    said = why_not([NO_ROOM, BOUGHT, NO_ROOM, BOUGHT_AGAIN], pod(), 600, buys=True)
    assert "ordered 2 machines for it (gpu-x7k2p, gpu-9zzzz), and none was ready" in said
    assert "AWS is out of capacity for this instance type" in said


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
    assert stuck(claim(), at)  # Karpenter has reported nothing yet
    # Until then it is on its way, and what is ready is ready.
    assert stuck(claim(lacks), at.replace(minute=14)) is None
    assert stuck(claim({"type": "Initialized", "status": "True"}), at) is None

    assert node_claims([NO_ROOM, BOUGHT, NO_ROOM, BOUGHT_AGAIN]) == ["gpu-9zzzz"]
    assert node_claims([BOUGHT, ON_NODE]) == ["gpu-x7k2p"]
    assert why_not([BOUGHT], pod(), 600, [said], buys=True) == said
    assert "could not buy a machine" in why_not([BOUGHT, NO_MACHINE], pod(), 600, [said], buys=True)


def test_a_machine_that_ends_before_the_notebook_has_to_is_told() -> None:
    found = {"reason": "Scheduled", "message": "Successfully assigned team-research/jupyter-ada to ip-10-40-0-7"}
    assert assigned(found) == "ip-10-40-0-7"
    assert assigned(BOUGHT) is None
    end = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)
    assert "2026-11-30 08:15 UTC" in (ends_early(end, end.replace(hour=7), 2 * 3600) or "")
    assert ends_early(end, end.replace(hour=7), 3600) is None
    assert ends_early(None, end, 3600) is None


def test_of_a_pod_that_was_deleted_it_is_told_who_did_if_they_say_so() -> None:
    preempted = {"reason": "Preempted", "message": "Preempted by pod 41f on node ip-10-40-0-7"}
    condition = {"type": "DisruptionTarget", "status": "True", "message": "Taint manager: deleting due to NoExecute"}
    ended = pod("node", conditions=[{"type": "Ready", "status": "False"}, condition])
    assert gone([BOUGHT, preempted], pod("node"), "jupyter-ada").endswith(
        "was deleted before it ran. The cluster says: Preempted by pod 41f on node ip-10-40-0-7. Start it again."
    )
    assert "Taint manager: deleting" in gone([BOUGHT], ended, "jupyter-ada")
    assert gone([BOUGHT], None, "jupyter-ada") == "Its pod jupyter-ada was deleted before it ran. Start it again."


def test_what_came_last_counts() -> None:
    assert "could not buy a machine" in why_not([BOUGHT, NO_MACHINE], pod(), 600, buys=True)
    assert "ordered a machine" in why_not([NO_MACHINE, BOUGHT], pod(), 600, buys=True)


def test_on_its_machine_it_is_the_last_warning() -> None:
    said = why_not([NO_ROOM, BOUGHT, NO_MOUNT, PULLING], pod("node"), 600, buys=True)
    assert "had a machine" in said
    assert "MountVolume.SetUp failed" in said


def test_with_nothing_said_there_is_no_guess() -> None:
    assert "reported nothing" in why_not([], pod(), 600, buys=True)
    assert "0/3 nodes" in why_not([NO_ROOM], pod(), 600, buys=True)
    assert "deleted its pod before it ran" in why_not([], None, 600, buys=True)


def no_room(*reasons: str) -> dict[str, Any]:
    """The scheduler's event, with its words for each reason."""
    preemption = "preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
    return {**NO_ROOM, "message": f"0/3 nodes are available: {', '.join(reasons)}. {preemption}"}


FULL = no_room("1 Insufficient cpu", "2 Insufficient nvidia.com/gpu.shared", "3 Insufficient memory")
ELSEWHERE = no_room(
    "1 node(s) had volume node affinity conflict", "2 node(s) didn't match Pod's node affinity/selector"
)


def test_where_nobody_buys_machines_no_one_waits_for_a_purchase() -> None:
    says = [event_in_words(one, buys=False) for one in (NO_ROOM, FULL, ELSEWHERE)]
    says += [why_not(events, pod(), 600, buys=False) for events in ([NO_ROOM], [FULL], [ELSEWHERE], [])]
    assert not [said for said in says if "Karpenter" in said or "buy" in said]
    assert "too little is free of GPUs." in says[0]
    assert "too little is free of vCPU, shared GPUs and memory." in says[1]
    assert "somebody stops a notebook, or an administrator adds a machine" in says[1]
    assert "had room for it within 600 seconds: too little is free of vCPU" in why_not([FULL], pod(), 600, buys=False)
    assert "volume node affinity conflict" in says[2]
    assert "stop" not in says[2], "it would not help"


def test_on_a_site_where_others_buy_machines_that_is_told() -> None:
    """An EKS cluster of another team may have its own Karpenter."""
    assert "buys a machine for it (gpu-x7k2p)" in event_in_words(BOUGHT, buys=False)
    assert "ordered a machine" in why_not([BOUGHT], pod(), 600, buys=False)


def test_what_can_never_run_is_told_at_once() -> None:
    waiting = {"state": {"waiting": {"reason": "InvalidImageName", "message": "couldn't parse image"}}}
    assert "couldn't parse image" in (broken(pod(containerStatuses=[waiting])) or "")
    ended = {"state": {"terminated": {"exitCode": 127}}}
    assert "exit code 127" in (broken(pod(phase="Failed", containerStatuses=[ended])) or "")
    again = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 127}}}
    assert "exit code 127, again and again" in (broken(pod(containerStatuses=[again])) or "")
    assert "Evicted" in (broken(pod(phase="Failed", reason="Evicted")) or "")
    assert broken(pod()) is None


def test_of_a_log_people_see_what_the_startup_script_says() -> None:
    log = (
        "Entered start.sh with args: bash\nstartup: Collecting example\nstartup:  10%\r 50%\r100%\r\n[I] 2026 starts\n"
    )
    assert startup(log) == ["Collecting example", "100%"]
    assert startup("") == []


IMAGE = "quay.io/jupyter/example:1"
PULL = f'failed to pull and unpack image "{IMAGE}": '
RESOLVE = f'{PULL}failed to resolve reference "{IMAGE}": '
HEAD = "unexpected status from HEAD request to https://quay.io/v2/jupyter/example/manifests/1: "
DENIED = "pull access denied, repository does not exist or may require authorization: "
ECR = RESOLVE.replace("quay.io", "123456789012.dkr.ecr.us-east-1.amazonaws.com")


def by_transfer_service(message: str) -> str:
    """The messages of containerd's transfer service, which pulls images on Bottlerocket."""
    return re.sub(r'failed to resolve reference "[^"]*"', "failed to resolve image", message)


def pulling(message: str, reason: str = "ErrImagePull") -> dict[str, Any]:
    return pod(
        "node", containerStatuses=[{"image": IMAGE, "state": {"waiting": {"reason": reason, "message": message}}}]
    )


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (f"{RESOLVE}{IMAGE}: not found", "has no such image"),
        (f"rpc error: code = NotFound desc = {RESOLVE}{IMAGE}: not found", "has no such image"),
        (f"{PULL}no match for platform in manifest: not found", "architecture"),
        (f"{RESOLVE}{HEAD}401 UNAUTHORIZED", "pullSecret"),
        (f"{RESOLVE}failed to authorize: failed to fetch anonymous token: {HEAD}403 Forbidden", "pullSecret"),
        (f"{RESOLVE}{DENIED}server message: insufficient_scope: authorization failed", "pullSecret"),
        (f"{RESOLVE}{DENIED}authorization failed: no basic auth credentials", "pullSecret"),
    ],
)
def test_an_image_that_is_not_there_or_not_for_us_is_told_at_once(message: str, why: str) -> None:
    for pulled in (message, by_transfer_service(message)):
        for said in (
            broken(pulling(pulled)),
            # As kubelet says it between two tries.
            broken(pulling(f'Back-off pulling image "{IMAGE}": ErrImagePull: {pulled}', "ImagePullBackOff")),
        ):
            assert said is not None
            assert f"The image {IMAGE} can't be pulled" in said
            assert why in said
            assert "failed to resolve" not in said, "what follows says more"


@pytest.mark.parametrize(
    "message",
    [
        "Back-off",
        f"{RESOLVE}failed to do request: Head: dial tcp: lookup quay.io: i/o timeout",
        f"{RESOLVE}{HEAD}502 Bad Gateway",
        f"{RESOLVE}{HEAD}429 Too Many Requests",
        # Of a layer, whose address is signed for some minutes.
        f"{PULL}failed to copy: httpReadSeeker: failed open: unexpected status code https://cdn/x: 403 Forbidden",
        f"{PULL}failed to prepare extraction snapshot: parent snapshot sha256:0 does not exist: not found",
        # A node that has just begun.
        f"{ECR}{DENIED}authorization failed: no basic auth credentials",
    ],
)
def test_a_pull_that_may_succeed_another_time_is_waited_for(message: str) -> None:
    for pulled in (message, by_transfer_service(message)):
        assert broken(pulling(pulled)) is None
        assert broken(pulling(pulled, "ImagePullBackOff")) is None


def test_the_clusters_refusal_begins_where_it_means_something() -> None:
    message = 'pods "jupyter-ada" is forbidden: exceeded quota: team, requested: requests.nvidia.com/gpu=1'
    assert refused(message) == (
        "The cluster refused the notebook: exceeded quota: team, requested: requests.nvidia.com/gpu=1"
    )
    assert refused("no such thing").endswith("no such thing")
