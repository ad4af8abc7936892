"""The kubelets of Karpenter's instances, and what removes the node of an instance that is gone.

A node registers as its instance's user data says, with what such an instance has: less memory than EC2 names, as the
hypervisor keeps some of it, and of its GPUs what the device plugin makes of them. The NodeClaim says what Karpenter
expected. On AWS the cloud controller manager removes nodes; KWOK keeps them ready and runs their pods, unless they have
kubelets of their own (`rehearsal.node.instances`).
"""

from __future__ import annotations

import base64
import logging
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import contracts
from contracts import InstanceType
from contracts.quantities import amount
from rehearsal.cloud import amis, nodes
from rehearsal.controllers import user_data
from rehearsal.controllers.device_plugins import CHART as GPU_OPERATOR
from rehearsal.controllers.device_plugins import gpu_resources, report_gpus
from rehearsal.controllers.passing_time import NODE_POOL_LABEL
from rehearsal.controllers.user_data import NodeSetup
from rehearsal.controllers.world import NODE_CLAIMS, NODES, Object, World, place_of
from settings.pools.allocatable import EVICTION_MIB, MEMORY_OVERHEAD, reserved_mib, reserved_millicores

_LOG = logging.getLogger("controllers.kubelets")
_INSTANCE_TYPE = "node.kubernetes.io/instance-type"
_REGISTERED = "karpenter.sh/registered"
_LIVE = ["pending", "running", "stopping", "stopped"]
# Arm machines keep so many MiB more.
_ARM_MIB = 64
_DEFAULT_DISK_GIB = 20
_VERSION = re.compile(r"-(1\.[0-9]+)-")


@dataclass(frozen=True)
class _Machine:
    """What never changes of an instance. `image` is the alias of its image, `disk` the size of the pods' volume."""

    instance_type: InstanceType
    image: str
    version: str
    user_data: str
    setup: NodeSetup
    disk: str


class Kubelets:
    """Makes and removes the nodes of Karpenter's instances, at any time: Karpenter may be gone."""

    def __init__(self) -> None:
        self._machines: dict[str, _Machine] = {}

    def reconcile(self, world: World) -> None:
        """Registers instances that are new, removes nodes without one, and reports what nodes have."""
        claims = world.listed(NODE_CLAIMS)
        registered = {
            one["spec"]["providerID"].rpartition("/")[2]: one
            for one in world.listed(NODES)
            if NODE_POOL_LABEL in one["metadata"].get("labels", {}) and "providerID" in one["spec"]
        }
        if not claims and not registered:
            return
        running = {one["InstanceId"]: one for one in _running(world)}
        self._machines = {id: known for id, known in self._machines.items() if id in running}
        operator = world.deployed(GPU_OPERATOR)
        startup = {
            one["status"]["providerID"].rpartition("/")[2]: one["spec"].get("startupTaints", [])
            for one in claims
            if one.get("status", {}).get("providerID")
        }
        for id, instance in running.items():
            if id not in self._machines:
                self._machines[id] = _machine(world, instance)
            machine = self._machines[id]
            if id not in registered:
                made = node(instance, machine)
                world.kubernetes.create(place_of(NODES, made), made)
                _LOG.info("%s registers as %s", id, made["metadata"]["name"])
                continue
            live = registered[id]
            labels = live["metadata"]["labels"]
            if not nodes.are_real():
                gpus = gpu_resources(labels, machine.instance_type, machine.image, machine.user_data, operator)
                report_gpus(world, live, gpus)
            _take_startup_taints_away(world, live, startup.get(id, []))
        for id in registered.keys() - running.keys():
            if "deletionTimestamp" not in registered[id]["metadata"]:
                world.kubernetes.delete(place_of(NODES, registered[id]))
                _LOG.info("%s is gone, and so is its node", id)


def node(instance: Mapping[str, Any], machine: _Machine) -> Object:
    """The Node as kubelet registers it."""
    capacity, allocatable = resources(machine.instance_type, machine.setup, machine.disk)
    system = "Bottlerocket OS" if machine.image.startswith("bottlerocket") else "Amazon Linux 2023"
    return nodes.manifest(
        name=instance["PrivateDnsName"],
        instance_id=instance["InstanceId"],
        instance_type=machine.instance_type,
        zone=instance["Placement"]["AvailabilityZone"],
        private_ip=instance["PrivateIpAddress"],
        version=machine.version,
        labels=machine.setup.labels,
        taints=[dict(one) for one in machine.setup.taints],
        resources=(capacity, allocatable),
        system=system,
    )


def resources(instance_type: InstanceType, setup: NodeSetup, disk: str) -> tuple[dict[str, str], dict[str, str]]:
    """Capacity, and what is allocatable to pods, with as much memory as Karpenter expects before it has seen one."""
    memory = instance_type.memory_mib - (_ARM_MIB if instance_type.arch == "arm64" else 0)
    memory -= math.ceil(memory * MEMORY_OVERHEAD)
    capacity = {
        "cpu": str(instance_type.vcpu),
        "memory": f"{memory}Mi",
        "pods": str(setup.max_pods or instance_type.max_pods_eni),
        "ephemeral-storage": disk,
    }
    reserved = {
        "cpu": f"{reserved_millicores(instance_type)}m",
        "memory": f"{reserved_mib(instance_type) - EVICTION_MIB}Mi",
        **(setup.reserved or {}),
    }
    cpu, left = (amount(capacity[name]) - amount(reserved[name]) for name in ("cpu", "memory"))
    return capacity, {**capacity, "cpu": f"{int(cpu * 1000)}m", "memory": str(int(left - EVICTION_MIB * 1024**2))}


def _running(world: World) -> Iterator[Mapping[str, Any]]:
    """Karpenter's instances that are not terminated."""
    filters = [{"Name": "tag-key", "Values": [NODE_POOL_LABEL]}, {"Name": "instance-state-name", "Values": _LIVE}]
    pages = world.aws.client("ec2").get_paginator("describe_instances").paginate(Filters=filters)
    return (one for page in pages for group in page["Reservations"] for one in group["Instances"])


def _machine(world: World, instance: Mapping[str, Any]) -> _Machine:
    ec2, id = world.aws.client("ec2"), instance["InstanceId"]
    given = ec2.describe_instance_attribute(InstanceId=id, Attribute="userData")["UserData"].get("Value", "")
    text = base64.b64decode(given).decode()
    setup, instance_type = user_data.read(text), contracts.instance_types()[instance["InstanceType"]]
    (image,) = ec2.describe_images(ImageIds=[instance["ImageId"]])["Images"]
    version = _VERSION.search(image["Name"])
    return _Machine(
        instance_type=instance_type,
        image=amis.alias(image["Name"]),
        version=version[1] if version else "",
        user_data=text,
        setup=setup,
        disk=_disk(world, instance, instance_type, setup),
    )


def _disk(world: World, instance: Mapping[str, Any], instance_type: InstanceType, setup: NodeSetup) -> str:
    """The disk for images, containers and emptyDirs: the instance's own, or its last volume (Bottlerocket has two)."""
    if setup.own_disks and instance_type.nvme_gb:
        return f"{instance_type.nvme_gb}G"
    mappings = sorted(instance["BlockDeviceMappings"], key=lambda one: one["DeviceName"])
    if not mappings:
        return f"{_DEFAULT_DISK_GIB}Gi"
    ids = [mappings[-1]["Ebs"]["VolumeId"]]
    return f"{world.aws.client('ec2').describe_volumes(VolumeIds=ids)['Volumes'][0]['Size']}Gi"


def _take_startup_taints_away(world: World, live: Object, startup: list[Mapping[str, str]]) -> None:
    """Whoever set a startup taint takes it away once it is at work on the node; no daemon works here."""
    if _REGISTERED not in live["metadata"]["labels"]:
        return
    passing = {(one["key"], one["effect"]) for one in startup}
    taints = live["spec"].get("taints", [])
    kept = [one for one in taints if (one["key"], one["effect"]) not in passing]
    if kept != taints:
        unchanged = {"resourceVersion": live["metadata"]["resourceVersion"]}
        world.kubernetes.patch(place_of(NODES, live), {"metadata": unchanged, "spec": {"taints": kept}})
