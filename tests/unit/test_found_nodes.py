"""What nodes say of fixed pools: in resources what stays, in findings what is wrong."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from gpu_pools import cpu_pool, gpu_pool
from site_lab import NODES, POOLS, PROFILES, TEAM, load, mistakes, node

from components.hub.catalogue_from_settings import catalogue
from components.teams.quota import resource_quota
from settings.found_findings import pool_findings
from settings.pools.found_nodes import FoundNode, nodes_of, with_found
from settings.pools.gpu_shares import offered

DISCOVERED = {"gpu_count": "2", "gpu_product": "NVIDIA-L40S", "gpu_memory": "46068"}


def found(settings: Any, *nodes: FoundNode) -> tuple[dict[str, str], dict[str, str]]:
    """Errors and warnings by key, without `gpulab:`."""
    errors, warnings = pool_findings(settings, nodes)
    return tuple({one.key.removeprefix("gpulab:"): one.message for one in some} for some in (errors, warnings))  # type: ignore[return-value]


def test_nodes_that_are_as_the_stack_file_says_are_fine() -> None:
    assert found(load(), *NODES) == ({}, {})


def test_the_catalogue_knows_what_nodes_have_for_pods() -> None:
    pools = catalogue(with_found(load(), NODES))["pools"]
    assert pools["cpu"]["largest"] == pools["cpu"]["limits"] == {"cpu": "32", "memory": "64Gi"}
    assert pools["shared"]["limits"] == {"cpu": "7.8", "memory": "31Gi", "nvidia.com/gpu.shared": "8"}
    more = (*NODES, node("small", role="gpu", cpu="4", memory="16Gi"))
    gpu = catalogue(with_found(load(), more))["pools"]["gpu"]
    assert gpu["limits"] == {"cpu": "20", "memory": "80Gi", "nvidia.com/gpu": "4"}
    assert gpu["largest"] == {"cpu": "16", "memory": "64Gi", "nvidia.com/gpu": "2"}


@pytest.mark.parametrize("gpus", [{}, {"count": 2}])
def test_what_the_stacks_own_plugin_writes_on_nodes_changes_no_resource(gpus: dict[str, int]) -> None:
    """Else the second preview would show a change: the labels appear after the first `up`."""
    settings = load({**POOLS, "gpu": {**POOLS["gpu"], "gpus": gpus}})
    first = catalogue(with_found(settings, NODES))
    labelled = [node("big", role="gpu", gpus="2", **DISCOVERED), *NODES[1:]]
    assert catalogue(with_found(settings, labelled)) == first


def test_nodes_that_discovery_must_find_first_change_no_resource() -> None:
    pools = {**POOLS, "gpu": {"selector": {"nvidia.com/gpu.present": "true"}, "gpus": {"count": 2}}}
    settings = load(pools)
    labelled = [node("big", gpu_present="true", **DISCOVERED), *NODES[1:]]
    assert catalogue(with_found(settings, NODES)) == catalogue(with_found(settings, labelled))


def test_a_plugin_that_was_there_before_has_labelled_the_nodes() -> None:
    settings = load({**POOLS, "gpu": {**POOLS["gpu"], "gpus": {}}}, gpu={"plugin": "present"})
    labelled = [node("big", role="gpu", gpus="2", **DISCOVERED), *NODES[1:]]
    assert catalogue(with_found(settings, labelled))["pools"]["gpu"]["limits"]["nvidia.com/gpu"] == "2"


def test_slices_that_were_there_before_are_counted_once() -> None:
    """Where all GPUs are cut into the same slices, feature discovery counts slices."""
    cut = {"sharing": "mig", "profile": "1g.10gb", "strategy": "single"}
    gpus = {"product": "NVIDIA-A100-SXM4-80GB"}
    profiles = {**PROFILES, "pytorch": {**PROFILES["pytorch"], "gpu": {"pool": "gpu", "slice": "1g.10gb"}}}
    others: dict[str, Any] = {"profiles": profiles, "gpu": {"plugin": "present"}}
    settings = load({**POOLS, "gpu": {**POOLS["gpu"], "gpus": gpus, "gpu": cut}}, **others)
    labels = {"gpu_count": "7", "gpu_product": "NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", "gpu_memory": "9728"}
    nodes = [node("big", role="gpu", gpus="7", **labels), *NODES[1:]]
    assert catalogue(with_found(settings, nodes))["pools"]["gpu"]["limits"]["nvidia.com/gpu"] == "7"
    declared = {**POOLS, "gpu": {**POOLS["gpu"], "gpus": {**gpus, "count": 1}, "gpu": cut}}
    # Without the product nobody knows how many slices such a GPU has: four or seven.
    unknown = {**POOLS, "gpu": {**POOLS["gpu"], "gpus": {"count": 2}, "gpu": cut}}
    for pools, slices in ((declared, "7"), (declared, "6"), (unknown, "14")):
        some = [node("big", role="gpu", gpus=slices, **{**labels, "gpu_count": slices}), *NODES[1:]]
        errors, warnings = found(load(pools, **others), *some)
        assert "nodePools.gpu.gpus.count" not in {**errors, **warnings}


def test_notebooks_get_to_nodes_by_the_labels_that_these_have() -> None:
    document = catalogue(load())
    pools = document["pools"]
    assert pools["gpu"]["nodeSelector"] == {"role": "gpu"}
    assert "nodeSelector" not in pools["shared"]
    assert {name: pool.get("runtimeClass") for name, pool in pools.items()} == {
        "cpu": None,
        "gpu": "nvidia",
        "shared": "nvidia",
    }


def test_a_choice_of_gpu_asks_for_a_label_where_nothing_is_declared() -> None:
    profiles = {**PROFILES, "pytorch": {**PROFILES["pytorch"], "gpu": {"pool": "gpu", "model": "NVIDIA-L40S"}}}
    affinity = catalogue(load(profiles=profiles))["profiles"]["pytorch"]["gpu"]["affinity"]
    assert affinity == [{"key": "nvidia.com/gpu.product", "operator": "In", "values": ["NVIDIA-L40S"]}]
    pools = {**POOLS, "gpu": {**POOLS["gpu"], "gpus": {"count": 2, "product": "NVIDIA-L40S"}}}
    assert catalogue(load(pools, profiles=profiles))["profiles"]["pytorch"]["gpu"]["affinity"] == []


CONTROL = "node-role.kubernetes.io/control-plane:NoSchedule"


def test_tainted_nodes_of_the_control_plane_belong_to_a_pool_that_says_so() -> None:
    pool = load().node_pools["gpu"]
    nodes = [node("server", CONTROL, role="gpu"), node("k3s-server", role="gpu")]
    assert [one.name for one in nodes_of(pool, nodes)] == ["k3s-server"]
    including = pool.model_copy(update={"include_control_plane": True})
    assert [one.name for one in nodes_of(including, nodes)] == ["server", "k3s-server"]
    settings = load({**POOLS, "gpu": {**POOLS["gpu"], "includeControlPlane": True}})
    assert found(settings, nodes[0], *NODES[1:]) == ({}, {})
    assert catalogue(settings)["pools"]["gpu"]["tolerations"][0]["key"] == CONTROL.partition(":")[0]


def test_two_pools_with_gpus_share_no_node_and_a_cpu_pool_may() -> None:
    other = {"selector": {"zone": "a"}, "gpus": {"count": 2}}
    big = node("big", role="gpu", zone="a")
    errors, _ = found(load({**POOLS, "other": other}), big, *NODES[1:])
    assert "big" in errors["nodePools.other.selector"]
    assert "pool gpu" in errors["nodePools.other.selector"]
    errors, _ = found(load({**POOLS, "cpu": {"selector": {"zone": "a"}}}), big, *NODES[1:])
    assert errors == {}


@pytest.mark.parametrize("taint", ["gpu=true:NoSchedule", "dedicated:NoExecute"])
def test_a_taint_that_the_pool_does_not_know_keeps_notebooks_off(taint: str) -> None:
    errors, _ = found(load(), node("big", taint, role="gpu"), *NODES[1:])
    assert list(errors) == ["nodePools.gpu.taints"]
    assert taint in errors["nodePools.gpu.taints"]
    assert "big" in errors["nodePools.gpu.taints"]
    key, _, effect = taint.rpartition(":")
    known = {"key": key.partition("=")[0], "effect": effect}
    settings = load({**POOLS, "gpu": {**POOLS["gpu"], "taints": [known]}})
    assert "nodePools.gpu.taints" not in found(settings, node("big", taint, role="gpu"), *NODES[1:])[0]


def test_taints_that_pass_or_keep_nobody_off_are_fine() -> None:
    passing = ("node.kubernetes.io/not-ready:NoExecute", "busy:PreferNoSchedule")
    assert found(load(), node("big", *passing, role="gpu"), *NODES[1:]) == ({}, {})


def test_a_taint_that_no_node_has_deserves_a_look_unless_the_stack_sets_it() -> None:
    taints = [{"key": "gpu", "value": "true", "effect": "NoSchedule"}]
    pools = {name: {**pool, "taints": taints} for name, pool in POOLS.items() if name != "cpu"}
    errors, warnings = found(load({**POOLS, **pools}), *NODES)
    assert errors == {}
    assert list(warnings) == ["nodePools.gpu.taints"]


TAINTED = {"taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}]}


def test_a_taint_that_another_pool_will_set_counts_before_the_node_has_it() -> None:
    """Both pools are on one machine. The first preview says what the second would."""
    pools = {**POOLS, "cpu": {"selector": {"role": "both"}}, "shared": {**POOLS["shared"], **TAINTED}}
    free = node("plain")
    before = found(load(pools), NODES[0], node("tower", role="both"), free)
    after = found(load(pools), NODES[0], node("tower", "nvidia.com/gpu=true:NoSchedule", role="both"), free)
    assert before == after
    errors, _ = before
    assert list(errors) == ["nodePools.cpu.taints"]
    assert errors["nodePools.cpu.taints"] == (
        "lacks nvidia.com/gpu=true:NoSchedule of node tower, which pool shared names, so no notebook would start "
        "there: add it to taints"
    )
    pools["cpu"] |= TAINTED
    assert found(load(pools), NODES[0], node("tower", role="both"), free) == ({}, {})


def test_a_taint_that_the_stack_itself_has_set_may_go() -> None:
    note = {"stack": "lab", "labels": {}, "taints": TAINTED["taints"]}
    tainted = dataclasses.replace(
        node("tower", "nvidia.com/gpu=true:NoSchedule"), annotations={"gpulab.dev/marks": json.dumps(note)}
    )
    assert found(load(), NODES[0], tainted, NODES[2]) == ({}, {})
    of_another = {"gpulab.dev/marks": json.dumps({**note, "stack": "other"})}
    errors, _ = found(load(), NODES[0], dataclasses.replace(tainted, annotations=of_another), NODES[2])
    assert list(errors) == ["nodePools.shared.taints"]


def test_some_node_is_left_for_the_hub() -> None:
    tainted = {"taints": [{"key": "gpu", "effect": "NoSchedule"}]}
    pools = {"shared": {**POOLS["shared"], **tainted}}
    lone = {
        "profiles": {"share": PROFILES["share"]},
        "teams": {"research": {**TEAM, "profiles": ["share"], "quota": {**TEAM["quota"], "gpus": 0}}},
    }
    errors, _ = found(load(pools, **lone), node("tower"))
    assert list(errors) == ["ground.systemNodes"]
    ground = {"kind": "existing", "context": "k3s", "distribution": "k3s", "systemNodes": tainted}
    assert found(load(pools, **lone, ground=ground), node("tower"))[0] == {}


@pytest.mark.parametrize(
    ("profile", "change", "key", "most"),
    [
        ("pytorch", {"cpu": 17}, "cpu", "16 vCPU"),
        ("share", {"memory": 32}, "memory", "31 GiB"),
        ("python", {"cpu": 40}, "cpu", "32 vCPU"),
        ("pytorch", {"gpu": {"pool": "gpu", "count": 2}}, "gpu.count", "1 nvidia.com/gpu"),
        ("pytorch", {"gpu": {"pool": "gpu", "model": "NVIDIA-L4"}}, "gpu.model", "NVIDIA-L40S"),
        ("pytorch", {"gpu": {"pool": "gpu", "minMemory": 46}}, "gpu.minMemory", "45.0 GiB"),
    ],
)
def test_a_profile_that_fits_on_no_node_is_refused(profile: str, change: dict[str, Any], key: str, most: str) -> None:
    pools = {**POOLS, "gpu": {**POOLS["gpu"], "gpus": {}}}
    quota = {**TEAM["quota"], "cpu": 64}
    settings = load(
        pools,
        profiles={**PROFILES, profile: {**PROFILES[profile], **change}},
        teams={"research": {**TEAM, "quota": quota}},
    )
    one = node("big", role="gpu", **{**DISCOVERED, "gpu_count": "1"})
    errors, _ = found(settings, one, *NODES[1:])
    assert list(errors) == [f"profiles.{profile}.{key}"]
    assert most in errors[f"profiles.{profile}.{key}"]
    another = node(
        "huge", role="gpu", cpu="64", memory="256Gi", gpu_count="8", gpu_product="NVIDIA-L4", gpu_memory="81920"
    )
    if profile == "pytorch":
        assert found(settings, one, another, *NODES[1:])[0] == {}


def test_gpus_that_nobody_knows_yet_are_no_error() -> None:
    errors, warnings = found(load({**POOLS, "gpu": {**POOLS["gpu"], "gpus": {}}}), *NODES)
    assert errors == {}
    assert list(warnings) == ["nodePools.gpu.gpus.count"]


@pytest.mark.parametrize(("there", "is_error"), [("1", True), ("4", False)])
def test_a_count_that_nodes_contradict(there: str, is_error: bool) -> None:
    errors, warnings = found(load(), node("big", role="gpu", gpu_count=there), *NODES[1:])
    assert ("nodePools.gpu.gpus.count" in errors) == is_error
    assert ("nodePools.gpu.gpus.count" in warnings) != is_error


def test_another_product_than_declared_is_refused() -> None:
    pools = {**POOLS, "gpu": {**POOLS["gpu"], "gpus": {"count": 2, "product": "NVIDIA-L4"}}}
    assert "nodePools.gpu.gpus.product" not in found(load(pools), *NODES)[0]
    errors, _ = found(load(pools), node("big", role="gpu", gpu_count="2", gpu_product="Tesla-T4"), *NODES[1:])
    assert "Tesla-T4" in errors["nodePools.gpu.gpus.product"]


def test_a_plugin_that_is_present_gives_what_the_pool_says() -> None:
    settings = load(gpu={"plugin": "present"})
    slices = FoundNode(name="tower", allocatable={**NODES[1].allocatable, "nvidia.com/gpu.shared": "8"})
    big = node("big", role="gpu", gpus="2")
    assert found(settings, big, slices, NODES[2]) == ({}, {})
    # Time-slicing without renameByDefault.
    errors, _ = found(settings, big, node("tower", gpus="8"), NODES[2])
    assert "nvidia.com/gpu 8" in errors["nodePools.shared.gpu.sharing"]
    assert "renameByDefault" in errors["nodePools.shared.gpu.sharing"]
    errors, _ = found(settings, NODES[0], slices, NODES[2])
    assert "no GPU" in errors["nodePools.gpu.gpus"]


def test_a_configuration_that_somebody_has_asked_for_by_label_is_refused() -> None:
    labels = {"nvidia.com/device-plugin.config": "theirs"}
    big = FoundNode(name="big", labels={"role": "gpu", **labels}, allocatable=NODES[0].allocatable)
    errors, _ = found(load(), big, *NODES[1:])
    assert "nvidia.com/device-plugin.config=theirs" in errors["nodePools.gpu.selector"]


def test_quotas_beyond_what_nodes_say_deserve_a_look() -> None:
    pools = {**POOLS, "gpu": {**POOLS["gpu"], "gpus": {}}}
    errors, warnings = found(load(pools), node("big", role="gpu", **{**DISCOVERED, "gpu_count": "1"}), *NODES[1:])
    assert errors == {}
    assert "nvidia.com/gpu" in warnings["teams.research.quota.gpus"] or "1" in warnings["teams.research.quota.gpus"]


def test_a_lone_machine_with_a_gpu_takes_notebooks_without_one() -> None:
    pools = {"shared": POOLS["shared"]}
    lone = {"teams": {"research": {**TEAM, "quota": {**TEAM["quota"], "gpus": 0}, "profiles": ["python", "share"]}}}
    profiles = {name: PROFILES[name] for name in ("python", "share")}
    document = catalogue(load(pools, **lone, profiles=profiles))
    assert document["pools"]["shared"]["forAll"]
    # Beside a pool without GPUs these stay free for who needs one.
    assert "forAll" not in catalogue(load())["pools"]["shared"]
    guarded = {"shared": {**POOLS["shared"], "taints": [{"key": "nvidia.com/gpu", "effect": "NoSchedule"}]}}
    assert "profiles.python" in mistakes(guarded, **lone, profiles=profiles)


def test_a_team_moves_to_another_ground_with_its_quota() -> None:
    """Eight shares of one card are counted by the same resource, whoever makes the nodes."""
    settings = with_found(load(), NODES)
    team = settings.teams["research"]
    bought = {"cpu": cpu_pool(), "gpu": gpu_pool(), "shared": gpu_pool(gpu={"sharing": "time-slicing", "replicas": 8})}
    here = resource_quota("research", team.quota, settings.storage, settings.node_pools)
    assert here == resource_quota("research", team.quota, settings.storage, bought)
    assert here["hard"]["requests.nvidia.com/gpu.shared"] == "8"
    assert offered(settings.node_pools) == {"nvidia.com/gpu": 2, "nvidia.com/gpu.shared": 8}
