"""The phases of a start, from what Kubernetes and Karpenter note."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from verify_api import serving

from verify import timing

POD: dict[str, Any] = {
    "metadata": {"name": "sees-gpu", "namespace": "of-a-test", "creationTimestamp": "2026-01-01T00:00:00Z"},
    "spec": {"nodeName": "gpu-1"},
    "status": {"containerStatuses": [{"state": {"terminated": {"startedAt": "2026-01-01T00:02:05Z"}}}]},
}
CLAIM: dict[str, Any] = {
    "metadata": {"name": "gpu-abcde", "creationTimestamp": "2026-01-01T00:00:02Z"},
    "status": {
        "nodeName": "gpu-1",
        "conditions": [
            {"type": "Registered", "lastTransitionTime": "2026-01-01T00:00:32Z"},
            {"type": "Initialized", "lastTransitionTime": "2026-01-01T00:00:50Z"},
        ],
    },
}
PULL = {
    "metadata": {"creationTimestamp": "2026-01-01T00:02:00Z"},
    "reason": "Pulled",
    "message": 'Successfully pulled image "quay.io/jupyter/pytorch-notebook" in 1m10.5s (1m10.9s including waiting)',
}
CLAIMS, EVENTS = "/apis/karpenter.sh/v1/nodeclaims", "/api/v1/namespaces/of-a-test/events"


def test_a_start_on_a_node_that_is_bought_is_split_into_what_people_wait_for(tmp_path: Path) -> None:
    with serving(tmp_path, {CLAIMS: [CLAIM], EVENTS: [PULL]}) as api:
        found = timing.phases(api, POD)
    assert found == {
        timing.NODE_BOUGHT: 32,
        timing.NODE_READY: 18,
        timing.IMAGE_PULLED: 70.5,
        timing.STARTED: 4.5,
        timing.TOTAL: 125,
    }
    assert timing.in_words(found).startswith("submit to ready 125 s (node bought 32 s, node ready 18 s, ")


def test_a_node_and_an_image_that_were_there_cost_nothing(tmp_path: Path) -> None:
    earlier = {**CLAIM, "metadata": {**CLAIM["metadata"], "creationTimestamp": "2025-12-31T00:00:00Z"}}
    present = {**PULL, "message": 'Container image "quay.io/jupyter/pytorch-notebook" already present on machine'}
    with serving(tmp_path, {CLAIMS: [earlier], EVENTS: [present]}) as api:
        assert timing.phases(api, POD) == {timing.STARTED: 125, timing.TOTAL: 125}


def test_of_a_pod_that_has_not_started_nothing_is_said(tmp_path: Path) -> None:
    with serving(tmp_path, {}) as api:
        found = timing.phases(api, {**POD, "status": {}})
    assert not found
    assert not timing.in_words(found)
