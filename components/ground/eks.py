"""The ground on AWS: a new EKS cluster in a VPC of its own, its nodes by Karpenter, its front a load balancer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.gates.volume_gate import VolumeGate
from components.ground.cluster import Cluster
from components.ground.cluster_sign_in import ClusterSignIn, ClusterSignInArgs
from components.ground.eks_wiring import EksWiring
from components.ground.network import Network
from components.ground.placement import Placement
from components.ground.reach import Reach
from components.ground.reachability import require_no_cluster
from components.ground.secrets import from_secrets_manager
from components.ground.system_nodes import SYSTEM_NODES
from components.identity.identity import Identity
from components.ingress.certificate import Certificate
from components.ingress.controller import LoadBalancerController
from components.ingress.ingress import Ingress
from components.ingress.load_balancer import LoadBalancer
from components.ingress.published_service import PublishedService
from components.nodes.gpu import Gpu
from components.nodes.image_cache import image_caches
from components.nodes.karpenter import Karpenter
from components.nodes.node_pools import NodePools
from components.nodes.warm import Warm
from components.order import after
from components.preflight import preflight
from components.storage.databases import EksDatabases
from components.storage.files import EfsFiles
from components.storage.storage import Storage
from components.teams.buckets import PodIdentityBuckets

if TYPE_CHECKING:
    from components.ingress.hosted_zone import HostedZone
    from settings import EksSettings


class EksGround:
    """Network, cluster, storage, Karpenter and pools: children of the platform. See `components.seam.Ground`.

    Destruction: node pools go while Karpenter runs, Karpenter and its nodes while the CSI drivers run, these while the
    system nodes do; then the cluster, the load balancer, and last the network.
    """

    placement: Placement = SYSTEM_NODES
    secret = staticmethod(from_secrets_manager)

    opts: pulumi.ResourceOptions
    provider: kubernetes.Provider
    kubeconfig: pulumi.Output[str]
    reach: Reach
    nodes: Sequence[pulumi.Resource]
    drivers: Sequence[pulumi.Resource]
    volume_gate: VolumeGate
    files: EfsFiles
    databases: EksDatabases
    buckets: PodIdentityBuckets
    retained: Mapping[str, pulumi.Output[str]]
    outputs: Mapping[str, pulumi.Input[str]]

    def __init__(self, name: str, settings: EksSettings, platform: pulumi.Resource) -> None:
        """Asks AWS what would keep the stack from coming up, then makes everything; raises what `preflight` raises."""
        self._name, self.settings = name, settings
        self.aws_provider = aws.Provider(
            name,
            region=settings.region,
            default_tags={"tags": settings.resource_tags},
            opts=pulumi.ResourceOptions(parent=platform),
        )
        self._on_aws = pulumi.ResourceOptions(parent=platform, providers=[self.aws_provider])
        asked = pulumi.InvokeOptions(parent=platform, provider=self.aws_provider)
        self._caller = aws.get_caller_identity(opts=asked)
        self._zone, control_plane_zones = preflight(settings, self._caller.account_id, platform, asked)
        self._args = EksWiring(settings, self._caller, aws.get_partition_output(opts=asked).partition)
        self.retained, self.outputs = {}, {"region": settings.region}

        self._network = Network(name, self._args.network(), opts=self._on_aws)
        if not settings.network.only:
            self._make_cluster(self._zone, control_plane_zones, platform)
        elif pulumi.runtime.is_dry_run():
            require_no_cluster(settings.cluster.name, asked)

    def _make_cluster(
        self, zone: HostedZone | None, control_plane_zones: Sequence[str], platform: pulumi.Resource
    ) -> None:
        """All but the network: the cluster, and what its pods and claims need."""
        name, settings, args, network, on_aws = self._name, self.settings, self._args, self._network, self._on_aws
        # A public load balancer needs its subnets' routes to the internet.
        self._load_balancer = (
            LoadBalancer(name, args.load_balancer(network), opts=after(on_aws, network)) if zone else None
        )
        # Nodes reach the API through routes and endpoints that no output of the network expresses, and the load
        # balancer must outlive the nodes that it sends requests to. The control plane takes longest, so it waits only
        # for its subnets.
        nodes_after = [network, *([self._load_balancer] if self._load_balancer else [])]
        self._cluster = cluster = Cluster(
            name, args.cluster(network, control_plane_zones=control_plane_zones, nodes_after=nodes_after), opts=on_aws
        )
        self.opts = in_cluster = pulumi.ResourceOptions(
            parent=platform, providers=[self.aws_provider, cluster.provider]
        )
        # Controllers' pods need the system nodes, DNS and Pod Identity, which the cluster component has.
        storage = Storage(
            f"{name}-storage", args.storage(network, cluster, controllers_after=[cluster]), opts=in_cluster
        )
        self._karpenter = Karpenter(
            f"{name}-karpenter", args.karpenter(cluster, controller_after=[cluster]), opts=in_cluster
        )
        # Only a running Karpenter removes a pool's nodes. Only a running driver detaches their volumes, and their EFS
        # mounts need the mount targets.
        node_pools = NodePools(
            f"{name}-pools",
            args.node_pools(cluster, self._karpenter),
            opts=after(in_cluster, self._karpenter, storage),
        )
        Warm(f"{name}-warm", args.warm(), opts=after(in_cluster, node_pools))

        self.provider, self.kubeconfig, self.reach = cluster.provider, cluster.kubeconfig, args.reach()
        self.nodes, self.drivers = [node_pools], [storage]
        self.volume_gate = VolumeGate(
            f"{name}-volumes",
            self.kubeconfig,
            # A volume is deleted after its pods have ended, for which their nodes must still exist.
            opts=pulumi.ResourceOptions(parent=platform, depends_on=[*self.drivers, *self.nodes]),
        )
        self.files = EfsFiles(file_system_id=storage.file_system_id)
        self.databases = args.databases(network, cluster, storage)
        self.buckets = args.buckets(cluster)
        self.retained = storage.retained
        self.outputs = {
            "region": settings.region,
            "cluster": cluster.cluster_name,
            "kubeconfig": cluster.update_kubeconfig_command,
        }

    @property
    def has_cluster(self) -> bool:
        """False where the stack file asks for the network only: then there is nothing for a platform."""
        return not self.settings.network.only

    def gpus(self, name: str, opts: pulumi.ResourceOptions) -> None:
        """NVIDIA's GPU Operator, where a pool needs it."""
        Gpu(name, self._args.gpu(), opts=opts)

    def hub_images(self) -> Sequence[pulumi.Resource]:
        """Repositories in ECR, if the stack file asks for a cache."""
        pulling = self._args.pulling_roles(self._cluster, self._karpenter)
        return image_caches(f"{self._name}-images", self.settings, self._caller, pulling, self._on_aws)

    def publish(self, published: Sequence[PublishedService]) -> Mapping[str, str]:
        """By the load balancer, where there is a domain."""
        self._front: list[pulumi.Resource] = []
        if not self._zone or not self._load_balancer:
            return {}
        name, args, zone = self._name, self._args, self._zone
        certificate = Certificate(name, args.certificate(zone, published), opts=self._on_aws)
        controller = LoadBalancerController(
            f"{name}-alb-controller",
            args.load_balancer_controller(self._network, self._cluster, controller_after=[self._cluster]),
            opts=self.opts,
        )
        ingress = Ingress(
            name,
            args.ingress(zone, certificate, self._load_balancer, controller, self._network, self._cluster, published),
            opts=self.opts,
        )
        self._front = [ingress]
        return ingress.urls

    def open_api(self, identity: Identity) -> str | None:
        """EKS fetches Keycloak's keys through the load balancer, so this comes after both."""
        if not self.settings.cluster.oidc or not self._front:
            return None
        return ClusterSignIn(
            f"{self._name}-sign-in",
            ClusterSignInArgs(cluster_name=self._cluster.cluster_name, issuer_url=identity.realm_url),
            opts=after(self._on_aws, *self._front, identity),
        ).login_command


def permissions_boundary_transform(arn: str) -> pulumi.ResourceTransform:
    """Sets the permissions boundary of every role of the stack, also of roles that other packages' components make."""

    def transform(resource: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if resource.type_ != "aws:iam/role:Role":
            return None
        return pulumi.ResourceTransformResult({**resource.props, "permissionsBoundary": arn}, resource.opts)

    return transform
