"""Supply policies close to their edge: pinned versions, their support, and values that are not known yet."""

from __future__ import annotations

import pytest
from pulumi_policy import EnforcementLevel

from tests.policies.conftest import (
    BY_NAME,
    UNKNOWN,
    examined,
    node_pool,
    resource,
)
from tests.policies.objects import refuses_the_first_only, workload

REFUSED_AND_ACCEPTED = {
    "a digest pins": (
        "unpinned-image",
        workload(container={"image": "localhost:5000/x"}),
        workload(container={"image": f"x@sha256:{'0' * 64}"}),
    ),
    "a range of versions": (
        "unpinned-chart",
        resource("kubernetes:helm.sh/v3:Release", {"chart": "x", "version": "~1.2"}),
        resource("kubernetes:helm.sh/v3:Release", {"chart": "x", "version": "v26.7.0"}),
    ),
}


@pytest.mark.parametrize("case", REFUSED_AND_ACCEPTED)
def test_one_is_refused_and_the_other_accepted(case):
    refuses_the_first_only(*REFUSED_AND_ACCEPTED[case])


@pytest.mark.parametrize(
    ("policy", "one"),
    [
        ("iam-action-wildcard", resource("aws:iam/policy:Policy", {"policy": UNKNOWN})),
        ("cluster-endpoint-open", resource("aws:eks/cluster:Cluster", {"vpcConfig": {"publicAccessCidrs": UNKNOWN}})),
        ("security-group-open", resource("aws:ec2/securityGroup:SecurityGroup", {"ingress": UNKNOWN})),
        ("node-pool-limits", node_pool(spec_={"limits": UNKNOWN})),
        ("ebs-encryption", resource("aws:ebs/volume:Volume", {"encrypted": UNKNOWN})),
        ("unpinned-image", workload(container={"image": UNKNOWN})),
    ],
)
def test_what_is_not_known_is_never_passed(policy, one):
    assert "not yet known" in examined(policy, one)["unknown"][0]


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"version": "1.36"}, None),
        ({"version": "1.34"}, "leaves EKS's standard support on 2026-12-02; then its control plane costs 0.60 USD"),
        ({"version": "1.34", "upgradePolicy": {"supportType": "STANDARD"}}, "then EKS upgrades the cluster to 1.35"),
        ({"version": "1.33"}, "left EKS's standard support on 2026-07-29: its control plane costs 0.60 USD"),
        ({"version": "1.99"}, "not known here"),
        ({"version": "1.33", "upgradePolicy": {"supportType": UNKNOWN}}, "not yet known"),
        ({}, None),
    ],
)
def test_versions_of_kubernetes_say_that_their_support_ends(inputs, said, monkeypatch):
    monkeypatch.setenv("GPULAB_TODAY", "2026-11-30")
    found = examined("kubernetes-support", resource("aws:eks/cluster:Cluster", inputs))
    assert len(found) == (said is not None)
    assert all(said in message for messages in found.values() for message in messages)


def test_the_end_of_support_is_a_warning_in_production_too():
    assert BY_NAME["kubernetes-support"].enforcement_level is EnforcementLevel.ADVISORY
