"""NodePools, overlays and quotas that a policy cannot fully read are reported as not decided, never accepted."""

from __future__ import annotations

import pytest
import yaml

from policies.pack import POLICIES
from tests.policies.conftest import (
    HERE,
    examined,
    kubernetes,
    node_pool,
    resource,
    text,
)

CASES = HERE.parent / "cases"
GPU = "nvidia.com/gpu"
TAINT = {"key": GPU, "value": "true", "effect": "NoSchedule"}


def pool_of(manifest):
    return kubernetes("NodePool", manifest["spec"], api=manifest["apiVersion"], metadata=manifest["metadata"])


def findings(pool):
    return {policy.name: said for policy in POLICIES if (said := examined(policy, pool))}


def test_a_pool_of_eks_auto_mode_has_the_findings_of_the_same_pool_of_karpenter():
    written = (CASES / "nodepool-auto-mode.yaml").read_text(encoding="utf-8")
    auto_mode = findings(pool_of(yaml.safe_load(written)))
    karpenter = written.replace("eks.amazonaws.com/instance", "karpenter.k8s.aws/instance")
    own = karpenter.replace("eks.amazonaws.com, kind: NodeClass", "karpenter.k8s.aws, kind: EC2NodeClass")
    assert auto_mode == findings(pool_of(yaml.safe_load(own)))
    assert auto_mode.keys() >= {
        "gpu-pool-taint",
        "gpu-pool-gpu-limit",
        "notebooks-on-spot-alone",
        "notebook-pool-consolidation",
        "notebook-pool-drift-budget",
    }


def asks(key, *values, operator="In", **more):
    return node_pool(requirements=[{"key": key, "operator": operator, "values": list(values)}], **more)


# What is asked of instance types, and a part of what is then reported.
UNREAD = {
    "a requirement that the catalogue says nothing of": (
        asks("karpenter.k8s.aws/instance-hypervisor", "nitro"),
        "its requirement karpenter.k8s.aws/instance-hypervisor",
    ),
    "one of Auto Mode's": (
        asks("eks.amazonaws.com/instance-network-bandwidth", "1000", operator="Gt"),
        "its requirement eks.amazonaws.com/instance-network-bandwidth",
    ),
    "a family that the catalogue does not have": (asks("karpenter.k8s.aws/instance-family", "g99"), "g99"),
    "a type that it does not have": (asks("node.kubernetes.io/instance-type", "p99.48xlarge"), "p99.48xlarge"),
    "another cloud's node class": (
        asks("karpenter.azure.com/sku-gpu-count", "1", nodeClassRef={"group": "karpenter.azure.com"}),
        "karpenter.azure.com",
    ),
    "requirements that no type meets": (asks("karpenter.k8s.aws/instance-gpu-count", "99"), "no instance type"),
}  # fmt: skip


@pytest.mark.parametrize("case", UNREAD)
@pytest.mark.parametrize("policy", ["gpu-pool-taint", "gpu-pool-gpu-limit", "notebook-pool-consolidation"])
def test_a_requirement_that_is_not_understood_leaves_the_policy_not_decided(policy, case):
    pool, why = UNREAD[case]
    said = examined(policy, pool)
    assert said.keys() == {"unknown"}
    assert said["unknown"][0].startswith("not decided: ")
    assert why in said["unknown"][0]


def test_what_an_image_of_ones_own_makes_of_variables_is_not_decided_unless_user_data_say_it():
    pool = node_pool(nodeClassRef={"kind": "EC2NodeClass", "name": "nodes"})

    def said(**spec):
        given = {"amiSelectorTerms": [{"id": "ami-0123456789abcdef0"}], **spec}
        node_class = kubernetes("EC2NodeClass", given, api="karpenter.k8s.aws/v1", metadata={"name": "nodes"})
        return examined("gpu-node-visible-devices", pool, node_class)

    (why,) = said()["unknown"]
    assert "which GPUs containers get on nodes of the EC2NodeClass nodes" in why
    assert said(amiFamily="AL2023").keys() == {"gpu"}
    assert said(userData="accept-nvidia-visible-devices-envvar-when-unprivileged = false") == {}


def test_what_is_not_understood_does_not_matter_where_the_rest_decides():
    nitro = {"key": "karpenter.k8s.aws/instance-hypervisor", "operator": "In", "values": ["nitro"]}
    gpus = {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["g5"]}
    cpus = {**gpus, "values": ["m7i"]}
    assert examined("gpu-pool-taint", node_pool(requirements=[nitro, gpus])).keys() == {"gpu"}
    assert examined("gpu-pool-taint", node_pool(requirements=[nitro, cpus])) == {}
    by_limit = node_pool(requirements=[nitro], spec_={"limits": {GPU: "8"}})
    assert examined("gpu-pool-taint", by_limit).keys() == {"gpu"}


def test_what_a_pool_costs_is_not_decided_without_a_price():
    dear = asks("karpenter.k8s.aws/instance-family", "p5")
    assert "p5.48xlarge costs 55.04" in examined("instance-price", dear, usdAnHour=50)["gpu"][0]
    family = {"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["p5"]}
    speed = {"key": "karpenter.k8s.aws/instance-network-bandwidth", "operator": "Lt", "values": ["9"]}
    assert (
        "instance-network-bandwidth"
        in examined("instance-price", node_pool(requirements=[family, speed]), usdAnHour=50)["unknown"][0]
    )
    assert "g99" in examined("instance-price", asks("karpenter.k8s.aws/instance-family", "g99"))["unknown"][0]
    nothing = asks("karpenter.k8s.aws/instance-gpu-count", "99")
    assert "machines that meet its requirements" in examined("instance-price", nothing)["unknown"][0]
    instance = resource("aws:ec2/instance:Instance", {"instanceType": "p99.48xlarge"})
    assert "p99.48xlarge" in examined("instance-price", instance)["unknown"][0]
    template = resource(
        "aws:ec2/launchTemplate:LaunchTemplate", {"instanceRequirements": {"acceleratorCount": {"min": 8}}}
    )
    assert "instanceRequirements" in examined("instance-price", template)["unknown"][0]


def test_capacity_is_read_however_it_is_asked_for():
    spot = {"key": "karpenter.sh/capacity-type", "operator": "NotIn", "values": ["on-demand"]}
    assert examined("notebooks-on-spot-alone", node_pool(taints=[TAINT], requirements=[spot]))
    assert examined("notebooks-on-spot-alone", node_pool(taints=[TAINT])) == {}


def overlay(key, *values):
    requirement = {"key": key, "operator": "In", "values": list(values)}
    capacity = {GPU: "0", "nvidia.com/gpu.shared": "4"}
    return kubernetes("NodeOverlay", {"requirements": [requirement], "capacity": capacity}, api="karpenter.sh/v1alpha1")


def test_an_overlay_is_read_by_whatever_it_selects_nodes():
    limited = node_pool(spec_={"limits": {GPU: "8"}})
    for key, values in (
        ("karpenter.sh/nodepool", ["gpu"]),
        ("gpulab.dev/pool", ["gpu"]),
        ("karpenter.k8s.aws/instance-family", ["g5", "g6"]),
    ):
        assert examined("shared-pool-limit-resource", limited, overlay(key, *values)).keys() == {"gpu"}, key
    for key, values in (("gpulab.dev/pool", ["other"]), ("karpenter.k8s.aws/instance-family", ["p5"])):
        assert examined("shared-pool-limit-resource", limited, overlay(key, *values)) == {}, key
    for key, values in (
        ("node.kubernetes.io/instance-type", ["g5.xlarge"]),
        ("karpenter.k8s.aws/instance-network-bandwidth", ["1"]),
    ):
        assert "not decided" in examined("shared-pool-limit-resource", limited, overlay(key, *values))["unknown"][0], (
            key
        )


def profile(**override):
    labelled = {"labels": {"gpulab.dev/profiles": "team"}, "name": "profiles"}
    listed = [{"slug": "x", "kubespawner_override": override}]
    return kubernetes("ConfigMap", metadata=labelled, data={"x": text(listed)})


def test_a_profile_that_selects_nodes_by_their_type_is_held_against_that_type():
    small = profile(cpu_guarantee=8, node_selector={"node.kubernetes.io/instance-type": "g5.xlarge"})
    assert examined("profile-beyond-node", small, node_pool(taints=[TAINT])).keys() == {"profiles"}
    fits = profile(cpu_guarantee=2, node_selector={"node.kubernetes.io/instance-type": "g5.xlarge"})
    assert examined("profile-beyond-node", fits, node_pool(taints=[TAINT])) == {}
    elsewhere = profile(cpu_guarantee=8, node_selector={"example.com/nodes": "team"})
    assert "example.com/nodes=team" in examined("profile-beyond-node", elsewhere, node_pool())["unknown"][0]


def test_quotas_are_summed_by_their_short_names_and_against_pools_that_count_gpus():
    team = kubernetes("Namespace", metadata={"name": "team", "labels": {"gpulab.dev/team": "team"}})
    cpu = node_pool(
        requirements=[{"key": "karpenter.k8s.aws/instance-family", "operator": "In", "values": ["m7i"]}],
        spec_={"limits": {"cpu": "4"}},
    )
    short = kubernetes("ResourceQuota", {"hard": {"cpu": "5"}}, metadata={"namespace": "team"})
    assert examined("quotas-beyond-pool-limits", cpu, team, short)[""]
    gpus = kubernetes("ResourceQuota", {"hard": {f"requests.{GPU}": "9"}}, metadata={"namespace": "team"})
    counted, not_counted = node_pool("a", spec_={"limits": {GPU: "8"}}), node_pool("b", spec_={"limits": {"cpu": "8"}})
    assert examined("quotas-beyond-pool-limits", counted, team, gpus)[""]
    assert examined("quotas-beyond-pool-limits", counted, not_counted, team, gpus) == {}
