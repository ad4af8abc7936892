"""The cluster: EKS's control plane, who has access, the system nodes, the core addons and the Kubernetes provider."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks
import pulumi_kubernetes as kubernetes

import contracts.eks
from components.ground.cluster_access import access_entries, is_same_principal, let_previewers_look
from components.ground.ingress_rules import admit
from components.ground.network import DISCOVERY_TAG, HTTPS
from components.ground.reachability import private_endpoint_hook, reachable_kubeconfig
from components.ground.system_nodes import SYSTEM_NODES, system_node_group

if TYPE_CHECKING:
    from settings import Cluster as ClusterSettings

LOG_TYPES = ["api", "audit", "authenticator", "controllerManager", "scheduler"]


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """What the cluster is made from.

    `caller_arn` is the identity that runs the program, as `sts:GetCallerIdentity` gives it. The zones of
    `control_plane_subnet_ids` are fixed for the cluster's life.
    `node_tags` go to the instances and volumes of the system nodes, which the provider's default tags do not reach;
    `nodes_after` are resources that must outlive these nodes; the control plane does not wait for them. With
    `prefix_delegation`, nodes get their pods' addresses in blocks of 16.
    `protect` keeps Pulumi from deleting the control plane and its key, `deletion_protection` keeps EKS from deleting
    the control plane. `rehearsed`: AWS is simulated, and the API server is on this machine.
    """

    settings: ClusterSettings
    region: str
    partition: pulumi.Input[str]
    caller_arn: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    control_plane_subnet_ids: Sequence[pulumi.Input[str]]
    node_subnet_ids: Sequence[pulumi.Input[str]]
    key_deletion_window_days: int = 7
    prefix_delegation: bool = False
    protect: bool = False
    deletion_protection: bool = False
    node_tags: Mapping[str, str]
    rehearsed: bool = False
    nodes_after: Sequence[pulumi.Resource] = ()


class Cluster(pulumi.ComponentResource):
    """An EKS cluster that is ready for controllers: nodes, DNS and Pod Identity work when the component is complete."""

    cluster_name: pulumi.Output[str]
    cluster_arn: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    """EKS's own cluster security group: the control plane and every node are in it."""
    kms_key_arn: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    """Resolves once this machine has reached the endpoint."""
    provider: kubernetes.Provider
    system_role_name: pulumi.Output[str]
    update_kubeconfig_command: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Cluster", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        settings = args.settings

        def after(*resources: pulumi.Resource) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, depends_on=list(resources))

        def addon_version(addon: str) -> str:
            return contracts.eks.addon_version(addon, settings.version)

        key = aws.kms.Key(
            f"{name}-secrets",
            description=f"Envelope encryption of the Kubernetes secrets of {settings.name}",
            enable_key_rotation=True,
            deletion_window_in_days=args.key_deletion_window_days,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        aws.kms.Alias(f"{name}-secrets", name=f"alias/{settings.name}-secrets", target_key_id=key.key_id, opts=child)
        # Otherwise EKS makes this group, with logs that never expire and that no destroy would delete.
        log_group = aws.cloudwatch.LogGroup(
            f"{name}-control-plane",
            name=f"/aws/eks/{settings.name}/cluster",
            retention_in_days=settings.log_retention_days,
            opts=child,
        )

        cluster = eks.Cluster(
            name,
            name=settings.name,
            version=settings.version,
            upgrade_policy={"support_type": settings.upgrade_policy},
            vpc_id=args.vpc_id,
            subnet_ids=args.control_plane_subnet_ids,
            endpoint_private_access=True,
            endpoint_public_access=bool(settings.endpoint.public_cidrs),
            public_access_cidrs=list(settings.endpoint.public_cidrs) or None,
            authentication_mode=eks.AuthenticationMode.API,
            access_entries=access_entries(
                args.partition, settings.administrators, settings.viewers, settings.previewers
            ),
            encryption_config_key_arn=key.arn,
            enabled_cluster_log_types=LOG_TYPES,
            deletion_protection=args.deletion_protection,
            # Every addon is managed, so there are no unmanaged copies to take over.
            bootstrap_self_managed_addons=False,
            vpc_cni_options=eks.VpcCniOptionsArgs(
                addon_version=addon_version("vpc-cni"),
                # maxPods of Karpenter and kubelet stay at the number of single addresses, for which prefixes always
                # suffice. None and not False leaves clusters without the option unchanged.
                enable_prefix_delegation=True if args.prefix_delegation else None,
                warm_prefix_target=1 if args.prefix_delegation else None,
                enable_network_policy=True,
            ),
            kube_proxy_addon_options=eks.KubeProxyAddonOptionsArgs(version=addon_version("kube-proxy")),
            skip_default_node_group=True,
            skip_default_security_groups=True,
            # Pods get their AWS identity by Pod Identity, which needs no OIDC provider.
            create_oidc_provider=False,
            opts=pulumi.ResourceOptions.merge(
                after(log_group),
                pulumi.ResourceOptions(transforms=[control_plane_transform(args, self._reach_hooks(name, args))]),
            ),
        )
        control_plane = cluster.eks_cluster

        # It is a DaemonSet, so it is ready without a node. Controllers depend on the component, so on this too.
        aws.eks.Addon(
            f"{name}-pod-identity-agent",
            cluster_name=control_plane.name,
            addon_name="eks-pod-identity-agent",
            addon_version=addon_version("eks-pod-identity-agent"),
            resolve_conflicts_on_update="OVERWRITE",
            opts=child,
        )
        node_group, system_role = system_node_group(
            f"{name}-system",
            settings,
            cluster=cluster,
            partition=args.partition,
            subnet_ids=args.node_subnet_ids,
            tags=args.node_tags,
            after=args.nodes_after,
            opts=child,
        )
        aws.eks.Addon(
            f"{name}-coredns",
            cluster_name=control_plane.name,
            addon_name="coredns",
            addon_version=addon_version("coredns"),
            # Changes made by hand in the cluster are overwritten, as `eks.Cluster` does for its addons.
            resolve_conflicts_on_update="OVERWRITE",
            configuration_values=json.dumps(SYSTEM_NODES.pod),
            # Its pods wait for a node, and EKS waits for its pods.
            opts=after(node_group),
        )
        # Karpenter finds the security group of its nodes by this tag. EKS makes the group; we only tag it.
        aws.ec2.Tag(
            f"{name}-discovery",
            resource_id=cluster.cluster_security_group_id,
            key=DISCOVERY_TAG,
            value=settings.name,
            opts=child,
        )

        self.cluster_name = control_plane.name
        self.cluster_arn = control_plane.arn
        self.endpoint = control_plane.endpoint
        self.security_group_id = cluster.cluster_security_group_id
        self.kms_key_arn = key.arn
        # EKS's own security group admits only the nodes ("Cluster API server endpoint", EKS user guide).
        admitted = [
            admit(f"{name}-api", cidr, "The Kubernetes API", port=HTTPS, group_id=self.security_group_id, opts=child)
            for cidr in settings.endpoint.private_cidrs
        ]
        self.kubeconfig = pulumi.Output.all(self.endpoint, cluster.kubeconfig_json).apply(
            lambda known: reachable_kubeconfig(
                *known, cluster_name=settings.name, public_cidrs=settings.endpoint.public_cidrs
            )
        )
        self.provider = kubernetes.Provider(
            name,
            kubeconfig=self.kubeconfig,
            # A cluster keeps its endpoint for life, and a new one never gets the same. So objects are replaced with
            # their cluster, and not when only the text of the kubeconfig changes.
            cluster_identifier=self.endpoint,
            enable_server_side_apply=True,
            # Without access entries or a network path, nobody could delete objects during a destroy.
            opts=after(cluster, *admitted),
        )
        if settings.previewers:
            let_previewers_look(name, pulumi.ResourceOptions(parent=self, provider=self.provider))
        self.system_role_name = system_role.name
        self.update_kubeconfig_command = pulumi.Output.concat(
            "aws eks update-kubeconfig --region ", args.region, " --name ", self.cluster_name
        )
        self.register_outputs(
            {
                "cluster_name": self.cluster_name,
                "endpoint": self.endpoint,
                "security_group_id": self.security_group_id,
                "kms_key_arn": self.kms_key_arn,
                "update_kubeconfig_command": self.update_kubeconfig_command,
            }
        )

    def _reach_hooks(self, name: str, args: ClusterArgs) -> list[pulumi.ResourceHook]:
        """In a preview, refuses a cluster that this machine could not reach.

        An update needs no check after its preview.
        """
        endpoint = args.settings.endpoint
        if endpoint.public_cidrs or not pulumi.runtime.is_dry_run():
            return []
        return [
            private_endpoint_hook(
                f"{name}-reach",
                self,
                cluster_name=args.settings.name,
                private_cidrs=endpoint.private_cidrs,
                rehearsed=args.rehearsed,
            )
        ]


def control_plane_transform(
    args: ClusterArgs, before_create: Sequence[pulumi.ResourceHook] = ()
) -> pulumi.ResourceTransform:
    """Sets what `eks.Cluster` has no option for: one access entry for its creator, options of only the control plane.

    `eks.Cluster` has EKS make the creator an administrator, and EKS then refuses a second access entry for the same
    principal. So a creator whom the stack file lists gets only the listed entry. `protect` on the whole component would
    also protect addons and access entries, which must stay removable in production. `before_create` are hooks of the
    engine.
    """
    listed = pulumi.Output.from_input(args.caller_arn).apply(
        lambda caller: any(is_same_principal(caller, administrator) for administrator in args.settings.administrators)
    )

    def transform(resource: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if resource.type_ != "aws:eks/cluster:Cluster":
            return None
        access_config = {
            "authenticationMode": "API",
            "bootstrapClusterCreatorAdminPermissions": listed.apply(lambda is_listed: not is_listed),
        }
        return pulumi.ResourceTransformResult(
            props={**resource.props, "accessConfig": access_config},
            opts=pulumi.ResourceOptions.merge(
                resource.opts,
                pulumi.ResourceOptions(
                    protect=args.protect,
                    hooks=pulumi.ResourceHookBinding(before_create=list(before_create)) if before_create else None,
                ),
            ),
        )

    return transform
