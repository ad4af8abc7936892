"""GPUs in the whole of a platform: the order of destruction, and through which provider things are made."""

from __future__ import annotations

from typing import Any

import pytest
from engine_mocks import EngineMocks
from platform_lab import deployed

WARM = {"sharing": "time-slicing", "replicas": 4, "warm": {"replicas": 1}}
CACHE = {"method": "snapshot", "snapshotId": "snap-0123456789abcdef0", "fastRestore": True}
POOLS: dict[str, Any] = {
    "gpu": {"categories": ["g"], "gpus": {"min": 1, "max": 1}, "limits": {"gpus": 2}, "gpu": WARM},
    "fast": {
        "categories": ["g"],
        "gpus": {"min": 1, "max": 1},
        "limits": {"gpus": 2},
        "gpu": {"imageCache": CACHE},
        "ami": {"family": "Bottlerocket", "alias": "bottlerocket@v1.66.0"},
    },
}


@pytest.fixture(scope="module")
def platform() -> EngineMocks:
    """The graph of a platform with a shared, warm pool and one with a snapshot, which tests only read."""
    return deployed(**{"gpulab:nodePools": POOLS})


def test_operator_and_placeholders_go_before_the_pools_and_overlays_after_them(platform: EngineMocks) -> None:
    pools = platform.all("kubernetes:karpenter.sh/v1:NodePool")
    operator = platform.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-gpu")
    placeholders = platform.one("kubernetes:apps/v1:Deployment")
    overlay = platform.one("kubernetes:karpenter.sh/v1alpha1:NodeOverlay")
    karpenter = platform.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-karpenter")
    assert len(pools) == 2
    for pool in pools:
        assert platform.needs(operator, pool)
        assert platform.needs(placeholders, pool)
    assert platform.needs(next(one for one in pools if one.inputs["metadata"]["name"] == "gpu"), overlay)
    assert platform.needs(overlay, karpenter)


def test_snapshots_are_restored_fast_before_a_node_is_bought(platform: EngineMocks) -> None:
    restores = platform.all("aws:ebs/fastSnapshotRestore:FastSnapshotRestore")
    provider = platform.one("pulumi:providers:aws")
    assert {one.inputs["availabilityZone"] for one in restores} == {"us-east-1a", "us-east-1b"}
    (pool,) = [p for p in platform.all("kubernetes:karpenter.sh/v1:NodePool") if p.inputs["metadata"]["name"] == "fast"]
    for one in restores:
        assert one.provider.startswith(provider.urn)
        assert platform.needs(pool, one)
