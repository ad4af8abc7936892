"""The pure parts of what surrounds Karpenter: its environment, its nodes, and the time that passes for them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import contracts
from contracts.quantities import amount
from rehearsal.checks.overlays import expected_gpus, labels
from rehearsal.controllers import karpenter, kubelets, selectors, user_data
from rehearsal.controllers.deployed import DeployedRelease, deployed_release
from rehearsal.controllers.passing_time import Durations, earlier_end, earlier_pod
from rehearsal.controllers.user_data import NodeSetup
from rehearsal.controllers.world import SECRETS, World, place, place_of
from tests.rehearsal.helm_records import record

# As Karpenter 1.14.1 writes them for a pool of the dev stack.
AL2023 = """\
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="//"

--//
Content-Type: text/x-shellscript; charset="us-ascii"

#!/bin/bash
--//
Content-Type: application/node.eks.aws

apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  featureGates:
    FastImagePull: true
--//
Content-Type: application/node.eks.aws

# Karpenter Generated NodeConfig
apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  cluster:
    name: lab
  instance:
    localStorage:
      strategy: RAID0
  kubelet:
    config:
      maxPods: 42
      registerWithTaints:
      - effect: NoExecute
        key: karpenter.sh/unregistered
      - effect: NoSchedule
        key: nvidia.com/gpu
        value: "true"
    flags:
    - --node-labels="gpulab.dev/pool=gpu,karpenter.sh/capacity-type=spot"
--//--
"""
BOTTLEROCKET = """\
[settings]
[settings.bootstrap-commands]
[settings.bootstrap-commands.000-mount-instance-storage]
commands = [["apiclient", "ephemeral-storage", "init"]]
[settings.kubernetes]
max-pods = 42
[settings.kubernetes.node-labels]
"gpulab.dev/pool" = "gpu"
"karpenter.sh/capacity-type" = "spot"
[settings.kubernetes.node-taints]
"karpenter.sh/unregistered" = [":NoExecute"]
"nvidia.com/gpu" = ["true:NoSchedule"]
"""
NOW = datetime(2026, 9, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize("text", [AL2023, BOTTLEROCKET], ids=["AL2023", "Bottlerocket"])
def test_node_registers_as_its_user_data_says(text: str) -> None:
    setup = user_data.read(text)
    assert setup.labels == {"gpulab.dev/pool": "gpu", "karpenter.sh/capacity-type": "spot"}
    taints = {(one["key"], one.get("value", ""), one["effect"]) for one in setup.taints}
    assert taints == {("karpenter.sh/unregistered", "", "NoExecute"), ("nvidia.com/gpu", "true", "NoSchedule")}
    assert setup.max_pods == 42
    assert setup.own_disks


def test_node_has_less_memory_than_ec2_names() -> None:
    """As much as Karpenter expects, which takes what a node reports for what all nodes of the type have."""
    capacity, allocatable = kubelets.resources(contracts.instance_types()["g5.12xlarge"], NodeSetup({}, ()), "200Gi")
    assert capacity == {"cpu": "48", "memory": "181862Mi", "pods": "737", "ephemeral-storage": "200Gi"}
    assert amount(allocatable["memory"]) == amount("173400Mi")
    assert allocatable["cpu"] == "47810m"
    arm, _ = kubelets.resources(contracts.instance_types()["m7g.large"], NodeSetup({}, ()), "20Gi")
    assert arm["memory"] == "7518Mi"


def test_kubelets_own_settings_count() -> None:
    setup = NodeSetup({}, (), max_pods=20, reserved={"memory": "1Gi"})
    capacity, allocatable = kubelets.resources(contracts.instance_types()["m7i.large"], setup, "20Gi")
    assert capacity["pods"] == "20"
    assert amount(capacity["memory"]) - amount(allocatable["memory"]) == amount("1Gi") + amount("100Mi")


def test_gpus_that_karpenter_expects_are_those_of_overlays() -> None:
    one = contracts.instance_types()["g5.12xlarge"]
    of_type = {**labels(one), "karpenter.sh/nodepool": "gpu"}
    assert expected_gpus(one, of_type, []) == {"nvidia.com/gpu": "4"}
    overlay = {
        "spec": {
            "requirements": [{"key": "karpenter.sh/nodepool", "operator": "In", "values": ["gpu"]}],
            "capacity": {"nvidia.com/gpu.shared": "16", "nvidia.com/gpu": "0"},
        }
    }
    elsewhere = {"spec": {"requirements": [{"key": "a", "operator": "Exists"}], "capacity": {"nvidia.com/b": "1"}}}
    assert expected_gpus(one, of_type, [overlay, elsewhere]) == {"nvidia.com/gpu.shared": "16"}
    assert expected_gpus(contracts.instance_types()["g6f.large"], {}, []) == {}, "a fraction of a GPU is none"


def claim(**metadata: Any) -> dict[str, Any]:
    """A NodeClaim whose node was ready at noon."""
    ready = {"type": "Initialized", "status": "True", "lastTransitionTime": "2026-09-01T12:00:00Z"}
    return {
        "metadata": {"name": "gpu-x", "labels": {}, **metadata},
        "spec": {"terminationGracePeriod": "24h"},
        "status": {"conditions": [ready]},
    }


def test_node_that_is_to_go_ends_its_pods_soon() -> None:
    key = "karpenter.sh/nodeclaim-termination-timestamp"
    going = claim(deletionTimestamp="2026-09-01T12:00:00Z", annotations={key: "2026-09-02T12:00:00Z"})
    assert earlier_end(going, 10) == NOW.replace(second=10)
    assert earlier_end(going, None) is None, "as its pool says"
    assert earlier_end(claim(), 10) is None, "it is not to go"
    soon = claim(deletionTimestamp="2026-09-01T12:00:00Z", annotations={key: "2026-09-01T12:00:05Z"})
    assert earlier_end(soon, 10) is None, "its own end is earlier"
    without = claim(deletionTimestamp="2026-09-01T12:00:00Z", annotations={key: "2026-09-02T12:00:00Z"})
    without["spec"] = {}
    assert earlier_end(without, 10) is None, "it waits for its pods as long as they run, which must be seen"


def test_quiet_node_is_taken_for_one_that_was_quiet_as_long_as_its_pool_wants() -> None:
    pool = {"spec": {"disruption": {"consolidateAfter": "10m"}}}
    last = earlier_pod(claim(), pool, 8, NOW.replace(second=8))
    assert last == NOW.replace(hour=11, minute=50, second=8)
    assert earlier_pod(claim(), pool, 8, NOW.replace(second=7)) is None, "not yet"
    assert earlier_pod(claim(), pool, None, NOW.replace(minute=9)) is None, "as its pool says"
    busy = claim()
    busy["status"]["lastPodEventTime"] = "2026-09-01T12:00:05Z"
    assert earlier_pod(busy, pool, 8, NOW.replace(second=8)) is None, "a pod came or went"
    new = claim()
    new["status"]["conditions"] = []
    assert earlier_pod(new, pool, 8, NOW.replace(minute=5)) is None, "it was never ready"
    never = {"spec": {"disruption": {"consolidateAfter": "Never"}}}
    assert earlier_pod(claim(), never, 8, NOW.replace(minute=5)) is None


def test_durations_come_from_the_environment() -> None:
    given = {"GPULAB_CONSOLIDATE_AFTER": "3", "GPULAB_GRACE_PERIOD": "10"}
    assert Durations.of(given) == Durations(consolidate_after=3, grace_period=10)
    assert Durations.of({}) == Durations()


@pytest.mark.parametrize(
    ("operator", "values", "label", "expected"),
    [
        ("In", ["1", "2"], "2", True),
        ("In", ["1"], None, False),
        ("NotIn", ["1"], None, True),
        ("Exists", [], "1", True),
        ("DoesNotExist", [], "1", False),
        ("DoesNotExist", [], None, True),
        ("Gt", ["3"], "4", True),
        ("Gt", ["3"], "3", False),
        ("Gte", ["3"], "3", True),
        ("Lt", ["10"], "9", True),
        ("Lte", ["9"], "10", False),
        ("Gt", ["3"], None, False),
    ],
)
def test_requirements_are_those_of_node_selectors(
    operator: str, values: list[str], label: str | None, expected: bool
) -> None:
    requirement = {"key": "key", "operator": operator, "values": values}
    assert selectors.matches([requirement], {"key": label} if label else {}) == expected


def helm_secret(chart: str, config: dict[str, Any], version: str = "1") -> dict[str, Any]:
    """What Helm keeps of a release."""
    secret = record(chart, config)
    return {**secret, "metadata": {**secret["metadata"], "uid": chart, "resourceVersion": version}}


def test_releases_are_read_once_a_version_and_seen_anew_in_each_pass() -> None:
    kubernetes = mock.Mock()
    world = World(kubernetes=kubernetes, aws=mock.Mock(), folder=Path(), zones=())

    def then(*secrets: dict[str, Any]) -> None:
        world.begin_pass()
        kubernetes.list_metadata.return_value = secrets
        kubernetes.get.side_effect = {place_of(SECRETS, one): one for one in secrets}.get

    then(helm_secret("karpenter", {"a": 1}), helm_secret("gpu-operator", {}))
    assert {chart: world.deployed(chart) is not None for chart in ("karpenter", "gpu-operator", "other")} == {
        "karpenter": True,
        "gpu-operator": True,
        "other": False,
    }
    then(helm_secret("karpenter", {"a": 1}))
    assert world.deployed("karpenter") == DeployedRelease("karpenter", {"a": 1})
    assert world.deployed("gpu-operator") is None
    assert kubernetes.get.call_count == 2, "what was read before is not read again"
    then(helm_secret("karpenter", {"a": 2}, version="2"))
    assert world.deployed("karpenter") == DeployedRelease("karpenter", {"a": 2})


VALUES = {
    "controller": {"env": [{"name": "AWS_REGION", "value": "us-east-1"}]},
    "settings": {"featureGates": {"nodeOverlay": True}, "isolatedVPC": True},
}


def test_karpenter_runs_with_the_settings_of_its_release() -> None:
    release = deployed_release(helm_secret("karpenter", VALUES))
    assert release.chart == "karpenter"
    environment = karpenter.release_environment(release.values)
    assert "NodeOverlay=true" in environment["FEATURE_GATES"]
    assert "NodeOverlay=false" in karpenter.release_environment({})["FEATURE_GATES"], "as by the chart's default"
    assert environment["BATCH_IDLE_DURATION"] == "1s"
    assert environment["AWS_REGION"] == "us-east-1"
    assert environment["ISOLATED_VPC"] == "true"
    assert "ISOLATED_VPC" not in karpenter.release_environment({}), "the chart writes none"


def test_place_of_an_object_in_a_namespace() -> None:
    assert place("/api/v1/pods", "web", "team") == "/api/v1/namespaces/team/pods/web"
    assert place("/api/v1/nodes", "one") == "/api/v1/nodes/one"
