"""Pods of teams on fixed pools: pinned by the labels that nodes have, and off GPUs that no taint guards."""

from __future__ import annotations

from typing import Any

from gpu_pools import cpu_pool, gpu_pool
from site_lab import POOLS, load

from components.hub.inside.catalogue import node_terms
from components.teams.admission import pod_policy

GUARDED = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def policy(pools: dict[str, Any]) -> dict[str, Any]:
    return dict(pod_policy(load(pools, profiles=None, teams=None).node_pools))


def said(found: dict[str, Any]) -> str:
    return " ".join(one.get("message", one.get("messageExpression")) for one in found["validations"])


def test_pools_whose_nodes_have_the_platforms_label_have_one_policy_on_every_ground() -> None:
    named = {"gpu": {"nodes": ["tower"], "gpus": {"count": 1}, "taints": [GUARDED]}, "cpu": {"nodes": ["plain"]}}
    assert policy(named) == pod_policy({"cpu": cpu_pool(), "gpu": gpu_pool()})


def test_the_refusal_names_the_labels_that_pin_a_pod() -> None:
    assert "role=gpu" in said(policy(POOLS))
    assert "gpulab.dev/pool" in said(policy(POOLS))
    assert "gpulab.dev/pool" not in said(policy({"gpu": POOLS["gpu"]}))


def test_gpus_without_the_taint_are_guarded_by_the_variable() -> None:
    """Any pod may run beside them, so it must hide them even if it tolerates nothing."""
    guarded = {"gpu": {**POOLS["gpu"], "taints": [GUARDED]}}
    assert "tolerates nvidia.com/gpu" in said(policy(guarded))
    soft = {"gpu": {**POOLS["gpu"], "taints": [{**GUARDED, "effect": "PreferNoSchedule"}]}}
    for pools in ({"gpu": POOLS["gpu"]}, soft):
        found = policy(pools)
        assert "may run on a node with GPUs" in said(found)
        assert "tolerates nvidia.com/gpu" not in said(found)
        reaches = next(one for one in found["variables"] if one["name"] == "reachesGpus")
        assert "toleration" not in reaches["expression"]


def test_terms_are_alternatives_of_pools() -> None:
    terms = node_terms([{"gpulab.dev/pool": "a"}, {"role": "gpu", "zone": "x"}, {"gpulab.dev/pool": "b"}])
    keys = [[(one["key"], one["values"]) for one in term] for term in terms]
    assert keys == [[("gpulab.dev/pool", ["a", "b"])], [("role", ["gpu"]), ("zone", ["x"])]]
    # Without a pool there is no node, and not every node.
    assert node_terms([]) == [[{"key": "gpulab.dev/pool", "operator": "In", "values": []}]]
