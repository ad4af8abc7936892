"""The platform's own pods and GPU nodes in the policy pack: no policy refuses them."""

from __future__ import annotations

from typing import Any

import platform_lab
import pytest
from engine_mocks import EngineMocks
from test_jupyterhub import SECTIONS

from policies import devices, workloads
from policies.pack import of_module
from tests.policies.conftest import as_policies_see, examined

GPU: dict[str, Any] = {
    "categories": ["g"],
    "minGeneration": 5,
    "gpus": {"min": 1, "max": 8},
    "limits": {"gpus": 8},
    "gpu": {
        "warm": {
            "replicas": 1,
            "schedule": {"start": "0 8 * * 1-5", "end": "0 18 * * 1-5"},
            "timeZone": "Europe/Berlin",
        }
    },
}


@pytest.fixture(scope="module")
def lab() -> EngineMocks:
    pools = {**platform_lab.LAB["gpulab:nodePools"], "gpu": GPU}
    return platform_lab.deployed(**{**SECTIONS, "gpulab:nodePools": pools})


def test_each_kind_of_own_workload_is_seen(lab: EngineMocks) -> None:
    """The realm's Job, the placeholders with the jobs that scale them, and the jobs that measure homes."""
    seen = {one.resource_type for one in as_policies_see(lab) if workloads._WORKLOADS(one.resource_type)}
    assert seen == {"kubernetes:batch/v1:Job", "kubernetes:apps/v1:Deployment", "kubernetes:batch/v1:CronJob"}


@pytest.mark.parametrize("policy", [policy.name for module in (workloads, devices) for policy in of_module(module)])
def test_no_policy_has_anything_against_them(policy: str, lab: EngineMocks) -> None:
    assert examined(policy, *as_policies_see(lab)) == {}


def test_what_the_gpu_operator_runs_without_resources_gets_some(lab: EngineMocks) -> None:
    """Its hooks take none from the chart's values."""
    (release,) = [one for one in lab.all("kubernetes:helm.sh/v3:Release") if one.inputs["name"] == "gpu-operator"]
    (limits,) = [
        one
        for one in lab.all("kubernetes:core/v1:LimitRange")
        if one.inputs["metadata"]["namespace"] == release.inputs["namespace"]
    ]
    (default,) = limits.inputs["spec"]["limits"]
    assert {"cpu", "memory"} <= default["defaultRequest"].keys()
    assert "memory" in default["default"]
    assert lab.needs(release, limits)
