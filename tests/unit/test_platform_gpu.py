"""GPUs in the whole of a platform: the order of destruction, and through which provider things are made."""

from __future__ import annotations

import datetime
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eks_mocks
import pytest

import settings
from components.platform import Platform

WARM = {"sharing": "time-slicing", "replicas": 4, "warm": {"replicas": 1}}
CACHE = {"method": "snapshot", "snapshotId": "snap-0123456789abcdef0", "fastRestore": True}
CONFIG: dict[str, Any] = {
    "aws:region": "us-east-1",
    "gpulab:owner": "ml@example.com",
    "gpulab:costCenter": "research-042",
    "gpulab:lifecycle": {"kind": "lab", "expires": "2027-06-30"},
    "gpulab:network": {"cidr": "10.40.0.0/16", "zones": ["us-east-1a", "us-east-1b"]},
    "gpulab:cluster": {"version": "1.34", "administrators": ["arn:aws:iam::123456789012:role/platform-admin"]},
    "gpulab:nodePools": {
        "gpu": {"categories": ["g"], "gpus": {"min": 1, "max": 1}, "limits": {"gpus": 2}, "gpu": WARM},
        "fast": {
            "categories": ["g"],
            "gpus": {"min": 1, "max": 1},
            "limits": {"gpus": 2},
            "gpu": {"imageCache": CACHE},
            "ami": {"family": "Bottlerocket", "alias": "bottlerocket@v1.54.0"},
        },
    },
}


@pytest.fixture
def platform(mocks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The mocks of a platform with a shared, warm pool and one with a snapshot."""
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        eks_mocks.answer(mocks, monkeypatch, f"https://127.0.0.1:{server.getsockname()[1]}")
        config = {key: value if isinstance(value, str) else json.dumps(value) for key, value in CONFIG.items()}
        loaded = settings.load(config, stack="dev", today=datetime.date(2027, 1, 1))
        mocks.deploy(lambda: Platform(loaded.cluster.name, loaded))
        yield mocks


def test_operator_and_placeholders_go_before_the_pools_and_overlays_after_them(platform: Any) -> None:
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


def test_snapshots_are_restored_fast_before_a_node_is_bought(platform: Any) -> None:
    restores = platform.all("aws:ebs/fastSnapshotRestore:FastSnapshotRestore")
    provider = platform.one("pulumi:providers:aws")
    assert {one.inputs["availabilityZone"] for one in restores} == {"us-east-1a", "us-east-1b"}
    (pool,) = [p for p in platform.all("kubernetes:karpenter.sh/v1:NodePool") if p.inputs["metadata"]["name"] == "fast"]
    for one in restores:
        assert one.provider.startswith(provider.urn)
        assert platform.needs(pool, one)
