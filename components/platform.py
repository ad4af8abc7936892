"""The platform: every component, wired together. Read it as the table of contents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components import quota_preflight
from components.certificate import Certificate, CertificateArgs
from components.cluster import Cluster, ClusterArgs, SystemNodesArgs
from components.cluster_sign_in import ClusterSignIn, ClusterSignInArgs
from components.database import RdsDatabase
from components.database_backups import database_backups
from components.gpu import Gpu, GpuArgs
from components.hosted_zone import HostedZone, find_hosted_zone
from components.identity import Identity, IdentityArgs
from components.image_cache import image_caches
from components.ingress import Ingress, IngressArgs
from components.jupyterhub import Hub, HubArgs, database_args
from components.karpenter import Karpenter, KarpenterArgs
from components.load_balancer import LoadBalancer, LoadBalancerArgs
from components.load_balancer_controller import LoadBalancerController, LoadBalancerControllerArgs
from components.network import Network, NetworkArgs
from components.node_pools import NodePools, NodePoolsArgs
from components.placeholders import is_rehearsed, require_own_values
from components.published_service import PublishedService, port_forward_commands
from components.reach import require_no_cluster
from components.realm import Addresses
from components.realm_clients import HUB_CLIENT
from components.realm_providers import directory_groups
from components.storage import Storage, StorageArgs
from components.team import SharedArgs
from components.teams import Teams, TeamsArgs
from components.volume_gate import VolumeGate
from components.warm import Warm, WarmArgs
from components.zones import control_plane_zones

if TYPE_CHECKING:
    from settings import Ingress as IngressSettings
    from settings import Settings

LAB_KEY_DELETION_DAYS = 7
PRODUCTION_KEY_DELETION_DAYS = 30


class Platform(pulumi.ComponentResource):
    """All that one stack file describes.

    Destruction runs from the bottom to the top: what makes claims goes first, then the gate waits for their volumes;
    node pools go while Karpenter runs, Karpenter and its nodes while the CSI drivers run, these while the system nodes
    do; then the cluster, the load balancer, and last the network.
    """

    aws_provider: aws.Provider
    kubernetes_provider: kubernetes.Provider
    volume_gate: VolumeGate
    """Whatever makes claims depends on it."""
    file_system_id: pulumi.Output[str]
    retained: dict[str, pulumi.Output[str]]
    """What a destroy keeps: how AWS names it."""
    region: pulumi.Output[str]
    cluster_name: pulumi.Output[str]
    update_kubeconfig_command: pulumi.Output[str]
    urls: dict[str, str]
    """Where users find each published service; empty without a load balancer."""
    kubectl_login_command: str | None = None
    """What sets `kubectl` up for people who sign in with their browser; None where the API does not know them."""
    port_forward_commands: dict[str, pulumi.Output[str]]
    """How they reach it without one."""

    def __init__(
        self,
        name: str,
        settings: Settings,
        opts: pulumi.ResourceOptions | None = None,
        *,
        published: Sequence[PublishedService] = (),
    ) -> None:
        """`published` are Services of the cluster that users are to reach beside the platform's own."""
        bounded = [permissions_boundary_transform(arn)] if (arn := settings.permissions_boundary) else []
        super().__init__(
            "gpulab:index:Platform",
            name,
            None,
            pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(transforms=bounded)),
        )
        self.aws_provider = aws_provider = aws.Provider(
            name,
            region=settings.region,
            default_tags={"tags": settings.resource_tags},
            opts=pulumi.ResourceOptions(parent=self),
        )
        on_aws = pulumi.ResourceOptions(parent=self, providers=[aws_provider])
        asked = pulumi.InvokeOptions(parent=self, provider=aws_provider)
        caller = aws.get_caller_identity(opts=asked)
        partition = aws.get_partition_output(opts=asked).partition
        zone, control_plane = preflight(settings, caller.account_id, self, asked)
        production = settings.lifecycle.kind == "production"
        key_deletion_days = PRODUCTION_KEY_DELETION_DAYS if production else LAB_KEY_DELETION_DAYS

        network = Network(
            name,
            NetworkArgs(
                cluster_name=settings.cluster.name,
                region=settings.region,
                cidr=settings.network.cidr,
                secondary_cidr=settings.network.secondary_cidr,
                zones=settings.network.zones,
                nat=settings.network.nat,
                interface_endpoints=settings.network.endpoints,
                flow_logs_retention_days=settings.network.flow_logs.kept_days,
                volume_tags=settings.node_tags,
            ),
            opts=on_aws,
        )
        if settings.network.only:
            self._end_with_the_network(settings, asked)
            return
        load_balancer = (
            LoadBalancer(
                name,
                load_balancer_args(settings, network, account_id=caller.account_id),
                # A load balancer on the internet needs its subnets' way out.
                opts=after(on_aws, network),
            )
            if zone
            else None
        )
        cluster = Cluster(
            name,
            ClusterArgs(
                cluster_name=settings.cluster.name,
                version=settings.cluster.version,
                support_type=settings.cluster.upgrade_policy,
                region=settings.region,
                partition=partition,
                caller_arn=caller.arn,
                vpc_id=network.vpc_id,
                control_plane_subnet_ids=[
                    subnet_id
                    for in_zone, subnet_id in zip(settings.network.zones, network.intra_subnet_ids, strict=True)
                    if in_zone in control_plane
                ],
                node_subnet_ids=network.private_subnet_ids,
                administrators=settings.cluster.administrators,
                viewers=settings.cluster.viewers,
                previewers=settings.cluster.previewers,
                public_cidrs=settings.cluster.endpoint.public_cidrs,
                private_cidrs=settings.cluster.endpoint.private_cidrs,
                log_retention_days=settings.cluster.log_retention_days,
                system_nodes=SystemNodesArgs(
                    instance_types=settings.cluster.system_nodes.instance_types,
                    count=settings.cluster.system_nodes.count,
                    volume_size=settings.cluster.system_nodes.volume_size,
                    release=settings.cluster.node_release,
                    spot=settings.cluster.system_nodes.capacity_type == "spot",
                ),
                prefix_delegation=settings.network.prefix_delegation,
                key_deletion_window_days=key_deletion_days,
                protect=settings.lifecycle.protects,
                deletion_protection=settings.lifecycle.protects,
                node_tags=settings.node_tags,
                rehearsed=is_rehearsed(caller.account_id),
                # Nodes reach the API by routes and endpoints that no output of the network stands for, and the load
                # balancer outlives the nodes that it sends requests to. The control plane, which takes the longest of
                # all, waits for its subnets only.
                nodes_after=[network, *([load_balancer] if load_balancer else [])],
            ),
            opts=on_aws,
        )
        in_cluster = pulumi.ResourceOptions(parent=self, providers=[aws_provider, cluster.provider])
        storage = Storage(
            f"{name}-storage",
            StorageArgs(
                cluster_name=settings.cluster.name,
                kubernetes_version=settings.cluster.version,
                cluster_arn=cluster.cluster_arn,
                partition=partition,
                account_id=caller.account_id,
                vpc_id=network.vpc_id,
                subnet_ids=network.private_subnet_ids,
                zones=settings.network.zones,
                node_security_group_id=cluster.security_group_id,
                # Their pods run on the system nodes, resolve names and get their roles' credentials there.
                controllers_after=[cluster],
                settings=settings.storage,
                volume_tags=settings.node_tags,
                key_deletion_window_days=key_deletion_days,
                force_destroy=not production,
                protect=settings.lifecycle.protects,
            ),
            opts=in_cluster,
        )
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
                replicas=1 if settings.lifecycle.thrift else 2,
                # Its pods run on the system nodes, and get their role's credentials there.
                controller_after=[cluster],
            ),
            opts=in_cluster,
        )
        node_pools = NodePools(
            f"{name}-pools",
            NodePoolsArgs(
                cluster_name=cluster.cluster_name,
                pools=settings.node_pools,
                node_role_name=karpenter.node_role_name,
                instance_profile_name=karpenter.instance_profile_name,
                tags=settings.node_tags,
            ),
            # Only a running Karpenter takes a pool's nodes away. These have volumes, which only a driver takes off
            # them, and mounts, which end with their targets.
            opts=after(in_cluster, karpenter, storage),
        )
        # Both go before the pools' nodes do.
        beside_pools = after(in_cluster, node_pools)
        Gpu(
            f"{name}-gpu",
            GpuArgs(pools=settings.node_pools, charts=settings.charts, by_digest=production),
            opts=beside_pools,
        )
        Warm(f"{name}-warm", WarmArgs(pools=settings.node_pools, by_digest=production), opts=beside_pools)

        self.volume_gate = VolumeGate(
            f"{name}-volumes",
            cluster.kubeconfig,
            # Volumes go once the pods that use them have ended, on nodes that are there.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[storage, node_pools]),
        )

        teams = Teams(
            f"{name}-team",
            TeamsArgs(
                teams=settings.teams,
                pull_secret=hub.registry.pull_secret if (hub := settings.running_hub) and hub.registry else None,
                shared=SharedArgs(
                    storage=settings.storage,
                    pools=settings.node_pools,
                    owner=settings.owner,
                    cost_center=settings.cost_center,
                    vpc_cidr=settings.network.cidr,
                    endpoint_cidrs=settings.network.endpoint_cidrs,
                    cluster_label=settings.cluster.name,
                    cluster_name=cluster.cluster_name,
                    cluster_arn=cluster.cluster_arn,
                    partition=partition,
                    file_system_id=storage.file_system_id,
                    binds_groups=settings.cluster.oidc,
                    directory_groups=directory_groups(settings.identity),
                ),
            ),
            opts=after(in_cluster, self.volume_gate),
        )

        identity = None
        if settings.identity:
            identity = Identity(
                f"{name}-identity",
                IdentityArgs(
                    settings=settings.identity,
                    addresses=Addresses.of(settings.ingress.domain),
                    cluster_name=settings.cluster.name,
                    vpc_id=network.vpc_id,
                    subnet_ids=network.intra_subnet_ids,
                    node_security_group_id=cluster.security_group_id,
                    production=production,
                    protect=settings.lifecycle.protects,
                    backups=database_backups(settings, cluster, storage),
                    teams=settings.teams,
                    kubectl=settings.cluster.oidc,
                    charts=settings.charts,
                    # They may run on the system nodes, and on those of Karpenter where these are full; and their
                    # database may be a claim.
                    pods_after=[node_pools, self.volume_gate],
                ),
                opts=in_cluster,
            )
            published = [*published, identity.published]
            if settings.running_hub:
                # It starts notebooks in the teams' namespaces, and its database may be a claim. It asks nothing of
                # Keycloak until somebody signs in, so both start at the same time.
                pulls = {"system": cluster.system_role_name, "pools": karpenter.node_role_name}
                caches = image_caches(f"{name}-images", settings, caller, pulls, on_aws)
                hub_opts = after(beside_pools, self.volume_gate, teams, *caches)
                hub = self._hub(f"{name}-hub", settings, network, cluster, identity, hub_opts)
                published = [*published, hub.published]

        self.kubernetes_provider = cluster.provider
        self.file_system_id = storage.file_system_id
        self.retained = {**storage.retained, **(identity.retained if identity else {})}
        self.urls = {}
        if zone and load_balancer:
            certificate = Certificate(name, CertificateArgs(domain=zone.domain, zone_id=zone.zone_id), opts=on_aws)
            controller = LoadBalancerController(
                f"{name}-alb-controller",
                LoadBalancerControllerArgs(
                    cluster_name=cluster.cluster_name,
                    cluster_arn=cluster.cluster_arn,
                    region=settings.region,
                    partition=partition,
                    vpc_id=network.vpc_id,
                    by_digest=production,
                    charts=settings.charts,
                    # As Karpenter's, its pods run on the system nodes.
                    controller_after=[cluster],
                ),
                opts=in_cluster,
            )
            ingress = Ingress(
                name,
                IngressArgs(
                    domain=zone.domain,
                    zone_id=zone.zone_id,
                    certificate_arn=certificate.certificate_arn,
                    load_balancer=load_balancer,
                    vpc_id=network.vpc_id,
                    node_security_group_id=cluster.security_group_id,
                    controller=controller.release,
                    published=published,
                    cidrs=settings.ingress.ruled_cidrs,
                ),
                opts=in_cluster,
            )
            self.urls = ingress.urls
            self._sign_in_to_kubernetes(settings, cluster, identity, after(on_aws, ingress))
        self.port_forward_commands = {} if zone else port_forward_commands(published)

        self.region = pulumi.Output.from_input(settings.region)
        self.cluster_name = cluster.cluster_name
        self.update_kubeconfig_command = cluster.update_kubeconfig_command
        self.register_outputs(
            {
                "region": self.region,
                "cluster_name": self.cluster_name,
                "update_kubeconfig_command": self.update_kubeconfig_command,
                "urls": self.urls,
                "port_forward_commands": self.port_forward_commands,
            }
        )

    def _end_with_the_network(self, settings: Settings, opts: pulumi.InvokeOptions) -> None:
        """Makes nothing else. Raises OutOfReachError where that would delete a cluster."""
        if pulumi.runtime.is_dry_run():
            require_no_cluster(settings.cluster.name, opts)
        self.region = pulumi.Output.from_input(settings.region)
        self.retained, self.urls, self.port_forward_commands = {}, {}, {}
        self.register_outputs({"region": self.region})

    def _sign_in_to_kubernetes(
        self, settings: Settings, cluster: Cluster, identity: Identity | None, opts: pulumi.ResourceOptions
    ) -> None:
        """EKS asks Keycloak for its keys, by the name that the load balancer answers to."""
        if settings.cluster.oidc and identity:
            self.kubectl_login_command = ClusterSignIn(
                f"{settings.cluster.name}-sign-in",
                ClusterSignInArgs(cluster_name=cluster.cluster_name, issuer_url=identity.realm_url),
                opts=after(opts, identity),
            ).login_command

    def _hub(
        self,
        name: str,
        settings: Settings,
        network: Network,
        cluster: Cluster,
        identity: Identity,
        opts: pulumi.ResourceOptions,
    ) -> Hub:
        """The hub; its database on RDS waits for nothing but the network, as it takes the longest."""
        on_rds = database_args(
            settings,
            vpc_id=network.vpc_id,
            subnet_ids=network.intra_subnet_ids,
            node_security_group_id=cluster.security_group_id,
        )
        on_aws = pulumi.ResourceOptions(parent=self, providers=[self.aws_provider])
        return Hub(
            name,
            HubArgs(
                settings=settings,
                client_secret=identity.client_secrets[HUB_CLIENT],
                kubeconfig=cluster.kubeconfig,
                database=RdsDatabase(f"{name}-database", on_rds, opts=on_aws).connection if on_rds else None,
            ),
            opts=opts,
        )


def after(opts: pulumi.ResourceOptions, *resources: pulumi.Resource) -> pulumi.ResourceOptions:
    """`opts` for what is made after `resources`, and goes before them, though none of their outputs says so."""
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(resources)))


def preflight(
    settings: Settings, account_id: str, resource: pulumi.Resource, opts: pulumi.InvokeOptions
) -> tuple[HostedZone | None, list[str]]:
    """What AWS is asked before anything is made: the hosted zone of the domain, and the zones of the control plane.

    Raises PlaceholderError, HostedZoneError and ZoneError: nothing of the stack would come up, or be reached.
    """
    if pulumi.runtime.is_dry_run():
        require_own_values(settings, account_id)
        quota_preflight.warn(settings, resource, opts)
    return hosted_zone(settings.ingress, opts), control_plane_zones(settings.network.zones, settings.region, opts)


def permissions_boundary_transform(arn: str) -> pulumi.ResourceTransform:
    """Bounds every role of the stack, those that other components than ours make too."""

    def transform(resource: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if resource.type_ != "aws:iam/role:Role":
            return None
        return pulumi.ResourceTransformResult({**resource.props, "permissionsBoundary": arn}, resource.opts)

    return transform


def hosted_zone(ingress: IngressSettings, opts: pulumi.InvokeOptions) -> HostedZone | None:
    """The zone of the platform's domain, which public DNS leads to; None for a stack without a load balancer.

    Raises HostedZoneError.
    """
    if ingress.domain is None or ingress.zone_name is None:
        return None
    zone = find_hosted_zone(ingress.domain, ingress.zone_name, ingress.hosted_zone_id, opts)
    if ingress.check_delegation:
        # A DNS client, which stacks without a domain start faster without.
        from components.delegation import require_delegation  # noqa: PLC0415

        require_delegation(zone)
    return zone


def load_balancer_args(settings: Settings, network: Network, *, account_id: pulumi.Input[str]) -> LoadBalancerArgs:
    """What the stack file says of the load balancer."""
    ingress = settings.ingress
    internal = ingress.access == "internal"
    return LoadBalancerArgs(
        cluster_name=settings.cluster.name,
        internal=internal,
        vpc_id=network.vpc_id,
        subnet_ids=network.private_subnet_ids if internal else network.public_subnet_ids,
        cidrs=ingress.cidrs,
        idle_timeout=ingress.idle_timeout,
        account_id=account_id,
        access_logs_retention_days=ingress.access_logs.retention_days if ingress.access_logs.enabled else None,
        web_acl_arn=ingress.waf_acl_arn,
        deletion_protection=settings.lifecycle.protects,
    )
