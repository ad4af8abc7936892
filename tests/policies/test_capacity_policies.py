"""Capacity policies close to their edge: how nodes are bought and replaced, limits, quotas and cost."""

from __future__ import annotations

import pytest

from policies.reading.quantities import quantity
from tests.policies.conftest import (
    UNKNOWN,
    examined,
    kubernetes,
    node_pool,
    resource,
    text,
)
from tests.policies.objects import FAMILY_OF_ONE, GPU, TAINT, refuses_the_first_only

PROFILE = {"slug": "x", "kubespawner_override": {"node_selector": {"gpulab.dev/pool": "gpu"}}}


def profiles(**override):
    own = {**PROFILE["kubespawner_override"], **override}
    listed = [{**PROFILE, "kubespawner_override": own}]
    return kubernetes(
        "ConfigMap", metadata={"labels": {"gpulab.dev/profiles": "team"}, "name": "profiles"}, data={"x": text(listed)}
    )


def quota(name="team", **hard):
    return kubernetes(
        "ResourceQuota",
        {"hard": {key.replace("__", "."): value for key, value in hard.items()}},
        metadata={"name": name, "namespace": name},
    )


REFUSED_AND_ACCEPTED = {
    "requirements that leave one type": (
        "gpu-pool-types",
        node_pool(requirements=FAMILY_OF_ONE),
        node_pool(requirements=[{**FAMILY_OF_ONE[0], "values": ["p4d", "p4de"]}]),
    ),
    "a limit in CPUs is no limit of GPUs": (
        "gpu-pool-gpu-limit",
        node_pool(spec_={"limits": {"cpu": "128"}}),
        node_pool(spec_={"limits": {"nvidia.com/gpu.shared": "8"}}),
    ),
    "a quota of requests is counted": (
        "quota-of-extended-limits",
        kubernetes("ResourceQuota", {"hard": {"limits.nvidia.com/mig-1g.5gb": "1"}}),
        kubernetes("ResourceQuota", {"hard": {"requests.nvidia.com/gpu": "1", "limits.cpu": "4"}}),
    ),
    "drift in a window": (
        "notebook-pool-drift-budget",
        node_pool(taints=[TAINT], spec_={"disruption": {"budgets": [{"nodes": "0", "reasons": ["Empty"]}]}}),
        node_pool(taints=[TAINT], spec_={"disruption": {"budgets": [{"nodes": "0", "schedule": "@daily"}]}}),
    ),
    "an expiry that never comes": (
        "notebook-pool-expiry",
        node_pool(taints=[TAINT], expireAfter="72h"),
        node_pool(taints=[TAINT], expireAfter="Never"),
    ),
    "Karpenter's default consolidates": (
        "notebook-pool-consolidation",
        node_pool(taints=[TAINT]),
        node_pool(taints=[TAINT], spec_={"disruption": {"consolidationPolicy": "WhenEmpty"}}),
    ),
    "reserved capacity is of one type": (
        "gpu-pool-types",
        node_pool(
            requirements=[{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["p5.48xlarge"]}]
        ),
        node_pool(
            requirements=[
                {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["p5.48xlarge"]},
                {"key": "karpenter.sh/capacity-type", "operator": "In", "values": ["reserved"]},
            ]
        ),
    ),
}


@pytest.mark.parametrize("case", REFUSED_AND_ACCEPTED)
def test_one_is_refused_and_the_other_accepted(case):
    refuses_the_first_only(*REFUSED_AND_ACCEPTED[case])


def test_a_profile_is_held_against_its_teams_quota_and_no_others():
    asks = profiles(cpu_guarantee=8, mem_guarantee="16G")
    assert "profiles" in examined("profile-beyond-quota", asks, quota(requests__cpu="4"))
    assert "profiles" in examined("profile-beyond-quota", asks, quota(requests__memory="15Gi"))
    assert examined("profile-beyond-quota", asks, quota(requests__cpu="8", requests__memory="16Gi")) == {}
    assert examined("profile-beyond-quota", asks, quota("other", requests__cpu="4")) == {}


def test_a_profile_is_held_against_the_largest_machine_of_its_pool():
    pool = node_pool(taints=[TAINT])
    # g5.48xlarge has 192 vCPUs, 768 GiB and eight GPUs, of which nodes keep some memory.
    assert examined("profile-beyond-node", profiles(extra_resource_limits={GPU: 8}), pool) == {}
    assert examined("profile-beyond-node", profiles(extra_resource_limits={GPU: 9}), pool)
    assert examined("profile-beyond-node", profiles(mem_guarantee="768G"), pool)
    assert examined("profile-beyond-node", profiles(mem_guarantee="700G"), pool) == {}
    assert examined("profile-beyond-node", profiles(extra_resource_limits={"nvidia.com/gpu.shared": 1}), pool)
    # Four of them are on machines with fewer processors than the one that has as many.
    small = node_pool(
        requirements=[{"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g5.xlarge"]}]
    )
    assert examined("profile-beyond-node", profiles(cpu_guarantee=5), small)


def test_quotas_are_summed_over_teams_and_held_against_the_pools():
    pool = node_pool(spec_={"limits": {GPU: "8"}})
    teams = [
        kubernetes("Namespace", metadata={"name": name, "labels": {"gpulab.dev/team": name}}) for name in ("a", "b")
    ]
    quotas = [quota(name, **{f"requests__{GPU}": "5"}) for name in ("a", "b")]
    assert examined("quotas-beyond-pool-limits", pool, *teams, *quotas)[""]
    assert examined("quotas-beyond-pool-limits", pool, *teams, *quotas, overcommit=2) == {}
    assert examined("quotas-beyond-pool-limits", pool, *teams, quotas[0]) == {}
    # Nodes of GPUs have CPUs too: a limit of CPUs that one pool alone has is no limit of the stack.
    small = node_pool(spec_={"limits": {"cpu": "4"}})
    asked = [quota(name, requests__cpu="4") for name in ("a", "b")]
    assert examined("quotas-beyond-pool-limits", small, *teams, *asked)[""]
    assert examined("quotas-beyond-pool-limits", small, pool, *teams, *asked) == {}


def test_what_is_said_of_a_whole_stack_is_said_of_its_root():
    pool = node_pool(spec_={"limits": {GPU: "1"}})
    team = kubernetes("Namespace", metadata={"name": "a", "labels": {"gpulab.dev/team": "a"}})
    root = resource("pulumi:pulumi:Stack", {}, "gpulab-dev")
    found = examined("quotas-beyond-pool-limits", root, pool, team, quota("a", **{f"requests__{GPU}": "5"}))
    assert found.keys() == {"gpulab-dev"}


def test_a_quota_has_to_name_what_any_pool_advertises():
    overlay = kubernetes(
        "NodeOverlay",
        {
            "requirements": [{"key": "karpenter.sh/nodepool", "operator": "In", "values": ["gpu"]}],
            "capacity": {GPU: "0", "nvidia.com/gpu.shared": "4"},
        },
        api="karpenter.sh/v1alpha1",
    )
    pool = node_pool(spec_={"limits": {"nvidia.com/gpu.shared": "16"}})
    team = kubernetes("Namespace", metadata={"name": "team", "labels": {"gpulab.dev/team": "team"}})
    whole = quota(**{f"requests__{GPU}": "5"})
    said = examined("quota-misses-advertised-gpu", pool, overlay, team, whole)
    assert "nvidia.com/gpu.shared" in said["team"][0]
    named = quota(**{f"requests__{GPU}": "0", f"requests__{GPU}__shared": "4"})
    assert examined("quota-misses-advertised-gpu", pool, overlay, team, named) == {}


@pytest.mark.parametrize(
    ("given", "amount"),
    [("1.2.3", None), (".", None), ("", None), ("1.", 1), (".5", 0.5), ("2e3", 2000), ("16Gi", 2**34)],
)
def test_what_is_no_quantity_is_none(given, amount):
    assert quantity(given) == amount


def test_a_limit_that_is_no_quantity_limits_nothing():
    (said,) = examined("node-pool-limits", node_pool(spec_={"limits": {"cpu": "1.2.3"}}))["gpu"]
    assert "without a limit" in said


def test_what_a_stack_does_not_know_yet_keeps_nothing_else_from_being_examined():
    known, unknown = node_pool("known", taints=[TAINT]), node_pool("unknown", taints=UNKNOWN)
    said = examined("gpu-pool-gpu-limit", known, unknown)
    assert set(said) == {"known", "unknown"}


def test_a_lab_lives_through_its_last_day(monkeypatch):
    monkeypatch.setenv("GPULAB_TODAY", "2027-06-30")
    for day, refused in (("2027-06-30", False), ("2027-06-29", True), ("soon", True)):
        tags = text({"tags": {"Lifecycle": "lab", "Expires": day}})
        assert bool(examined("lab-expiry", resource("pulumi:providers:aws", {"defaultTags": tags}))) is refused
    assert examined("lab-expiry", resource("pulumi:providers:aws", {"defaultTags": text({"tags": {}})})) == {}
