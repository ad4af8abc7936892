"""NVIDIA's own device plugin, on cards that are not there: what it offers to kubelet, refuses, and takes back."""

from __future__ import annotations

import grpc
import pytest
from plugin_lab import Programs, plugin, programs

from components.nodes.gpu_sharing import plugin_configs
from rehearsal.node.gpu.cards import CARDS, gpus
from settings.pools.fixed_pools import FixedPool

__all__ = ["programs"]

T4 = CARDS["T4"]


def config(**gpu: object) -> str:
    """The configuration that a stack makes for a pool whose GPUs are shared like this."""
    pool = FixedPool.model_validate({"nodes": ["a"], "gpus": {"count": 1}, "gpu": gpu})
    return plugin_configs({"pool": pool}, strategies=True)["pool"]


def test_whole_cards_are_offered_by_their_own_name(programs: Programs) -> None:
    with plugin(programs, [T4, T4], config()) as kubelet:
        assert kubelet.resource() == "nvidia.com/gpu"
        devices = next(kubelet.watch("nvidia.com/gpu"))
        assert devices == {gpu.uuid: "Healthy" for gpu in gpus([T4, T4])}
        (uuid, _) = devices
        assert kubelet.allocate("nvidia.com/gpu", uuid) == {"NVIDIA_VISIBLE_DEVICES": uuid}


def test_shares_have_a_name_of_their_own_and_a_pod_gets_one(programs: Programs) -> None:
    with plugin(programs, [T4], config(sharing="time-slicing", replicas=8)) as kubelet:
        assert kubelet.resource() == "nvidia.com/gpu.shared"
        shares = sorted(next(kubelet.watch("nvidia.com/gpu.shared")))
        assert len(shares) == 8
        (gpu,) = gpus([T4])
        assert kubelet.allocate("nvidia.com/gpu.shared", shares[0]) == {"NVIDIA_VISIBLE_DEVICES": gpu.uuid}
        with pytest.raises(grpc.RpcError, match="maximum request size for shared resources is 1; found 2"):
            kubelet.allocate("nvidia.com/gpu.shared", *shares[:2])


@pytest.mark.parametrize(("strategy", "names"), [("single", {"gpu"}), ("mixed", {"mig-1g.10gb", "mig-3g.40gb"})])
def test_partitions_are_offered_as_the_strategy_names_them(programs: Programs, strategy: str, names: set[str]) -> None:
    layout = {"1g.10gb": 7} if strategy == "single" else {"1g.10gb": 3, "3g.40gb": 1}
    card = CARDS["A100"].partitioned(layout)
    with plugin(programs, [card], f"version: v1\nflags: {{migStrategy: {strategy}}}\n") as kubelet:
        found = {kubelet.resource() for _ in names}
        assert found == {f"nvidia.com/{name}" for name in names}
        (gpu,) = gpus([card])
        devices = {device for name in found for device in next(kubelet.watch(name))}
        assert devices == {one.uuid for one in gpu.instances}


def test_a_sick_card_is_taken_back_and_a_faulty_program_is_not_a_sick_card(programs: Programs) -> None:
    with plugin(programs, [T4], config()) as kubelet:
        health = kubelet.watch(kubelet.resource())
        assert set(next(health).values()) == {"Healthy"}
        kubelet.report_error(31)  # a page fault of a program
        kubelet.report_error(79)  # fallen off the bus
        assert set(next(health).values()) == {"Unhealthy"}


def test_of_a_sick_card_that_is_shared_one_share_is_taken_back(programs: Programs) -> None:
    """NVIDIA/k8s-device-plugin issue 1929, which its pull request 1930 mends after v0.19.3: then all eight go."""
    with plugin(programs, [T4], config(sharing="time-slicing", replicas=8)) as kubelet:
        health = kubelet.watch(kubelet.resource())
        next(health)
        kubelet.report_error(79)
        assert sorted(next(health).values()) == ["Healthy"] * 7 + ["Unhealthy"]
