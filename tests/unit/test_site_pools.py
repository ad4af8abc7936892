"""Fixed pools in the stack file: which go together, and what their GPUs can be asked for."""

from __future__ import annotations

from typing import Any

import pytest
from site_lab import POOLS, PROFILES, TEAM, load, mistakes

SHARED = {"sharing": "time-slicing", "replicas": 8}
OWN: dict[str, Any] = {"selector": {"role": "gpu"}, "gpus": {"count": 1}}


@pytest.mark.parametrize(
    ("gpu", "key", "words"),
    [
        ({"driver": True}, "gpu.driver", "plugin operator"),
        ({"plugin": "present", "toolkit": True}, "gpu.toolkit", "plugin operator"),
        ({"plugin": "operator", "driver": True}, "gpu.toolkit", "true"),
        ({"plugin": "present", "devicePlugin": {"failOnInitError": False}}, "gpu.devicePlugin", "present"),
        ({"plugin": "present", "featureDiscovery": {"sleepInterval": "30s"}}, "gpu.featureDiscovery", "present"),
        (
            {"plugin": "operator", "devicePlugin": {"deviceListStrategy": "cdi-cri"}},
            "gpu.devicePlugin.deviceListStrategy",
            "plugin device-plugin",
        ),
        ({"plugin": "nvidia"}, "gpu.plugin", "operator"),
    ],
)
def test_a_key_of_another_plugin_is_refused_in_words(gpu: dict[str, Any], key: str, words: str) -> None:
    found = mistakes(gpu=gpu)
    assert list(found) == [key]
    assert words in found[key]


def test_the_operator_installs_nothing_on_talos() -> None:
    found = mistakes(
        gpu={"plugin": "operator", "toolkit": True},
        ground={"kind": "existing", "context": "lab", "distribution": "talos"},
    )
    assert "system extensions" in found["gpu.toolkit"]


def test_a_node_has_one_pool_and_a_machine_may_have_another_for_cpu() -> None:
    both = {"gpu": {**OWN, "selector": {}, "nodes": ["tower"]}, "cpu": {"nodes": ["tower"]}}
    found = mistakes(both, profiles=None, teams=None)
    assert "kubernetes.io/hostname: tower" in found["nodePools.cpu.nodes[0]"]
    both["cpu"] = {"selector": {"kubernetes.io/hostname": "tower"}}
    load(both, profiles=None, teams=None)


def test_pools_by_labels_share_in_one_way_unless_their_nodes_are_told_apart() -> None:
    other = {"selector": {"role": "other"}, "gpus": {"count": 1}}
    found = mistakes({"a": OWN, "b": {**other, "gpu": SHARED}}, profiles=None, teams=None)
    assert "nvidia.com/device-plugin.config=b" in found["nodePools.b.gpu"]
    labelled = {**other["selector"], "nvidia.com/device-plugin.config": "b"}
    for accepted in (
        {**other, "gpu": {}},
        {**other, "selector": {}, "nodes": ["tower"], "gpu": SHARED},
        {**other, "selector": labelled, "gpu": SHARED},
    ):
        load({"a": OWN, "b": accepted}, profiles=None, teams=None)
    # A plugin of somebody else's is configured by whoever runs it.
    load({"a": OWN, "b": {**other, "gpu": SHARED}}, profiles=None, teams=None, gpu={"plugin": "present"})


MIG = {"sharing": "mig", "profile": "1g.10gb"}


def test_slices_of_gpus_that_differ_need_the_product() -> None:
    """1g.10gb fits four times on an A100 of 40 GB, and seven times on one of 80 GB."""
    pool = {"selector": {"role": "gpu"}, "gpus": {"count": 2}, "gpu": MIG}
    operator = {"gpu": {"plugin": "operator"}, "profiles": None, "teams": None}
    assert "NVIDIA-A100-SXM4-80GB" in mistakes({"a": pool}, **operator)["nodePools.a.gpus.product"]
    for product, memory, slices in (
        ("NVIDIA-A100-SXM4-40GB", None, 4),
        ("NVIDIA-A100-SXM4-80GB", None, 7),
        ("NVIDIA-A100-PCIE", 40, 4),
        ("NVIDIA-H100-PCIe", None, 7),
    ):
        gpus = {"count": 2, "product": product, "memory": memory}
        found = load({"a": {**pool, "nodes": ["tower"], "selector": {}, "gpus": gpus}}, **operator).node_pools["a"]
        assert found.mig_slices == {"1g.10gb": slices}, product
        assert found.together == {"nvidia.com/mig-1g.10gb": str(2 * slices)}


def test_slices_that_the_gpus_do_not_have_are_refused() -> None:
    pool = {**OWN, "gpus": {"count": 1, "product": "NVIDIA-A100-SXM4-40GB"}}
    none = {"profiles": None, "teams": None}
    assert (
        "1g.5gb"
        in mistakes({"a": {**pool, "gpu": {"sharing": "mig", "profile": "1g.18gb"}}}, **none)["nodePools.a.gpu.profile"]
    )
    layout = {"sharing": "mig", "layout": {"3g.20gb": 3}}
    assert "fit" in mistakes({"a": {**pool, "gpu": layout}}, **none)["nodePools.a.gpu.layout"]


def test_slices_that_nothing_makes_deserve_a_look() -> None:
    pool = {**OWN, "gpu": MIG}
    said = [str(one) for one in load({"a": pool}, profiles=None, teams=None).warnings]
    assert any("nodePools.a.gpu.sharing" in one and "plugin: operator" in one for one in said)
    assert not [
        one
        for one in load({"a": pool}, profiles=None, teams=None, gpu={"plugin": "present"}).warnings
        if "mig" in str(one)
    ]


@pytest.mark.parametrize(
    ("gpu", "key"),
    [
        ({"pool": "cpu"}, "gpu.pool"),
        ({"pool": "gpu", "count": 3}, "gpu.count"),
        ({"pool": "shared"}, "gpu.count"),
        ({"pool": "gpu", "slice": "shared"}, "gpu.slice"),
        ({"pool": "gpu", "model": "NVIDIA-L4"}, "gpu.model"),
        ({"pool": "gpu", "minMemory": 80}, "gpu.minMemory"),
    ],
)
def test_a_profile_for_gpus_that_are_not_declared_is_refused(gpu: dict[str, Any], key: str) -> None:
    declared = {"count": 2, "product": "NVIDIA-L40S", "memory": 48}
    found = mistakes(
        {**POOLS, "gpu": {**POOLS["gpu"], "gpus": declared}},
        profiles={**PROFILES, "pytorch": {**PROFILES["pytorch"], "gpu": gpu}},
    )
    assert f"profiles.pytorch.{key}" in found


def test_capacity_types_are_for_machines_that_are_bought() -> None:
    found = mistakes(profiles={**PROFILES, "python": {**PROFILES["python"], "capacityType": "on-demand"}})
    assert "kind eks" in found["profiles.python.capacityType"]


def test_a_model_is_whatever_the_site_bought() -> None:
    load(profiles={**PROFILES, "pytorch": {**PROFILES["pytorch"], "gpu": {"pool": "gpu", "model": "NVIDIA-RTX-4090"}}})


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"nodePools": ["gpus"]}, "nodePools[0]"),
        ({"nodePools": ["cpu"]}, "profiles[1]"),
        ({"quota": {**TEAM["quota"], "slices": 9}}, "quota.slices"),
        ({"quota": {**TEAM["quota"], "mig": {"1g.5gb": 1}}}, 'quota.mig["1g.5gb"]'),
        ({"quota": {**TEAM["quota"], "gpus": 0}}, "profiles[1]"),
    ],
)
def test_a_team_gets_what_the_pools_have(change: dict[str, Any], key: str) -> None:
    assert f"teams.research.{key}" in mistakes(teams={"research": {**TEAM, **change}})


def test_gpus_that_nobody_counted_are_not_held_against_quotas() -> None:
    """Of pool gpu it is known how many a node has, and not how many nodes there are."""
    quota = {**TEAM["quota"], "gpus": 64}
    whole = {**TEAM, "quota": {**quota, "slices": 0}, "profiles": ["pytorch"]}
    load(teams={"research": {**TEAM, "quota": quota}, "vision": whole})


def test_shares_of_two_teams_are_held_against_the_card() -> None:
    found = mistakes(teams={"research": TEAM, "vision": TEAM})
    assert "8 nvidia.com/gpu.shared" in found["teams.research.quota.slices"]
    assert "limits" not in found["teams.research.quota.slices"]
