"""Quotas of teams on the real API server: what a team may have, and what is refused beyond it."""

from __future__ import annotations

import pytest
from teams_lab import PODS, RESEARCH, VISION, create, notebook, refusal, whole_gpus

from rehearsal.controllers.world import Kubernetes, place

pytestmark = pytest.mark.seconds(100)


def test_the_third_whole_gpu_is_refused_by_a_quota_of_two(api: Kubernetes) -> None:
    create(api, PODS, notebook("one", RESEARCH, "gpu", limits=whole_gpus(1)))
    create(api, PODS, notebook("two", RESEARCH, "gpu", limits=whole_gpus(1)))
    said = refusal(api, notebook("three", RESEARCH, "gpu", limits=whole_gpus(1)))
    assert "exceeded quota: team" in said
    assert "requests.nvidia.com/gpu=1" in said
    assert "used: requests.nvidia.com/gpu=2, limited: requests.nvidia.com/gpu=2" in said


def test_a_slice_is_refused_where_none_is_granted_and_given_where_some_are(api: Kubernetes) -> None:
    share = {"nvidia.com/gpu.shared": "1"}
    said = refusal(api, notebook("slice", RESEARCH, "gpu-shared", limits=share))
    assert "exceeded quota: team" in said
    assert "limited: requests.nvidia.com/gpu.shared=0" in said
    create(api, PODS, notebook("slice", VISION, "gpu-shared", limits=share))


def test_a_team_runs_no_more_notebooks_than_it_may(api: Kubernetes) -> None:
    for number in range(2):
        create(api, PODS, notebook(f"notebook-{number}", VISION))
    assert "limited: pods=2" in refusal(api, notebook("one-too-many", VISION))


def test_memory_counts_whether_it_is_requested_or_only_allowed(api: Kubernetes) -> None:
    greedy = notebook("greedy", RESEARCH, limits={"memory": "65Gi"})
    greedy["spec"]["containers"][0]["resources"]["requests"]["memory"] = "1Gi"
    assert "maximum memory usage per Container is 64Gi" in refusal(api, greedy)
    for number in range(2):
        half = notebook(f"half-{number}", RESEARCH, limits={"memory": "33Gi"})
        half["spec"]["containers"][0]["resources"]["requests"]["memory"] = "1Gi"
        if number == 0:
            create(api, PODS, half)
    assert "limited: limits.memory=64Gi" in refusal(api, half)


def test_who_asks_for_nothing_gets_little(api: Kubernetes) -> None:
    silent = notebook("silent", RESEARCH)
    del silent["spec"]["containers"][0]["resources"]
    create(api, PODS, silent)
    made = api.get(place(PODS, "silent", RESEARCH))
    assert made
    (container,) = made["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == "1Gi"
    assert container["resources"]["requests"]["memory"] == "256Mi"
