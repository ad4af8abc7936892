"""How GPUs are shared: all consumers of the definition agree."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from gpu_pools import BOTTLEROCKET, P4D, cpu_pool, gpu_pool
from hypothesis import given
from hypothesis import strategies as st

import contracts
from components.ground.system_nodes import SYSTEM_NODES
from components.nodes.gpu import gpu_operator_values
from components.nodes.gpu_sharing import DEVICE_PLUGIN_CONFIG_LABEL, node_labels, node_overlays, tolerations
from components.nodes.node_pools import ec2_node_class_spec, node_pool_spec
from rehearsal.checks import overlays as by_overlays
from rehearsal.controllers.deployed import DeployedRelease
from rehearsal.controllers.device_plugins import gpu_resources
from settings import NodePool
from settings.pools.gpu_fitting import fits, placements
from settings.pools.gpu_shares import resources, shares

SHARINGS: dict[str, dict[str, Any]] = {
    "whole": {},
    "time-slicing": {"gpu": {"sharing": "time-slicing", "replicas": 4}},
    "mps": {"gpu": {"sharing": "mps", "replicas": 3}},
    "profile": {**P4D, "gpu": {"sharing": "mig", "profile": "2g.10gb"}},
    "single": {**P4D, "gpu": {"sharing": "mig", "profile": "1g.5gb", "strategy": "single"}},
    "layout": {**P4D, "gpu": {"sharing": "mig", "layout": {"3g.20gb": 1, "2g.10gb": 1, "1g.5gb": 2}}},
    "bottlerocket": {"ami": BOTTLEROCKET},
    "bottlerocket-time-slicing": {"ami": BOTTLEROCKET, "gpu": {"sharing": "time-slicing", "replicas": 5}},
    "bottlerocket-mps": {"ami": BOTTLEROCKET, "gpu": {"sharing": "mps", "replicas": 2}},
    "bottlerocket-mig": {**P4D, "ami": BOTTLEROCKET, "gpu": {"sharing": "mig", "profile": "1g.5gb"}},
}


def node_class(pool: NodePool) -> dict[str, Any]:
    return {"spec": ec2_node_class_spec(pool, cluster_name="lab", node_role_name="node", tags={})}


@pytest.mark.parametrize("kind", SHARINGS)
def test_karpenter_expects_of_each_machine_what_its_device_plugin_reports(kind: str) -> None:
    """The NodeOverlay on one side; the label, the operator's configuration or user data on the other."""
    pool = gpu_pool(**SHARINGS[kind])
    operator = DeployedRelease("gpu-operator", gpu_operator_values({"pool": pool, "other": gpu_pool()}, SYSTEM_NODES))
    overlays = [{"spec": spec} for spec in node_overlays("pool", pool).values()]
    for one in pool.instance_types:
        labels = {
            **by_overlays.labels(one),
            **node_pool_spec("pool", pool)["template"]["metadata"]["labels"],
            "node.kubernetes.io/instance-type": one.name,
            "karpenter.sh/nodepool": "pool",
        }
        expected = by_overlays.expected_gpus(one, labels, overlays)
        user_data = node_class(pool)["spec"].get("userData", "")
        assert gpu_resources(labels, one, pool.ami.alias, user_data, operator) == expected
        assert expected, one.name


@pytest.mark.parametrize("kind", SHARINGS)
def test_limit_is_in_what_pods_ask_for(kind: str) -> None:
    pool = gpu_pool(**SHARINGS[kind])
    assert pool.together == {name: str(count * 8) for name, count in shares(pool).items()}


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("whole", ["nvidia.com/gpu"]),
        ("time-slicing", ["nvidia.com/gpu.shared"]),
        ("mps", ["nvidia.com/gpu.shared"]),
        ("profile", ["nvidia.com/mig-2g.10gb"]),
        ("layout", ["nvidia.com/mig-1g.5gb", "nvidia.com/mig-2g.10gb", "nvidia.com/mig-3g.20gb"]),
        ("single", ["nvidia.com/gpu"]),
        ("bottlerocket-mig", ["nvidia.com/gpu"]),
    ],
)
def test_names_that_quotas_count(kind: str, names: list[str]) -> None:
    assert resources({"pool": gpu_pool(**SHARINGS[kind]), "cpu": cpu_pool()}) == names


def test_shares_are_never_called_as_whole_gpus_are() -> None:
    """Otherwise a pod that requests a GPU could get a share of one."""
    for kind in ("time-slicing", "mps", "profile", "layout"):
        assert "nvidia.com/gpu" not in shares(gpu_pool(**SHARINGS[kind]))


def test_pod_cannot_have_two_shares() -> None:
    for kind in ("time-slicing", "mps"):
        values = gpu_operator_values({"pool": gpu_pool(**SHARINGS[kind])}, SYSTEM_NODES)
        config = yaml.safe_load(values["devicePlugin"]["config"]["data"]["pool"])
        (shared,) = config["sharing"].values()
        assert shared["failRequestsGreaterThanOne"] is True
        assert shared["renameByDefault"] is True


def test_pools_share_in_their_own_ways_in_one_cluster() -> None:
    pools = {kind: gpu_pool(**SHARINGS[kind]) for kind in ("whole", "time-slicing", "mps", "profile", "layout")}
    config = gpu_operator_values(pools, SYSTEM_NODES)["devicePlugin"]["config"]
    for name, pool in pools.items():
        assert node_labels(name, pool)[DEVICE_PLUGIN_CONFIG_LABEL] in config["data"]
    assert config["default"] in config["data"]
    assert config["default"] not in pools, "a node without the label has whole GPUs"


def test_changed_sharing_reaches_nodes_that_run() -> None:
    """The operator restarts the plugin for another ConfigMap, but not when the ConfigMap's content changes."""
    names = {
        gpu_operator_values({"pool": gpu_pool(gpu={"sharing": "mps", "replicas": count})}, SYSTEM_NODES)[
            "devicePlugin"
        ]["config"]["name"]
        for count in (2, 2, 3)
    }
    assert len(names) == 2


def test_operator_stays_off_bottlerocket_which_has_a_plugin_of_its_own() -> None:
    pool = gpu_pool(**SHARINGS["bottlerocket-time-slicing"])
    assert node_labels("pool", pool) == {"nvidia.com/gpu.deploy.operands": "false"}
    assert "pool" not in gpu_operator_values({"pool": pool}, SYSTEM_NODES)["devicePlugin"]["config"]["data"]


def test_cpu_pools_have_none_of_it() -> None:
    assert node_labels("cpu", cpu_pool()) == {}
    assert node_overlays("cpu", cpu_pool()) == {}
    assert resources({"cpu": cpu_pool()}) == []


def test_whatever_runs_on_all_nodes_tolerates_taints_at_the_start_too() -> None:
    pool = gpu_pool(
        taints=[{"key": "example.com/team", "value": "ml", "effect": "NoExecute"}],
        startupTaints=[{"key": "example.com/not-ready", "effect": "NoSchedule"}],
    )
    assert {(one["key"], one["operator"]) for one in tolerations({"pool": pool})} == {
        ("nvidia.com/gpu", "Equal"),
        ("example.com/team", "Equal"),
        ("example.com/not-ready", "Exists"),
    }


MIG_TYPES = [one for one in contracts.instance_types().values() if contracts.mig_gpu(one)]


def test_types_that_can_be_partitioned_are_those_that_ec2_says() -> None:
    assert {one.name for one in MIG_TYPES} == {one.name for one in contracts.instance_types().values() if one.mig}


@given(st.sampled_from(MIG_TYPES), st.data())
def test_layout_that_fits_takes_no_more_than_the_gpu_has(one: contracts.InstanceType, data: st.DataObject) -> None:
    gpu = contracts.mig_gpu(one)
    assert gpu
    layout = data.draw(
        st.dictionaries(st.sampled_from(sorted(gpu.profiles)), st.integers(1, 7), min_size=1, max_size=3)
    )
    slices = max(start + profile.size for profile in gpu.profiles.values() for start in profile.starts)
    taken = sum(gpu.profiles[name].size * count for name, count in layout.items())
    if fits(layout, gpu):
        assert taken <= slices
        assert all(count <= len(gpu.profiles[name].starts) for name, count in layout.items())
    if (found := placements(layout, gpu)) is not None:
        places = [place for name, start in found for place in range(start, start + gpu.profiles[name].size)]
        assert len(set(places)) == len(places), "no two slices at one place"
        assert all(start in gpu.profiles[name].starts for name, start in found)
    if len(layout) == 1:
        ((name, count),) = layout.items()
        assert fits(layout, gpu) == (count <= len(gpu.profiles[name].starts))


def test_two_halves_leave_no_room_although_a_compute_slice_is_left() -> None:
    """NVIDIA MIG User Guide: 3g takes half of the memory."""
    gpu = contracts.mig_gpu(contracts.instance_types()["p4d.24xlarge"])
    assert gpu
    assert fits({"3g.20gb": 2}, gpu)
    assert not fits({"3g.20gb": 2, "1g.5gb": 1}, gpu)
    assert fits({"4g.20gb": 1, "2g.10gb": 1, "1g.5gb": 1}, gpu)
