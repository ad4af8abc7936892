"""Nodes that do not become ready, in the report of what an account holds."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from reports import leftovers
from reports.account import Held
from reports.leftovers import Leftovers
from reports.node_claims import stuck

NOW = datetime(2026, 11, 30, 8, 15, tzinfo=UTC)
LACKS_ITS_GPUS = {
    "type": "Initialized",
    "status": "Unknown",
    "reason": "ResourceNotRegistered",
    "message": 'Resource "nvidia.com/gpu" was requested but not registered',
}


def claim(made: str = "2026-11-30T08:00:00Z", *conditions: dict[str, str], **metadata: Any) -> dict[str, Any]:
    labels = {"karpenter.sh/nodepool": "gpu", "node.kubernetes.io/instance-type": "p6-b300.48xlarge"}
    return {
        "metadata": {"name": "gpu-x7k2p", "creationTimestamp": made, "labels": labels, **metadata},
        "status": {"conditions": [{"type": "Registered", "status": "True"}, *conditions]},
    }


def test_a_node_that_joined_without_its_gpus_is_stuck_after_15_minutes() -> None:
    (found,) = stuck([claim("2026-11-30T08:00:00Z", LACKS_ITS_GPUS)], NOW)
    assert str(found).startswith("gpu-x7k2p (p6-b300.48xlarge, pool gpu): since 2026-11-30 08:00 UTC; Resource")
    assert found.command == "kubectl delete nodeclaim gpu-x7k2p"


@pytest.mark.parametrize(
    "fine",
    [
        claim("2026-11-30T08:00:01Z", LACKS_ITS_GPUS),
        claim("2026-11-30T07:00:00Z", {"type": "Initialized", "status": "True"}),
        claim("2026-11-30T07:00:00Z", LACKS_ITS_GPUS, deletionTimestamp="2026-11-30T08:14:00Z"),
    ],
    ids=["on its way", "ready", "going"],
)
def test_other_nodes_are_not(fine: dict[str, Any]) -> None:
    assert list(stuck([fine], NOW)) == []


def report() -> Leftovers:
    return Leftovers(stack="dev", cluster="gpulab-dev", account="123456789012", region="us-east-1", is_up=True)


def test_the_report_names_them_with_what_takes_them_away() -> None:
    made = report()
    made.stuck = [*stuck([claim("2026-11-30T08:00:00Z", LACKS_ITS_GPUS)], NOW)]
    assert "Nodes that do not become ready, and cost money until they expire: 1" in made.as_text()
    assert "was requested but not registered. kubectl delete nodeclaim gpu-x7k2p" in made.as_text()
    (found,) = made.as_json()["nodesThatAreNotReady"]
    assert (found["pool"], found["command"]) == ("gpu", "kubectl delete nodeclaim gpu-x7k2p")


def test_a_cluster_that_cannot_be_asked_is_said_to_be() -> None:
    cluster = Held(service="eks", kind="clusters", id="gpulab-dev", raw={"endpoint": "https://10.0.0.1"})
    account: Any = SimpleNamespace()
    made = report()
    with mock.patch.object(leftovers, "stuck_nodes", side_effect=TimeoutError("timed out")):
        leftovers._look_at_nodes(account, cluster, made)
    (said,) = made.not_looked_at
    assert said.startswith(
        "NodeClaims of gpulab-dev (needs its API, and an access entry that may list them): timed out"
    )
    assert made.stuck == []


def test_a_cluster_that_is_being_made_has_none() -> None:
    account: Any = SimpleNamespace()
    made = report()
    leftovers._look_at_nodes(account, Held(service="eks", kind="clusters", id="gpulab-dev", raw={}), made)
    assert (made.stuck, made.not_looked_at) == ([], [])
