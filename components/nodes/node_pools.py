"""Node pools: what Karpenter may buy, for which pods, how much, and when it may remove it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.ground.network import DISCOVERY_TAG
from components.nodes.gpu_sharing import node_labels, node_overlays
from components.nodes.user_data import user_data
from settings.language.values import seconds
from settings.pools.labels import POOL_LABEL

if TYPE_CHECKING:
    from settings import NodePool
    from settings.pools.disruption import Budget
    from settings.pools.labels import Taint


# EC2's names of architectures, and Kubernetes' names for them.
ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
# Bottlerocket has its system on one volume, and images and containers on another, which is the pool's root volume.
ROOT_DEVICES = {"AL2023": "/dev/xvda", "Bottlerocket": "/dev/xvdb"}
BOTTLEROCKET_SYSTEM_DEVICE = "/dev/xvda"
BOTTLEROCKET_SYSTEM_SIZE = 4

# Karpenter's own default, which applies only if a NodePool has no budgets.
DEFAULT_BUDGET = {"nodes": "10%"}
NO_DRIFT = {"nodes": "0", "reasons": ["Drifted"]}

# Seconds that a pool's deletion may take after its nodes' terminationGracePeriod: EC2 has to terminate the instances.
DELETION_MARGIN = 15 * 60


@dataclass(frozen=True, kw_only=True)
class NodePoolsArgs:
    """What the pools are made from.

    `pools` are the stack file's, by name. Nodes get `node_role_name`, or `instance_profile_name` if Karpenter cannot
    reach IAM to make a profile. `tags` are those of instances and volumes; a changed value replaces every node.
    """

    cluster_name: pulumi.Input[str]
    pools: Mapping[str, NodePool]
    node_role_name: pulumi.Input[str]
    instance_profile_name: pulumi.Input[str] | None = None
    tags: Mapping[str, str]


class NodePools(pulumi.ComponentResource):
    """An EC2NodeClass and a NodePool of the same name for each pool, with NodeOverlays for shared GPUs.

    A pool is deleted in the foreground: it is gone when its last node is. So the order of a destroy also holds for
    instances, which Pulumi does not know.
    """

    node_pools: dict[str, kubernetes.apiextensions.CustomResource]

    def __init__(self, name: str, args: NodePoolsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:NodePools", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        # First, so that the first nodes' volumes are restored at full speed already.
        fast_restores = [
            aws.ebs.FastSnapshotRestore(
                f"{name}-{snapshot}-{zone}", snapshot_id=snapshot, availability_zone=zone, opts=child
            )
            for snapshot, zone in fast_restored(args.pools)
        ]
        self.node_pools = {}
        for pool_name, pool in args.pools.items():
            overlays = [
                kubernetes.apiextensions.CustomResource(
                    f"{name}-{overlay_name}-gpus",
                    api_version="karpenter.sh/v1alpha1",
                    kind="NodeOverlay",
                    metadata={"name": overlay_name},
                    spec=spec,
                    opts=child,
                )
                for overlay_name, spec in node_overlays(pool_name, pool).items()
            ]
            node_class = kubernetes.apiextensions.CustomResource(
                f"{name}-{pool_name}-class",
                api_version="karpenter.k8s.aws/v1",
                kind="EC2NodeClass",
                metadata={"name": pool_name},
                spec=ec2_node_class_spec(
                    pool,
                    cluster_name=args.cluster_name,
                    node_role_name=args.node_role_name,
                    instance_profile_name=args.instance_profile_name,
                    tags=args.tags,
                ),
                opts=child,
            )
            self.node_pools[pool_name] = kubernetes.apiextensions.CustomResource(
                f"{name}-{pool_name}",
                api_version="karpenter.sh/v1",
                kind="NodePool",
                metadata={
                    "name": pool_name,
                    "annotations": {
                        "pulumi.com/deletionPropagationPolicy": "foreground",
                        # Overwrites a limit that was changed by hand, or while a lab was parked (ci/parking.py).
                        "pulumi.com/patchForce": "true",
                    },
                },
                spec=node_pool_spec(pool_name, pool),
                opts=pulumi.ResourceOptions(
                    parent=self,
                    # Karpenter does not delete a class that a node still uses, so the pool must be deleted first. And
                    # it must know an instance's shares before it buys the instance.
                    depends_on=[node_class, *overlays, *fast_restores],
                    custom_timeouts=pulumi.CustomTimeouts(delete=deletion_timeout(pool)),
                ),
            )
        self.register_outputs({"node_pools": list(self.node_pools)})


def node_pool_spec(name: str, pool: NodePool) -> dict[str, Any]:
    """The `spec` of a NodePool (karpenter.sh/v1) whose EC2NodeClass has the same name."""
    template: dict[str, Any] = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": name},
        "requirements": requirements(pool),
        "expireAfter": pool.expire_after,
        "terminationGracePeriod": pool.termination_grace_period,
    }
    taints = [_taint(taint) for taint in pool.node_taints]
    if taints:
        template["taints"] = taints
    if pool.startup_taints:
        template["startupTaints"] = [_taint(taint) for taint in pool.startup_taints]
    spec: dict[str, Any] = {
        "template": {
            "metadata": {"labels": {**pool.labels, **node_labels(name, pool), POOL_LABEL: name}},
            "spec": template,
        },
        "limits": pool.together,
        "disruption": {
            "consolidationPolicy": pool.consolidation.policy,
            "consolidateAfter": pool.consolidation.after,
            "budgets": disruption_budgets(pool),
        },
    }
    if pool.weight is not None:
        spec["weight"] = pool.weight
    return spec


def requirements(pool: NodePool) -> list[dict[str, Any]]:
    """Which instances a pool may buy, as requirements on Karpenter's well-known labels.

    They name the catalogue's families, so that Karpenter does not buy one that the platform does not know: a node whose
    image has no driver for its GPUs does not register them, never gets ready, and costs money until it expires. If
    `max_price` excludes types of these families, a GPU pool names the remaining types, because they are few; a CPU pool
    names the excluded ones.

    A CPU pool excludes every type with a GPU: only GPU pools buy those, under their GPU limit. A GPU pool accepts only
    NVIDIA's, because its taint and its limit are in `nvidia.com/gpu`.
    """
    found: list[dict[str, Any]] = []

    def require(key: str, operator: str, *values: str) -> None:
        found.append({"key": key, "operator": operator, **({"values": list(values)} if values else {})})

    require("kubernetes.io/os", "In", "linux")
    require("kubernetes.io/arch", "In", *(ARCHITECTURES[architecture] for architecture in pool.architectures))
    require("karpenter.sh/capacity-type", "In", *pool.capacity_types)
    types = {instance_type.name for instance_type in pool.instance_types}
    require(
        "karpenter.k8s.aws/instance-family",
        "In",
        *sorted({instance_type.family for instance_type in pool.instance_types}),
    )
    if too_dear := {instance_type.name for instance_type in pool.at_any_price.instance_types} - types:
        operator, names = ("In", types) if pool.is_gpu else ("NotIn", too_dear)
        require("node.kubernetes.io/instance-type", operator, *sorted(names))
    if pool.sizes:
        require("karpenter.k8s.aws/instance-size", "In", *pool.sizes)
    if pool.zones:
        require("topology.kubernetes.io/zone", "In", *pool.zones)
    if pool.gpus is None:
        require("karpenter.k8s.aws/instance-gpu-count", "DoesNotExist")
    else:
        require("karpenter.k8s.aws/instance-gpu-manufacturer", "In", "nvidia")
        require("karpenter.k8s.aws/instance-gpu-count", "Gt", str(pool.gpus.min - 1))
        require("karpenter.k8s.aws/instance-gpu-count", "Lt", str(pool.gpus.max + 1))
    return found


def fast_restored(pools: Mapping[str, NodePool]) -> list[tuple[str, str]]:
    """The snapshots to restore at full speed, each with a zone. Pools may share a snapshot."""
    found = {
        (cache.snapshot_id, zone)
        for pool in pools.values()
        for zone in pool.zones
        if (cache := pool.gpu.image_cache) and cache.fast_restore and cache.snapshot_id
    }
    return sorted(found)


def disruption_budgets(pool: NodePool) -> list[dict[str, Any]]:
    """The stack file's budgets, and budgets that forbid replacing drifted nodes outside the maintenance window.

    Drift (a newer AMI, a changed class) ends even pods with `do-not-disrupt` after the pool's `terminationGracePeriod`.
    So it waits for the window; in a GPU pool without a window it waits forever. A budget cannot permit anything,
    because the strictest active budget counts (Karpenter, "Disruption", "NodePool Disruption Budgets"). So there are
    budgets for the rest of the week, which leave the window open.
    """
    budgets = [_budget(budget) for budget in pool.budgets] or [DEFAULT_BUDGET]
    if pool.maintenance_window is not None:
        closed = pool.maintenance_window.closed_times
        return [*budgets, *({**NO_DRIFT, "schedule": start, "duration": duration} for start, duration in closed)]
    return [*budgets, NO_DRIFT] if pool.is_gpu else budgets


def ec2_node_class_spec(
    pool: NodePool,
    *,
    cluster_name: pulumi.Input[str],
    node_role_name: pulumi.Input[str],
    instance_profile_name: pulumi.Input[str] | None = None,
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """The `spec` of an EC2NodeClass (karpenter.k8s.aws/v1).

    It finds subnets and the security group by their discovery tag, so it uses a new zone of the network at once.
    """
    discovered = [{"tags": {DISCOVERY_TAG: cluster_name}}]
    spec: dict[str, Any] = {
        "amiSelectorTerms": [{"alias": pool.ami.alias}],
        "subnetSelectorTerms": discovered,
        "securityGroupSelectorTerms": discovered,
        "blockDeviceMappings": block_device_mappings(pool),
        # One hop reaches only the node: pods get credentials from Pod Identity, and never the node's.
        "metadataOptions": {
            "httpEndpoint": "enabled",
            "httpProtocolIPv6": "disabled",
            "httpPutResponseHopLimit": 1,
            "httpTokens": "required",
        },
        "tags": dict(tags),
    }
    if instance_profile_name is None:
        spec["role"] = node_role_name
    else:
        spec["instanceProfile"] = instance_profile_name
    if data := user_data(pool):
        spec["userData"] = data
    if uses_own_disks(pool):
        spec["instanceStorePolicy"] = "RAID0"
    if pool.capacity_reservations:
        spec["capacityReservationSelectorTerms"] = [{"id": reservation} for reservation in pool.capacity_reservations]
    return spec


def uses_own_disks(pool: NodePool) -> bool:
    """Whether nodes keep images, logs and emptyDirs (scratch too) on the instance's own NVMe disks, if it has any.

    Images from a snapshot are on the data volume, which the NVMe disks would hide.
    """
    cache = pool.gpu.image_cache
    from_snapshot = cache is not None and cache.method == "snapshot"
    return not from_snapshot and any(instance_type.nvme_gb for instance_type in pool.instance_types)


def block_device_mappings(pool: NodePool) -> list[dict[str, Any]]:
    """The volumes of a pool's nodes, all gp3, encrypted, and deleted with the instance."""
    volume = pool.root_volume
    mappings = [_gp3(ROOT_DEVICES[pool.ami.family], volume.size, iops=volume.iops, throughput=volume.throughput)]
    if pool.gpu.image_cache and pool.gpu.image_cache.snapshot_id:
        mappings[0]["ebs"]["snapshotID"] = pool.gpu.image_cache.snapshot_id
    if pool.ami.family == "Bottlerocket":
        mappings.insert(0, _gp3(BOTTLEROCKET_SYSTEM_DEVICE, BOTTLEROCKET_SYSTEM_SIZE))
    return mappings


def deletion_timeout(pool: NodePool) -> str:
    """How long Pulumi waits for the deletion of a pool and its nodes, as a Go duration."""
    return f"{seconds(pool.termination_grace_period) + DELETION_MARGIN}s"


def _gp3(device: str, size: int, *, iops: int | None = None, throughput: int | None = None) -> dict[str, Any]:
    """An encrypted gp3 volume of `size` GiB; without `iops` and `throughput` (MiB/s) at gp3's baseline."""
    ebs: dict[str, Any] = {
        "volumeType": "gp3",
        "volumeSize": f"{size}Gi",
        "encrypted": True,
        "deleteOnTermination": True,
    }
    if iops is not None:
        ebs["iops"] = iops
    if throughput is not None:
        ebs["throughput"] = throughput
    return {"deviceName": device, "ebs": ebs}


def _taint(taint: Taint) -> dict[str, str]:
    return taint.model_dump(exclude_none=True)


def _budget(budget: Budget) -> dict[str, Any]:
    # No reasons means all reasons: an empty list in the stack file, a missing field in Karpenter.
    return {key: value for key, value in budget.model_dump(mode="json").items() if value}
