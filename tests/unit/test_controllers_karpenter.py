"""The pure parts of what plays Karpenter's AWS half: instance types, twins, node classes, instances and settings."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import contracts
from rehearsal.aws import nodes
from rehearsal.controllers import instance_types, instances, karpenter, node_classes, releases, twins
from rehearsal.controllers.quantities import quantity
from rehearsal.controllers.world import SECRETS, World, place, place_of

ZONES = ("us-east-1a", "us-east-1b")
POOL = {
    "apiVersion": "karpenter.sh/v1",
    "kind": "NodePool",
    "metadata": {"name": "gpu", "uid": "1234", "resourceVersion": "7"},
    "spec": {
        "template": {
            "metadata": {"labels": {"gpulab.dev/pool": "gpu"}},
            "spec": {
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": "gpu"},
                "requirements": [{"key": "karpenter.k8s.aws/instance-category", "operator": "In", "values": ["g"]}],
                "taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}],
                "expireAfter": "720h",
                "terminationGracePeriod": "1h",
            },
        },
        "limits": {"nvidia.com/gpu": "16"},
        "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": "10m"},
    },
}
QUICK = twins.Durations(consolidate_after=3, grace_period=10)


def node_class(**spec: Any) -> dict[str, Any]:
    """An EC2NodeClass that found what it looked for."""
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": "gpu", "uid": "5678", "generation": 2},
        "spec": {
            "role": "node",
            "amiSelectorTerms": [{"alias": "al2023@v20260930"}],
            "subnetSelectorTerms": [{"tags": {"karpenter.sh/discovery": "lab"}}],
            "blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"volumeType": "gp3", "volumeSize": "200Gi"}}],
            "tags": {"Owner": "ml"},
            **spec,
        },
        "status": {
            "amis": [
                {"id": "ami-cpu", "requirements": [{"key": instance_types.GPU_COUNT, "operator": "DoesNotExist"}]},
                {"id": "ami-gpu", "requirements": [{"key": instance_types.GPU_COUNT, "operator": "Exists"}]},
            ],
            "subnets": [{"id": "subnet-a", "zone": "us-east-1a"}, {"id": "subnet-b", "zone": "us-east-1b"}],
            "securityGroups": [{"id": "sg-1"}],
            "instanceProfile": "profile",
        },
    }


def claim(name: str = "g5.12xlarge") -> dict[str, Any]:
    """A launched NodeClaim of a twin, for an instance type."""
    labels = {
        **instance_types.labels(contracts.instance_types()[name]),
        "karpenter.sh/nodepool": "gpu-rehearsal",
        "karpenter.sh/capacity-type": "spot",
        "node.kubernetes.io/instance-type": name,
        "topology.kubernetes.io/zone": "us-east-1b",
    }
    return {"metadata": {"name": "gpu-rehearsal-x", "labels": labels}, "status": {"providerID": "kwok://x"}}


def offered(name: str, **options: Any) -> dict[str, Any]:
    """An instance type as Karpenter reads it."""
    (found,) = instance_types.catalogue([contracts.instance_types()[name]], region="us-east-1", zones=ZONES, **options)
    return found


def requirements_of(offering: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: one.get("values", one["operator"]) for one in offering["Requirements"]}


def test_type_is_offered_in_each_zone_by_spot_and_on_demand_with_spot_the_cheaper() -> None:
    found = offered("g5.12xlarge")
    offers = [requirements_of(one) for one in found["offerings"]]
    assert {(*one["karpenter.sh/capacity-type"], *one["topology.kubernetes.io/zone"]) for one in offers} == {
        (kind, zone) for kind in ("spot", "on-demand") for zone in ZONES
    }
    prices = {requirements_of(one)["karpenter.sh/capacity-type"][0]: one["Price"] for one in found["offerings"]}
    assert prices["spot"] < prices["on-demand"] == contracts.instance_types()["g5.12xlarge"].price
    assert found["resources"]["nvidia.com/gpu"] == "4"


def test_spot_can_be_out() -> None:
    kinds = {
        requirements_of(one)["karpenter.sh/capacity-type"][0] for one in offered("g5.xlarge", spot=False)["offerings"]
    }
    assert kinds == {"on-demand"}


def test_offering_says_which_labels_a_type_lacks() -> None:
    """Else a pool that asks for GPUs would take a type that does not say how many it has."""
    gpu, cpu = (requirements_of(offered(name)["offerings"][0]) for name in ("g5.xlarge", "m7i.large"))
    assert gpu["karpenter.k8s.aws/instance-gpu-count"] == ["1"]
    assert gpu["karpenter.k8s.aws/instance-gpu-name"] == ["a10g"]
    assert cpu["karpenter.k8s.aws/instance-gpu-count"] == "DoesNotExist"
    assert gpu.keys() == cpu.keys()


def test_fraction_of_a_gpu_is_no_gpu_to_ask_for() -> None:
    assert instance_types.labels(contracts.instance_types()["g6f.large"])[instance_types.GPU_COUNT] == "0"
    assert "nvidia.com/gpu" not in offered("g6f.large")["resources"]


@pytest.mark.parametrize(("resource", "kwok_keeps"), [("cpu", "100m"), ("memory", "10Mi")])
def test_karpenter_never_expects_more_room_than_the_node_has(resource: str, kwok_keeps: str) -> None:
    """Else it would buy node after node for a pod that fits none."""
    for one in contracts.instance_types().values():
        expected = instance_types.described(one, region="us-east-1", zones=(), capacity_types=())["resources"]
        capacity, allocatable = nodes.resources(one, 20)
        assert quantity(expected[resource]) <= quantity(capacity[resource]), one.name
        assert quantity(expected[resource]) - quantity(kwok_keeps) <= quantity(allocatable[resource]), one.name


def test_twin_differs_in_name_class_and_durations() -> None:
    twin = twins.twin_of_pool(POOL, None, QUICK)
    spec, own = twin["spec"], POOL["spec"]
    assert twin["metadata"]["name"] == "gpu-rehearsal"
    assert spec["template"]["spec"]["nodeClassRef"] == {
        "group": "karpenter.kwok.sh",
        "kind": "KWOKNodeClass",
        "name": "gpu",
    }
    assert spec["template"]["spec"]["terminationGracePeriod"] == "10s"
    assert spec["disruption"]["consolidateAfter"] == "3s"
    for key in ("requirements", "taints", "expireAfter"):
        assert spec["template"]["spec"][key] == own["template"]["spec"][key]
    assert spec["template"]["metadata"]["labels"] == own["template"]["metadata"]["labels"]
    assert spec["limits"] == own["limits"]
    assert POOL["spec"]["disruption"]["consolidateAfter"] == "10m", "the pool itself is as it was"


def test_foreground_deletion_of_a_pool_waits_for_its_twin() -> None:
    (owner,) = twins.twin_of_pool(POOL, None, QUICK)["metadata"]["ownerReferences"]
    assert owner["uid"] == "1234"
    assert owner["blockOwnerDeletion"]


def test_twin_waits_for_ever_where_its_pool_would() -> None:
    pool = json.loads(json.dumps(POOL))
    del pool["spec"]["template"]["spec"]["terminationGracePeriod"]
    pool["spec"]["disruption"]["consolidateAfter"] = "Never"
    spec = twins.twin_of_pool(pool, None, QUICK)["spec"]
    assert "terminationGracePeriod" not in spec["template"]["spec"]
    assert spec["disruption"]["consolidateAfter"] == "Never"


def test_twin_keeps_a_duration_that_is_shorter_already() -> None:
    spec = twins.twin_of_pool(POOL, None, twins.Durations(consolidate_after=3600, grace_period=None))["spec"]
    assert spec["disruption"]["consolidateAfter"] == "600s"
    assert spec["template"]["spec"]["terminationGracePeriod"] == "1h"


def test_durations_come_from_the_environment() -> None:
    given = {"GPULAB_CONSOLIDATE_AFTER": "3", "GPULAB_GRACE_PERIOD": "10"}
    assert twins.Durations.of(given) == QUICK
    assert twins.Durations.of({}) == twins.Durations()


@pytest.mark.parametrize(
    ("changed", "drifts"),
    [
        ({"amiSelectorTerms": [{"alias": "al2023@v20260901"}]}, True),
        ({"tags": {"Owner": "somebody"}}, True),
        ({"subnetSelectorTerms": [{"tags": {"karpenter.sh/discovery": "other"}}]}, False),
    ],
)
def test_nodes_drift_with_their_class(changed: dict[str, Any], drifts: bool) -> None:
    before, after = (
        twins.twin_of_pool(POOL, of, QUICK)["spec"]["template"]["metadata"]["annotations"]
        for of in (node_class(), node_class(**changed))
    )
    assert (before != after) == drifts


def test_overlay_twin_selects_the_twin_pools() -> None:
    overlay = {
        "apiVersion": "karpenter.sh/v1alpha1",
        "kind": "NodeOverlay",
        "metadata": {"name": "shared", "uid": "9"},
        "spec": {
            "requirements": [{"key": "karpenter.sh/nodepool", "operator": "In", "values": ["gpu"]}],
            "capacity": {"nvidia.com/gpu.shared": "4"},
        },
    }
    twin = twins.twin_of_overlay(overlay)
    assert twin
    assert twin["spec"]["requirements"][0]["values"] == ["gpu-rehearsal"]
    assert twin["spec"]["capacity"] == {"nvidia.com/gpu.shared": "4"}
    assert twins.twin_of_overlay(twin) is None, "a twin has none"
    everywhere = {**overlay, "spec": {"capacity": {"a.com/b": "1"}}}
    assert twins.twin_of_overlay(everywhere) is None, "it holds for twin pools as it is"


def test_claim_has_all_of_its_instance_and_what_overlays_make_of_it() -> None:
    overlay = {
        "spec": {
            "requirements": [{"key": "karpenter.sh/nodepool", "operator": "In", "values": ["gpu-rehearsal"]}],
            "capacity": {"nvidia.com/gpu.shared": "16", "nvidia.com/gpu": "0"},
        }
    }
    elsewhere = {"spec": {"requirements": [{"key": "a", "operator": "Exists"}], "capacity": {"a.com/b": "1"}}}
    capacity, _ = instances.expected_resources(claim(), node_class(), [])
    assert (capacity["nvidia.com/gpu"], capacity["ephemeral-storage"]) == ("4", "200Gi")
    own_disks = node_class()
    own_disks["spec"]["instanceStorePolicy"] = "RAID0"
    with_disks, _ = instances.expected_resources(claim(), own_disks, [])
    nvme = contracts.instance_types()[claim()["metadata"]["labels"]["node.kubernetes.io/instance-type"]].nvme_gb
    assert nvme
    assert with_disks["ephemeral-storage"] == f"{nvme * 10**9 // 2**30}Gi"
    capacity, allocatable = instances.expected_resources(claim(), node_class(), [overlay, elsewhere])
    assert (allocatable["nvidia.com/gpu.shared"], allocatable["nvidia.com/gpu"]) == ("16", "0")
    assert "a.com/b" not in capacity


def test_node_has_gpus_once_a_device_plugin_runs_there() -> None:
    capacity, _ = instances.node_resources(claim(), node_class(), None)
    assert capacity["cpu"] == "48"
    assert "nvidia.com/gpu" not in capacity
    config = {"config": {"default": "whole", "data": {"whole": "version: v1"}}}
    operator = releases.Release("gpu-operator", {"devicePlugin": config, "mig": {"strategy": "mixed"}})
    capacity, allocatable = instances.node_resources(claim(), node_class(), operator)
    assert capacity["nvidia.com/gpu"] == allocatable["nvidia.com/gpu"] == "4"


def test_disk_of_joined_nvme_disks_is_theirs() -> None:
    capacity, _ = instances.node_resources(claim(), node_class(instanceStorePolicy="RAID0"), None)
    assert capacity["ephemeral-storage"] == "3539Gi"


def test_instance_is_what_its_claim_and_class_say() -> None:
    request = instances.run_request(claim(), node_class(), "lab")
    assert request["ImageId"] == "ami-gpu"
    assert request["NetworkInterfaces"][0]["SubnetId"] == "subnet-b"
    assert request["NetworkInterfaces"][0]["DeleteOnTermination"]
    assert request["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert request["BlockDeviceMappings"][0]["Ebs"]["VolumeSize"] == 200
    tags = {
        spec["ResourceType"]: {tag["Key"]: tag["Value"] for tag in spec["Tags"]}
        for spec in request["TagSpecifications"]
    }
    assert tags["instance"]["karpenter.sh/nodepool"] == "gpu"
    assert tags["instance"]["karpenter.sh/nodeclaim"] == "gpu-rehearsal-x"
    assert tags["volume"]["kubernetes.io/cluster/lab"] == "owned"
    assert tags["volume"]["Owner"] == "ml"


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
    assert instances.matches([requirement], {"key": label} if label else {}) == expected


def test_class_is_ready_once_everything_is_found() -> None:
    found = node_classes.conditions({"SubnetsReady": None, "AMIsReady": None}, 3)
    assert {one["type"]: one["status"] for one in found} == dict.fromkeys(
        ("SubnetsReady", "AMIsReady", "Ready"), "True"
    )
    assert {one["observedGeneration"] for one in found} == {3}
    missing = node_classes.conditions({"SubnetsReady": ("SubnetsNotFound", "none"), "AMIsReady": None}, 3)
    assert {one["type"]: one["status"] for one in missing} == {
        "SubnetsReady": "False",
        "AMIsReady": "True",
        "Ready": "False",
    }


def test_class_is_looked_up_again_until_it_is_ready_and_when_it_changes() -> None:
    ready = {"conditions": node_classes.conditions({}, 2)}
    assert node_classes.is_current({**node_class(), "status": ready})
    assert not node_classes.is_current({**node_class(), "status": {"conditions": node_classes.conditions({}, 1)}})
    lost = {"conditions": node_classes.conditions({"AMIsReady": ("AMINotFound", "none")}, 2)}
    assert not node_classes.is_current({**node_class(), "status": lost})


def test_an_image_that_is_older_than_the_clusters_version_is_not_found() -> None:
    world = mock.Mock()
    world.aws.clusters.return_value = ["lab"]
    world.aws.client.return_value = mock.Mock(
        describe_cluster=lambda name: {"cluster": {"version": "1.36"}},
        get_parameter=lambda Name: {"Parameter": {"Value": "ami-1"}},  # noqa: N803 (boto3's)
    )
    assert node_classes._amis(world, [{"alias": "al2023@v20260114"}]) == []
    assert node_classes._amis(world, [{"alias": "bottlerocket@v1.53.0"}]) == []
    assert node_classes._amis(world, [{"alias": "al2023@v20260917"}])


def test_selector_terms_become_filters() -> None:
    assert node_classes.filters_of({"tags": {"a": "b", "c": "*"}}) == [
        {"Name": "tag:a", "Values": ["b"]},
        {"Name": "tag-key", "Values": ["c"]},
    ]


def helm_secret(chart: str, config: dict[str, Any], version: str = "1") -> dict[str, Any]:
    """What Helm keeps of a release."""
    record = {"chart": {"metadata": {"name": chart}}, "config": config}
    packed = base64.b64encode(gzip.compress(json.dumps(record).encode()))
    metadata = {"name": chart, "namespace": "kube-system", "uid": chart, "resourceVersion": version}
    return {"metadata": metadata, "data": {"release": base64.b64encode(packed).decode()}}


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
    assert world.deployed("karpenter") == releases.Release("karpenter", {"a": 1})
    assert world.deployed("gpu-operator") is None
    assert kubernetes.get.call_count == 2, "what was read before is not read again"
    then(helm_secret("karpenter", {"a": 2}, version="2"))
    assert world.deployed("karpenter") == releases.Release("karpenter", {"a": 2})


def test_karpenter_runs_with_the_settings_of_its_release() -> None:
    release = releases.read_release(helm_secret("karpenter", {"settings": {"featureGates": {"nodeOverlay": True}}}))
    assert release.chart == "karpenter"
    environment = karpenter.settings_environment(release.values)
    assert "NodeOverlay=true" in environment["FEATURE_GATES"]
    assert "NodeOverlay=false" in karpenter.settings_environment({})["FEATURE_GATES"], "as by the chart's default"
    assert environment["BATCH_IDLE_DURATION"] == "1s"


@pytest.mark.parametrize(("left", "right"), [("1024Mi", "1Gi"), ("1000m", "1"), ("0.5Gi", "512Mi"), ("2k", "2000")])
def test_quantities_are_compared_as_numbers(left: str, right: str) -> None:
    assert quantity(left) == quantity(right)


def test_text_that_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity("many")


def test_place_of_an_object_in_a_namespace() -> None:
    assert place("/api/v1/pods", "web", "team") == "/api/v1/namespaces/team/pods/web"
    assert place("/api/v1/nodes", "one") == "/api/v1/nodes/one"
