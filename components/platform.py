"""The platform: every component, wired together. Read it as the table of contents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.cluster import CONTROL_PLANE_ZONES, Cluster, ClusterArgs, SystemNodesArgs
from components.karpenter import Karpenter, KarpenterArgs
from components.network import Network, NetworkArgs
from components.node_pools import NodePools, NodePoolsArgs

if TYPE_CHECKING:
    from settings import Settings

LAB_KEY_DELETION_DAYS = 7
PRODUCTION_KEY_DELETION_DAYS = 30


class Platform(pulumi.ComponentResource):
    """All that one stack file describes.

    Destruction runs from the bottom to the top: node pools go while Karpenter runs, Karpenter while the system nodes
    do, and the network goes last.
    """

    region: pulumi.Output[str]
    cluster_name: pulumi.Output[str]
    update_kubeconfig_command: pulumi.Output[str]

    def __init__(self, name: str, settings: Settings, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Platform", name, None, opts)
        aws_provider = aws.Provider(
            name,
            region=settings.region,
            default_tags={"tags": settings.resource_tags},
            opts=pulumi.ResourceOptions(parent=self),
        )
        on_aws = pulumi.ResourceOptions(parent=self, providers=[aws_provider])
        asked = pulumi.InvokeOptions(parent=self, provider=aws_provider)
        caller = aws.get_caller_identity_output(opts=asked)
        partition = aws.get_partition_output(opts=asked).partition
        flow_logs = settings.network.flow_logs
        production = settings.lifecycle.kind == "production"

        network = Network(
            name,
            NetworkArgs(
                cluster_name=settings.cluster.name,
                region=settings.region,
                cidr=settings.network.cidr,
                zones=settings.network.zones,
                nat=settings.network.nat,
                interface_endpoints=settings.network.endpoints,
                flow_logs_retention_days=flow_logs.retention_days if flow_logs.enabled else None,
            ),
            opts=on_aws,
        )
        cluster = Cluster(
            name,
            ClusterArgs(
                cluster_name=settings.cluster.name,
                version=settings.cluster.version,
                region=settings.region,
                partition=partition,
                caller_arn=caller.arn,
                vpc_id=network.vpc_id,
                control_plane_subnet_ids=network.intra_subnet_ids[:CONTROL_PLANE_ZONES],
                node_subnet_ids=network.private_subnet_ids,
                administrators=settings.cluster.administrators,
                viewers=settings.cluster.viewers,
                public_cidrs=settings.cluster.endpoint.public_cidrs,
                log_retention_days=settings.cluster.log_retention_days,
                system_nodes=SystemNodesArgs(
                    instance_types=settings.cluster.system_nodes.instance_types,
                    count=settings.cluster.system_nodes.count,
                    volume_size=settings.cluster.system_nodes.volume_size,
                ),
                key_deletion_window_days=PRODUCTION_KEY_DELETION_DAYS if production else LAB_KEY_DELETION_DAYS,
                protect=settings.lifecycle.protects,
                deletion_protection=settings.lifecycle.protects,
                node_tags=settings.node_tags,
            ),
            # Nodes reach the API by routes and endpoints that no output of the network stands for.
            opts=pulumi.ResourceOptions.merge(on_aws, pulumi.ResourceOptions(depends_on=[network])),
        )
        in_cluster = pulumi.ResourceOptions(parent=self, providers=[aws_provider, cluster.provider])
        karpenter = Karpenter(
            f"{name}-karpenter",
            KarpenterArgs(
                cluster_name=cluster.cluster_name,
                cluster_endpoint=cluster.endpoint,
                region=settings.region,
                partition=partition,
                account_id=caller.account_id,
                charts=settings.charts,
                isolated_vpc=settings.network.nat == "none",
            ),
            # Its pods run on the system nodes, resolve names and get their role's credentials there.
            opts=pulumi.ResourceOptions.merge(in_cluster, pulumi.ResourceOptions(depends_on=[cluster])),
        )
        NodePools(
            f"{name}-pools",
            NodePoolsArgs(
                cluster_name=cluster.cluster_name,
                pools=settings.node_pools,
                node_role_name=karpenter.node_role_name,
                instance_profile_name=karpenter.instance_profile_name,
                tags=settings.node_tags,
            ),
            # Only a running Karpenter takes a pool's nodes away.
            opts=pulumi.ResourceOptions.merge(in_cluster, pulumi.ResourceOptions(depends_on=[karpenter])),
        )

        self.region = pulumi.Output.from_input(settings.region)
        self.cluster_name = cluster.cluster_name
        self.update_kubeconfig_command = cluster.update_kubeconfig_command
        self.register_outputs(
            {
                "region": self.region,
                "cluster_name": self.cluster_name,
                "update_kubeconfig_command": self.update_kubeconfig_command,
            }
        )
