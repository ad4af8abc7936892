"""Karpenter's instances in the simulated EC2, and what kubelet and device plugin report of each.

An instance comes with its NodeClaim and goes with it, tagged as Karpenter's AWS provider tags it. On the other side the
KWOK provider gives a node only what its first pods asked for: here it gets what such an instance really has, and of its
GPUs what the device plugin makes of them. The NodeClaim says what Karpenter expected, by the NodeOverlays.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import contracts
from contracts import InstanceType
from rehearsal.aws import nodes
from rehearsal.controllers import instance_types
from rehearsal.controllers.device_plugins import CHART as GPU_OPERATOR
from rehearsal.controllers.device_plugins import gpu_resources
from rehearsal.controllers.node_classes import Switch
from rehearsal.controllers.quantities import quantity
from rehearsal.controllers.releases import Release
from rehearsal.controllers.selectors import matches
from rehearsal.controllers.twins import NODE_POOL_LABEL, original
from rehearsal.controllers.world import (
    EC2_NODE_CLASSES,
    NODE_CLAIMS,
    NODE_OVERLAYS,
    NODES,
    Object,
    World,
    place_of,
)

_LOG = logging.getLogger("controllers.instances")
_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
_ZONE = "topology.kubernetes.io/zone"
_CAPACITY_TYPE = "karpenter.sh/capacity-type"
_REGISTERED = "karpenter.sh/registered"
_NODE_CLAIM_TAG = "karpenter.sh/nodeclaim"
_DEFAULT_DISK_GIB = 20
_GIB = 2**30
_GB = 10**9
_OWN_DISKS = "RAID0"
_GPU_PREFIX = "nvidia.com/"

_Amounts: TypeAlias = Mapping[str, str]
_Resources: TypeAlias = tuple[dict[str, str], dict[str, str]]


@dataclass(frozen=True)
class _Instance:
    id: str
    tags: Mapping[str, str]


class Instances:
    """Keeps an instance for each NodeClaim that was launched, and its node true to what the instance has."""

    def __init__(self, karpenter: Switch) -> None:
        self._karpenter = karpenter

    def reconcile(self, world: World) -> None:
        """Runs and terminates instances while Karpenter runs; nodes are looked after at any time."""
        claims = {one["metadata"]["name"]: one for one in world.listed(NODE_CLAIMS)}
        classes = {one["metadata"]["name"]: one for one in world.listed(EC2_NODE_CLASSES)}
        overlays = world.listed(NODE_OVERLAYS)
        live_nodes = {one["spec"].get("providerID"): one for one in world.listed(NODES)} if claims else {}
        operator = world.deployed(GPU_OPERATOR) if claims else None
        for claim in claims.values():
            if id := claim.get("status", {}).get("providerID"):
                node_class = classes.get(claim["spec"]["nodeClassRef"]["name"])
                _report(world, NODE_CLAIMS, claim, *expected_resources(claim, node_class, overlays))
                if node := live_nodes.get(id):
                    _report(world, NODES, node, *node_resources(node, node_class, operator))
                    _take_startup_taints_away(world, claim, node)
        if self._karpenter.running and world.aws.clusters():
            self._run_and_terminate(world, claims, classes)

    def _run_and_terminate(self, world: World, claims: Mapping[str, Object], classes: Mapping[str, Object]) -> None:
        ec2 = world.aws.client("ec2")
        running = {one.tags[_NODE_CLAIM_TAG]: one for one in _running(world)}
        for name, claim in claims.items():
            node_class = classes.get(claim["spec"]["nodeClassRef"]["name"])
            status = claim.get("status", {})
            if name in running:
                node = status.get("nodeName")
                if node and "Name" not in running[name].tags:
                    ec2.create_tags(Resources=[running[name].id], Tags=[{"Key": "Name", "Value": node}])
            elif status.get("providerID") and "deletionTimestamp" not in claim["metadata"] and node_class:
                request = run_request(claim, node_class, world.aws.clusters()[0])
                ec2.run_instances(**request)
                _LOG.info("%s: runs %s", name, request["InstanceType"])
        gone = [instance.id for name, instance in running.items() if name not in claims]
        if gone:
            ec2.terminate_instances(InstanceIds=gone)
            _LOG.info("terminated %s", ", ".join(gone))


def run_request(claim: Object, node_class: Object, cluster: str) -> dict[str, Any]:
    """The RunInstances request for a NodeClaim that was launched."""
    labels, spec, status = claim["metadata"]["labels"], node_class["spec"], node_class["status"]
    claimed = {
        "karpenter.sh/nodepool": original(labels[NODE_POOL_LABEL]),
        "karpenter.k8s.aws/ec2nodeclass": node_class["metadata"]["name"],
        f"kubernetes.io/cluster/{cluster}": "owned",
        "eks:eks-cluster-name": cluster,
    }
    tags = {**spec.get("tags", {}), **claimed}
    own = {**tags, _NODE_CLAIM_TAG: claim["metadata"]["name"]}
    request: dict[str, Any] = {
        "ImageId": next(ami["id"] for ami in status["amis"] if matches(ami["requirements"], labels)),
        "InstanceType": labels[_INSTANCE_TYPE],
        "MinCount": 1,
        "MaxCount": 1,
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "SubnetId": next(one["id"] for one in status["subnets"] if one["zone"] == labels[_ZONE]),
                "Groups": [one["id"] for one in status["securityGroups"]],
                "DeleteOnTermination": True,
            }
        ],
        "BlockDeviceMappings": [_disk(mapping) for mapping in spec.get("blockDeviceMappings", [])],
        "IamInstanceProfile": {"Name": status["instanceProfile"]},
        "TagSpecifications": [
            {"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in kept.items()]}
            for kind, kept in (("instance", own), ("volume", tags))
        ],
    }
    if labels[_CAPACITY_TYPE] == instance_types.SPOT:
        request["InstanceMarketOptions"] = {"MarketType": "spot"}
    return request


def expected_resources(claim: Object, node_class: Object | None, overlays: Iterable[Object]) -> _Resources:
    """Capacity and allocatable of a NodeClaim: what the instance has, and what overlays make of it."""
    labels = claim["metadata"]["labels"]
    instance_type = contracts.instance_types()[labels[_INSTANCE_TYPE]]
    capacity, allocatable = nodes.resources(instance_type, _disk_gib(instance_type, node_class))
    extended = instance_types.extended_resources(instance_type)
    for overlay in sorted(overlays, key=lambda one: one["spec"].get("weight", 0)):
        if matches(overlay["spec"].get("requirements", []), labels):
            extended |= overlay["spec"].get("capacity", {})
    return {**capacity, **extended}, {**allocatable, **extended}


def node_resources(node: Object, node_class: Object | None, operator: Release | None) -> _Resources:
    """Capacity and allocatable of a node: what the instance has, and what the device plugin makes of its GPUs."""
    labels = node["metadata"]["labels"]
    instance_type = contracts.instance_types()[labels[_INSTANCE_TYPE]]
    capacity, allocatable = nodes.resources(instance_type, _disk_gib(instance_type, node_class))
    extended = gpu_resources(labels, instance_type, node_class, operator)
    return {**capacity, **extended}, {**allocatable, **extended}


def _running(world: World) -> Iterator[_Instance]:
    """Karpenter's instances that are not terminated."""
    filters = [
        {"Name": "tag-key", "Values": [_NODE_CLAIM_TAG]},
        {"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]},
    ]
    pages = world.aws.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    for page in pages:
        for group in page["Reservations"]:
            for one in group["Instances"]:
                yield _Instance(one["InstanceId"], {tag["Key"]: tag["Value"] for tag in one["Tags"]})


def _report(world: World, collection: str, obj: Object, capacity: _Amounts, allocatable: _Amounts) -> None:
    """Brings the resources in the status of a NodeClaim or a node to these; of GPUs nothing else is left."""
    changes = {}
    for key, wanted in (("capacity", capacity), ("allocatable", allocatable)):
        now = obj["status"].get(key, {})
        stale = [name for name in now if name.startswith(_GPU_PREFIX) and name not in wanted]
        if stale or any(quantity(now.get(name, "-1")) != quantity(amount) for name, amount in wanted.items()):
            changes[key] = {**wanted, **dict.fromkeys(stale)}
    if changes:
        world.kubernetes.patch(f"{place_of(collection, obj)}/status", {"status": changes})


def _take_startup_taints_away(world: World, claim: Object, node: Object) -> None:
    """Whoever set a startup taint takes it away once it is at work on the node; no daemon works here."""
    if _REGISTERED not in node["metadata"]["labels"]:
        return
    startup = {(one["key"], one["effect"]) for one in claim["spec"].get("startupTaints", [])}
    taints = node["spec"].get("taints", [])
    kept = [one for one in taints if (one["key"], one["effect"]) not in startup]
    if kept != taints:
        unchanged = {"resourceVersion": node["metadata"]["resourceVersion"]}
        world.kubernetes.patch(place_of(NODES, node), {"metadata": unchanged, "spec": {"taints": kept}})


def _disk_gib(instance_type: InstanceType, node_class: Object | None) -> int:
    """GiB of the disk for images, containers and emptyDirs.

    With RAID0 that is the instance's own disks, where it has some; else the last of the class's volumes, as
    Bottlerocket's system is first.
    """
    spec = node_class["spec"] if node_class else {}
    if spec.get("instanceStorePolicy") == _OWN_DISKS and instance_type.nvme_gb:
        return instance_type.nvme_gb * _GB // _GIB
    mappings = spec.get("blockDeviceMappings", [])
    return _gib(mappings[-1]["ebs"]["volumeSize"]) if mappings else _DEFAULT_DISK_GIB


def _disk(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """A class's volume in EC2's words."""
    ebs = mapping["ebs"]
    names = {"volumeType": "VolumeType", "encrypted": "Encrypted", "iops": "Iops", "throughput": "Throughput"}
    described = {ec2: ebs[name] for name, ec2 in names.items() if name in ebs}
    size = _gib(ebs["volumeSize"])
    return {
        "DeviceName": mapping["deviceName"],
        "Ebs": {**described, "VolumeSize": size, "DeleteOnTermination": ebs.get("deleteOnTermination", True)},
    }


def _gib(size: str) -> int:
    return round(quantity(size) / _GIB)
