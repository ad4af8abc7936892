"""The system nodes: the managed node group on which the controllers run, and how a pod is placed on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks

import contracts
from components.ground.node_role import node_role
from components.ground.placement import Placement

if TYPE_CHECKING:
    from settings import Cluster

SYSTEM_TAINT = {"key": "CriticalAddonsOnly", "value": "true", "effect": "NoSchedule"}
SYSTEM_TOLERATION = {"key": SYSTEM_TAINT["key"], "operator": "Exists"}
SYSTEM_NODE_LABELS = {"gpulab.dev/system": "true"}
NODE_POOL_LABEL = "karpenter.sh/nodepool"

SYSTEM_NODES = Placement(
    node_selector=SYSTEM_NODE_LABELS,
    tolerations=[SYSTEM_TOLERATION],
    # Karpenter must not move such a pod to a cheaper node.
    annotations={"karpenter.sh/do-not-disrupt": "true"},
    # Karpenter's nodes come and go, so what the cluster always needs runs on other nodes.
    off_pools={
        "tolerations": [SYSTEM_TOLERATION],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": NODE_POOL_LABEL, "operator": "DoesNotExist"}]}]
                }
            }
        },
    },
)

AMI_TYPES = {"x86_64": "AL2023_x86_64_STANDARD", "arm64": "AL2023_ARM_64_STANDARD"}


def system_node_group(
    name: str,
    settings: Cluster,
    *,
    cluster: eks.Cluster,
    partition: pulumi.Input[str],
    subnet_ids: Sequence[pulumi.Input[str]],
    tags: Mapping[str, str],
    after: Sequence[pulumi.Resource],
    opts: pulumi.ResourceOptions,
) -> tuple[eks.ManagedNodeGroup, aws.iam.Role]:
    """The node group of CoreDNS, Karpenter and other controllers, made after `after`, and the role of its nodes.

    `tags` are those of instances and volumes. On spot, EC2 may take a node back; the group then starts another one
    and drains the first.
    """
    nodes = settings.system_nodes
    role, permissions = node_role(name, partition, opts)
    # Not `enable_imd_sv2`: that launch template has a hop limit of 2, with which pods reach the node's credentials.
    launch_template = aws.ec2.LaunchTemplate(
        name,
        metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
        block_device_mappings=[
            {
                "device_name": "/dev/xvda",
                "ebs": {
                    "volume_type": "gp3",
                    "volume_size": nodes.volume_size,
                    "encrypted": "true",
                    "delete_on_termination": "true",
                },
            }
        ],
        tag_specifications=[
            {"resource_type": kind, "tags": {"Name": f"{settings.name}-system", **tags}}
            for kind in ("instance", "volume", "network-interface")
        ],
        opts=opts,
    )
    group = eks.ManagedNodeGroup(
        name,
        cluster=cluster,
        version=settings.version,
        # EKS accepts a release if the launch template does not name an image. A new release replaces node by node.
        release_version=settings.node_release,
        ami_type=ami_type(nodes.instance_types),
        instance_types=list(nodes.instance_types),
        # Left out for on-demand, which is EKS's default: setting it would replace an existing group.
        capacity_type="SPOT" if nodes.capacity_type == "spot" else None,
        node_role_arn=role.arn,
        # As many zones as nodes, so that each zone has a node: a pod with a disk must stay in its zone.
        subnet_ids=subnet_ids[: nodes.count],
        # No autoscaler moves the group, so no size is left out of the comparison; EKS replaces one node at a time.
        scaling_config={"min_size": nodes.count, "desired_size": nodes.count, "max_size": nodes.count},
        launch_template={
            "id": launch_template.id,
            "version": launch_template.latest_version.apply(str),
        },
        labels=SYSTEM_NODE_LABELS,
        taints=[{"key": SYSTEM_TAINT["key"], "value": SYSTEM_TAINT["value"], "effect": "NO_SCHEDULE"}],
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[cluster, *after, *permissions])),
    )
    return group, role


def ami_type(instance_types: Sequence[str]) -> str:
    """EKS's name for the Amazon Linux 2023 image of instance types that share one architecture."""
    (architecture,) = {contracts.instance_types()[instance_type].arch for instance_type in instance_types}
    return AMI_TYPES[architecture]
