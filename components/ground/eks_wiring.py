"""What each part of the EKS ground gets: of the stack file, of AWS, and of the parts before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.ground.cluster import Cluster, ClusterArgs
from components.ground.example_values import is_rehearsed
from components.ground.network import Network, NetworkArgs
from components.ground.reach import Reach
from components.ground.system_nodes import SYSTEM_NODES
from components.identity.keycloak import NAMESPACE
from components.ingress.certificate import Certificate, CertificateArgs
from components.ingress.controller import LoadBalancerController, LoadBalancerControllerArgs
from components.ingress.ingress import IngressArgs
from components.ingress.load_balancer import LoadBalancer, LoadBalancerArgs
from components.ingress.published_service import PublishedService, wildcards
from components.nodes.gpu import GpuArgs
from components.nodes.karpenter import Karpenter, KarpenterArgs
from components.nodes.node_pools import NodePoolsArgs
from components.nodes.warm import WarmArgs
from components.storage.database_backups import DatabaseBackupsArgs
from components.storage.databases import EksDatabases
from components.storage.storage import Storage, StorageArgs
from components.teams.buckets import PodIdentityBuckets
from settings.network import SERVICE_RANGES

if TYPE_CHECKING:
    from components.ingress.hosted_zone import HostedZone
    from settings import EksSettings

LAB_KEY_DELETION_DAYS = 7
PRODUCTION_KEY_DELETION_DAYS = 30


@dataclass(frozen=True)
class EksWiring:
    """The args of the ground's parts. `caller` is the identity that runs the program, in its account."""

    settings: EksSettings
    caller: aws.GetCallerIdentityResult
    partition: pulumi.Output[str]

    @property
    def production(self) -> bool:
        """Whether the stack is for production."""
        return self.settings.lifecycle.kind == "production"

    @property
    def key_deletion_days(self) -> int:
        """Days in which the deletion of a key can be cancelled."""
        return PRODUCTION_KEY_DELETION_DAYS if self.production else LAB_KEY_DELETION_DAYS

    def network(self) -> NetworkArgs:
        """Of the stack file only."""
        settings = self.settings
        return NetworkArgs(
            cluster_name=settings.cluster.name,
            region=settings.region,
            settings=settings.network,
            volume_tags=settings.node_tags,
        )

    def load_balancer(self, network: Network) -> LoadBalancerArgs:
        """The load balancer is in private subnets if it is internal, else in public ones."""
        settings = self.settings
        return LoadBalancerArgs(
            cluster_name=settings.cluster.name,
            settings=settings.ingress,
            vpc_id=network.vpc_id,
            subnet_ids=(
                network.private_subnet_ids if settings.ingress.access == "internal" else network.public_subnet_ids
            ),
            account_id=self.caller.account_id,
            deletion_protection=settings.lifecycle.protects,
        )

    def cluster(
        self, network: Network, *, control_plane_zones: Sequence[str], nodes_after: Sequence[pulumi.Resource]
    ) -> ClusterArgs:
        """The control plane goes to the intra subnets of its zones, the nodes to the private subnets."""
        settings = self.settings
        return ClusterArgs(
            settings=settings.cluster,
            region=settings.region,
            partition=self.partition,
            caller_arn=self.caller.arn,
            vpc_id=network.vpc_id,
            control_plane_subnet_ids=[
                subnet_id
                for zone, subnet_id in zip(settings.network.zones, network.intra_subnet_ids, strict=True)
                if zone in control_plane_zones
            ],
            node_subnet_ids=network.private_subnet_ids,
            prefix_delegation=settings.network.prefix_delegation,
            key_deletion_window_days=self.key_deletion_days,
            protect=settings.lifecycle.protects,
            deletion_protection=settings.lifecycle.protects,
            node_tags=settings.node_tags,
            rehearsed=is_rehearsed(self.caller.account_id),
            nodes_after=nodes_after,
        )

    def storage(
        self, network: Network, cluster: Cluster, *, controllers_after: Sequence[pulumi.Resource]
    ) -> StorageArgs:
        """Nodes reach the file system in each zone of the network."""
        settings = self.settings
        return StorageArgs(
            cluster_name=settings.cluster.name,
            kubernetes_version=settings.cluster.version,
            cluster_arn=cluster.cluster_arn,
            partition=self.partition,
            account_id=self.caller.account_id,
            vpc_id=network.vpc_id,
            subnet_ids=network.private_subnet_ids,
            zones=settings.network.zones,
            node_security_group_id=cluster.security_group_id,
            controllers_after=controllers_after,
            settings=settings.storage,
            volume_tags=settings.node_tags,
            key_deletion_window_days=self.key_deletion_days,
            force_destroy=not self.production,
            protect=settings.lifecycle.protects,
        )

    def karpenter(self, cluster: Cluster, *, controller_after: Sequence[pulumi.Resource]) -> KarpenterArgs:
        """Without a NAT gateway or NAT instance, the VPC is isolated."""
        settings = self.settings
        return KarpenterArgs(
            cluster_name=cluster.cluster_name,
            cluster_endpoint=cluster.endpoint,
            region=settings.region,
            partition=self.partition,
            account_id=self.caller.account_id,
            charts=settings.charts,
            isolated_vpc=settings.network.nat == "none",
            replicas=settings.lifecycle.karpenters,
            controller_after=controller_after,
        )

    def node_pools(self, cluster: Cluster, karpenter: Karpenter) -> NodePoolsArgs:
        """The nodes get the role that the Karpenter component makes."""
        return NodePoolsArgs(
            cluster_name=cluster.cluster_name,
            pools=self.settings.node_pools,
            node_role_name=karpenter.node_role_name,
            instance_profile_name=karpenter.instance_profile_name,
            tags=self.settings.node_tags,
        )

    def gpu(self) -> GpuArgs:
        """Of the stack file, and off the nodes of pools."""
        return GpuArgs(
            pools=self.settings.node_pools,
            placement=SYSTEM_NODES,
            charts=self.settings.charts,
            by_digest=self.production,
        )

    def warm(self) -> WarmArgs:
        """Of the stack file only."""
        return WarmArgs(pools=self.settings.node_pools, by_digest=self.production)

    def pulling_roles(self, cluster: Cluster, karpenter: Karpenter) -> Mapping[str, pulumi.Input[str]]:
        """The roles of the nodes that pull images, by the nodes' purpose."""
        return {"system": cluster.system_role_name, "pools": karpenter.node_role_name}

    def certificate(self, zone: HostedZone, published: Sequence[PublishedService]) -> CertificateArgs:
        """The certificate of the domain and of all names one level below it."""
        return CertificateArgs(domain=zone.domain, zone_id=zone.zone_id, wildcards=wildcards(published))

    def load_balancer_controller(
        self, network: Network, cluster: Cluster, *, controller_after: Sequence[pulumi.Resource]
    ) -> LoadBalancerControllerArgs:
        """It finds targets in the cluster, and registers them in the VPC."""
        return LoadBalancerControllerArgs(
            cluster_name=cluster.cluster_name,
            cluster_arn=cluster.cluster_arn,
            region=self.settings.region,
            partition=self.partition,
            vpc_id=network.vpc_id,
            by_digest=self.production,
            charts=self.settings.charts,
            controller_after=controller_after,
        )

    def ingress(
        self,
        zone: HostedZone,
        certificate: Certificate,
        load_balancer: LoadBalancer,
        controller: LoadBalancerController,
        network: Network,
        cluster: Cluster,
        published: Sequence[PublishedService],
    ) -> IngressArgs:
        """Requests go from the load balancer to pods on the nodes."""
        return IngressArgs(
            settings=self.settings.ingress,
            domain=zone.domain,
            zone_id=zone.zone_id,
            certificate_arn=certificate.certificate_arn,
            load_balancer=load_balancer,
            vpc_id=network.vpc_id,
            node_security_group_id=cluster.security_group_id,
            controller=controller.release,
            published=published,
        )

    def reach(self) -> Reach:
        """Nodes, pods and the control plane are in the VPC."""
        network = self.settings.network
        return Reach(
            cluster_cidr=network.cidr,
            api_server_cidrs=(network.cidr, *SERVICE_RANGES),
            endpoint_cidrs=network.endpoint_cidrs,
        )

    def buckets(self, cluster: Cluster) -> PodIdentityBuckets:
        """Amazon S3, by roles of the cluster's pods."""
        return PodIdentityBuckets(
            cluster_label=self.settings.cluster.name,
            cluster_name=cluster.cluster_name,
            cluster_arn=cluster.cluster_arn,
            partition=self.partition,
        )

    def databases(self, network: Network, cluster: Cluster, storage: Storage) -> EksDatabases:
        """On RDS or in the cluster, for the nodes only."""
        settings = self.settings
        return EksDatabases(
            cluster_name=settings.cluster.name,
            vpc_id=network.vpc_id,
            subnet_ids=network.intra_subnet_ids,
            node_security_group_id=cluster.security_group_id,
            placement=SYSTEM_NODES,
            production=self.production,
            protect=settings.lifecycle.protects,
            backups=self._database_backups(cluster, storage),
            charts=settings.charts,
        )

    def _database_backups(self, cluster: Cluster, storage: Storage) -> DatabaseBackupsArgs | None:
        """Backups of Keycloak's database where it is in the cluster; RDS has its own."""
        settings, backup = self.settings, self.settings.storage.backup
        if not backup.enabled:
            return None
        return DatabaseBackupsArgs(
            cluster_name=cluster.cluster_name,
            cluster_arn=cluster.cluster_arn,
            namespace=NAMESPACE,
            region=settings.region,
            key_arn=storage.key_arn,
            schedule=backup.schedule,
            retention_days=backup.retention_days,
            retain=settings.storage.retain,
            protect=settings.lifecycle.protects,
        )
