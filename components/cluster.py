"""The cluster: EKS's control plane, who may come in, the system nodes, the core addons and the Kubernetes provider."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks
import pulumi_kubernetes as kubernetes

import contracts.eks
from components.karpenter import NODE_POLICIES, node_trust_policy
from components.network import DISCOVERY_TAG, HTTPS
from components.reach import private_endpoint_hook

SYSTEM_TAINT = {"key": "CriticalAddonsOnly", "value": "true", "effect": "NoSchedule"}
SYSTEM_TOLERATION = {"key": SYSTEM_TAINT["key"], "operator": "Exists"}
SYSTEM_NODE_LABELS = {"gpulab.dev/system": "true"}

LOG_TYPES = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
AMI_TYPES = {"x86_64": "AL2023_x86_64_STANDARD", "arm64": "AL2023_ARM_64_STANDARD"}
ADMINISTRATOR_POLICY = "AmazonEKSClusterAdminPolicy"
# Not AmazonEKSAdminViewPolicy: that one reads Secrets.
VIEWER_POLICY = "AmazonEKSViewPolicy"
# A refresh reads all that the program made, and the provider takes a refusal for a failure. AmazonEKSViewPolicy lacks
# Secrets, in which Helm keeps its releases too, and custom and cluster-wide resources. AmazonEKSAdminViewPolicy has
# them, and with `get` on everything also `pods/exec` and `nodes/proxy`, by which whoever looks could change things.
PREVIEWER_POLICY = "AmazonEKSSecretReaderPolicy"
PREVIEWER_GROUP = "gpulab:previewers"
_LOOK = ["get", "list", "watch"]
PREVIEWER_RULES: list[Any] = [
    {
        "apiGroups": [""],
        # Not all of them, as that means their subresources too; the Secrets are in EKS's policy.
        "resources": [
            "configmaps", "endpoints", "events", "limitranges", "namespaces", "nodes", "persistentvolumeclaims",
            "persistentvolumes", "pods", "replicationcontrollers", "resourcequotas", "serviceaccounts", "services",
        ],
        "verbs": _LOOK,
    },
    {
        # Of Kubernetes, and of the controllers that the platform installs.
        "apiGroups": [
            "admissionregistration.k8s.io", "apiextensions.k8s.io", "apps", "autoscaling", "batch", "elbv2.k8s.aws",
            "karpenter.k8s.aws", "karpenter.sh", "networking.k8s.io", "nvidia.com", "policy", "postgresql.cnpg.io",
            "rbac.authorization.k8s.io", "scheduling.k8s.io", "snapshot.storage.k8s.io", "storage.k8s.io",
        ],
        "resources": ["*"],
        "verbs": _LOOK,
    },
]  # fmt: skip

CONNECT_SECONDS = 5
RETRY_SECONDS = 2
NEW_ENDPOINT_SECONDS = 90


@dataclass(frozen=True, kw_only=True)
class SystemNodesArgs:
    """The nodes of CoreDNS, Karpenter and other controllers. One architecture; `volume_size` is in GiB.

    `release` is that of EKS's image, of the cluster's version: `1.36.4-20260930`.
    `spot`: EC2 may take a node back; the group starts another one then, and drains the one that goes.
    """

    instance_types: Sequence[str]
    count: int
    volume_size: int
    release: str
    spot: bool = False


@dataclass(frozen=True, kw_only=True)
class ClusterArgs:
    """What the cluster is made of.

    `administrators`, `viewers` and `previewers` are ARNs of IAM roles and users, `caller_arn` is the identity that runs
    the program, as `sts:GetCallerIdentity` gives it. The zones of `control_plane_subnet_ids` are fixed for the
    cluster's life. `support_type` is what EKS does when the version's standard support ends: STANDARD or EXTENDED.
    `public_cidrs` reach the API from outside the VPC; without any there is no public endpoint.
    `private_cidrs` reach it inside, beside the nodes: ranges of the VPC and of networks that are connected to it.
    `node_tags` go to the instances and volumes of the system nodes, which the provider's default tags do not reach;
    `nodes_after` is what outlives these nodes, and the control plane does not wait for. `prefix_delegation`: nodes take
    their pods' addresses in blocks of 16.
    `protect` keeps Pulumi from deleting the control plane and its key, `deletion_protection` keeps EKS from deleting
    the control plane. `rehearsed`: AWS is simulated, and the API server is on this machine.
    """

    cluster_name: str
    version: str
    support_type: str
    region: str
    partition: pulumi.Input[str]
    caller_arn: pulumi.Input[str]
    vpc_id: pulumi.Input[str]
    control_plane_subnet_ids: Sequence[pulumi.Input[str]]
    node_subnet_ids: Sequence[pulumi.Input[str]]
    administrators: Sequence[str]
    viewers: Sequence[str] = ()
    previewers: Sequence[str] = ()
    public_cidrs: Sequence[str] = ()
    private_cidrs: Sequence[str] = ()
    log_retention_days: int
    system_nodes: SystemNodesArgs
    key_deletion_window_days: int = 7
    prefix_delegation: bool = False
    protect: bool = False
    deletion_protection: bool = False
    node_tags: Mapping[str, str]
    rehearsed: bool = False
    nodes_after: Sequence[pulumi.Resource] = ()


class Cluster(pulumi.ComponentResource):
    """An EKS cluster that is ready for controllers: nodes, DNS and Pod Identity are there when the component is."""

    cluster_name: pulumi.Output[str]
    cluster_arn: pulumi.Output[str]
    endpoint: pulumi.Output[str]
    certificate_authority: pulumi.Output[str]
    security_group_id: pulumi.Output[str]
    """EKS's own cluster security group: the control plane and every node are in it."""
    oidc_issuer: pulumi.Output[str]
    kms_key_arn: pulumi.Output[str]
    kubeconfig: pulumi.Output[str]
    """Known once the endpoint was reached from here."""
    provider: kubernetes.Provider
    system_node_group: eks.ManagedNodeGroup
    system_role_name: pulumi.Output[str]
    update_kubeconfig_command: pulumi.Output[str]

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Cluster", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        def after(*resources: pulumi.Resource) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, depends_on=list(resources))

        def addon_version(addon: str) -> str:
            return contracts.eks.addon_version(addon, args.version)

        key = aws.kms.Key(
            f"{name}-secrets",
            description=f"Envelope encryption of the Kubernetes secrets of {args.cluster_name}",
            enable_key_rotation=True,
            deletion_window_in_days=args.key_deletion_window_days,
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        aws.kms.Alias(
            f"{name}-secrets", name=f"alias/{args.cluster_name}-secrets", target_key_id=key.key_id, opts=child
        )
        # EKS makes this group itself if it is not there, with logs that never expire and that no destroy would delete.
        log_group = aws.cloudwatch.LogGroup(
            f"{name}-control-plane",
            name=f"/aws/eks/{args.cluster_name}/cluster",
            retention_in_days=args.log_retention_days,
            opts=child,
        )

        cluster = eks.Cluster(
            name,
            name=args.cluster_name,
            version=args.version,
            upgrade_policy={"support_type": args.support_type},
            vpc_id=args.vpc_id,
            subnet_ids=args.control_plane_subnet_ids,
            endpoint_private_access=True,
            endpoint_public_access=bool(args.public_cidrs),
            public_access_cidrs=list(args.public_cidrs) or None,
            authentication_mode=eks.AuthenticationMode.API,
            access_entries=access_entries(args.partition, args.administrators, args.viewers, args.previewers),
            encryption_config_key_arn=key.arn,
            enabled_cluster_log_types=LOG_TYPES,
            deletion_protection=args.deletion_protection,
            # Every addon is a managed one, so there are no unmanaged copies to take over.
            bootstrap_self_managed_addons=False,
            vpc_cni_options=eks.VpcCniOptionsArgs(
                addon_version=addon_version("vpc-cni"),
                # Karpenter's and kubelet's maxPods stay those of single addresses, which prefixes hold in any case.
                # None and not False: the option's absence is what the component makes of clusters that have none.
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

        # A DaemonSet, so it is complete without a node. Controllers depend on the whole component, and so on it.
        aws.eks.Addon(
            f"{name}-pod-identity-agent",
            cluster_name=control_plane.name,
            addon_name="eks-pod-identity-agent",
            addon_version=addon_version("eks-pod-identity-agent"),
            resolve_conflicts_on_update="OVERWRITE",
            opts=child,
        )
        node_group = self._system_node_group(name, args, cluster, after(cluster, *args.nodes_after))
        aws.eks.Addon(
            f"{name}-coredns",
            cluster_name=control_plane.name,
            addon_name="coredns",
            addon_version=addon_version("coredns"),
            # What was edited by hand in the cluster gives way, as for the addons that `eks.Cluster` makes.
            resolve_conflicts_on_update="OVERWRITE",
            configuration_values=json.dumps({"nodeSelector": SYSTEM_NODE_LABELS, "tolerations": [SYSTEM_TOLERATION]}),
            # Its pods wait for a node, and EKS waits for its pods.
            opts=after(node_group),
        )
        # Karpenter finds the security group of its nodes by this tag. EKS makes the group, so only the tag is ours.
        aws.ec2.Tag(
            f"{name}-discovery",
            resource_id=cluster.cluster_security_group_id,
            key=DISCOVERY_TAG,
            value=args.cluster_name,
            opts=child,
        )

        self.cluster_name = control_plane.name
        self.cluster_arn = control_plane.arn
        self.endpoint = control_plane.endpoint
        self.certificate_authority = control_plane.certificate_authority.data.apply(lambda data: data or "")
        self.security_group_id = cluster.cluster_security_group_id
        self.oidc_issuer = cluster.oidc_issuer
        self.kms_key_arn = key.arn
        # Its own group admits the nodes and nobody else ("Cluster API server endpoint", EKS user guide).
        admitted = [
            aws.vpc.SecurityGroupIngressRule(
                f"{name}-api-{cidr.replace('/', '-')}",
                security_group_id=self.security_group_id,
                description=f"The Kubernetes API from {cidr}",
                ip_protocol="tcp",
                from_port=HTTPS,
                to_port=HTTPS,
                cidr_ipv4=cidr,
                opts=child,
            )
            for cidr in args.private_cidrs
        ]
        self.kubeconfig = pulumi.Output.all(self.endpoint, cluster.kubeconfig_json).apply(
            lambda known: reachable_kubeconfig(*known, cluster_name=args.cluster_name, public_cidrs=args.public_cidrs)
        )
        self.provider = kubernetes.Provider(
            name,
            kubeconfig=self.kubeconfig,
            # A cluster keeps its endpoint for life and a new one never gets the same: objects are replaced with their
            # cluster, and not because the kubeconfig is written in another way.
            cluster_identifier=self.endpoint,
            enable_server_side_apply=True,
            # Without the access entries, or a way there, nobody could delete an object any more.
            opts=after(cluster, *admitted),
        )
        if args.previewers:
            self._let_previewers_look(name)
        self.system_node_group = node_group
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
        """A preview refuses a cluster that this machine could not reach; an update found it in order before."""
        if args.public_cidrs or not pulumi.runtime.is_dry_run():
            return []
        return [
            private_endpoint_hook(
                f"{name}-reach",
                self,
                cluster_name=args.cluster_name,
                private_cidrs=args.private_cidrs,
                rehearsed=args.rehearsed,
            )
        ]

    def _let_previewers_look(self, name: str) -> None:
        child = pulumi.ResourceOptions(parent=self, provider=self.provider)
        role = kubernetes.rbac.v1.ClusterRole(
            f"{name}-previewers", metadata={"name": PREVIEWER_GROUP}, rules=PREVIEWER_RULES, opts=child
        )
        kubernetes.rbac.v1.ClusterRoleBinding(
            f"{name}-previewers",
            metadata={"name": PREVIEWER_GROUP},
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role.metadata["name"]},
            subjects=[{"api_group": "rbac.authorization.k8s.io", "kind": "Group", "name": PREVIEWER_GROUP}],
            opts=child,
        )

    def _system_node_group(
        self, name: str, args: ClusterArgs, cluster: eks.Cluster, opts: pulumi.ResourceOptions
    ) -> eks.ManagedNodeGroup:
        child = pulumi.ResourceOptions(parent=self)
        role = aws.iam.Role(
            f"{name}-system",
            assume_role_policy=pulumi.Output.from_input(args.partition).apply(node_trust_policy),
            opts=child,
        )
        attachments = [
            aws.iam.RolePolicyAttachment(
                f"{name}-system-{policy}",
                role=role.name,
                policy_arn=pulumi.Output.concat("arn:", args.partition, ":iam::aws:policy/", policy),
                opts=child,
            )
            for policy in NODE_POLICIES
        ]
        # Not `enable_imd_sv2`: that launch template has a hop limit of 2, with which pods reach the node's credentials.
        launch_template = aws.ec2.LaunchTemplate(
            f"{name}-system",
            metadata_options={"http_endpoint": "enabled", "http_tokens": "required", "http_put_response_hop_limit": 1},
            block_device_mappings=[
                {
                    "device_name": "/dev/xvda",
                    "ebs": {
                        "volume_type": "gp3",
                        "volume_size": args.system_nodes.volume_size,
                        "encrypted": "true",
                        "delete_on_termination": "true",
                    },
                }
            ],
            tag_specifications=[
                {"resource_type": kind, "tags": {"Name": f"{args.cluster_name}-system", **args.node_tags}}
                for kind in ("instance", "volume", "network-interface")
            ],
            opts=child,
        )
        self.system_role_name = role.name
        count = args.system_nodes.count
        return eks.ManagedNodeGroup(
            f"{name}-system",
            cluster=cluster,
            version=args.version,
            # EKS takes a release beside a launch template that names no image; a new one replaces node by node.
            release_version=args.system_nodes.release,
            ami_type=ami_type(args.system_nodes.instance_types),
            instance_types=list(args.system_nodes.instance_types),
            # Left out for on-demand, which is EKS's own choice: a group that is there is replaced when it is given.
            capacity_type="SPOT" if args.system_nodes.spot else None,
            node_role_arn=role.arn,
            subnet_ids=args.node_subnet_ids,
            # No autoscaler moves the group, so no size is left out of the comparison; EKS replaces one node at a time.
            scaling_config={"min_size": count, "desired_size": count, "max_size": count},
            launch_template={
                "id": launch_template.id,
                "version": launch_template.latest_version.apply(str),
            },
            labels=SYSTEM_NODE_LABELS,
            taints=[{"key": SYSTEM_TAINT["key"], "value": SYSTEM_TAINT["value"], "effect": "NO_SCHEDULE"}],
            opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=attachments)),
        )


def access_entries(
    partition: pulumi.Input[str],
    administrators: Sequence[str],
    viewers: Sequence[str] = (),
    previewers: Sequence[str] = (),
) -> dict[str, eks.AccessEntryArgs]:
    """An access entry for each principal, cluster-wide, under a key that does not depend on the order of the lists."""
    return {
        f"{kind}-{arn.split(':', 4)[4].replace(':', '-')}": eks.AccessEntryArgs(
            principal_arn=arn,
            kubernetes_groups=groups,
            access_policies={
                kind: eks.AccessPolicyAssociationArgs(
                    policy_arn=pulumi.Output.concat("arn:", partition, ":eks::aws:cluster-access-policy/", policy),
                    access_scope=aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
                )
            },
        )
        for kind, policy, groups, arns in (
            ("administrator", ADMINISTRATOR_POLICY, None, administrators),
            ("viewer", VIEWER_POLICY, None, viewers),
            ("previewer", PREVIEWER_POLICY, [PREVIEWER_GROUP], previewers),
        )
        for arn in arns
    }


def control_plane_transform(
    args: ClusterArgs, before_create: Sequence[pulumi.ResourceHook] = ()
) -> pulumi.ResourceTransform:
    """What `eks.Cluster` has no option for: one access entry for its creator, and what is the control plane's alone.

    `eks.Cluster` has EKS make the creator an administrator, and EKS then refuses a second access entry for the same
    principal. So a creator whom the stack file lists gets just the listed entry. `protect` on the whole component would
    also hold back addons and access entries, which have to come and go in production. `before_create` are hooks.
    """
    listed = pulumi.Output.from_input(args.caller_arn).apply(
        lambda caller: any(is_same_principal(caller, administrator) for administrator in args.administrators)
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


def is_same_principal(caller_arn: str, principal_arn: str) -> bool:
    """Whether a caller, as `sts:GetCallerIdentity` names it, acts as an IAM role or user.

    A session of a role is `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`, without the path that the role's ARN has.
    """
    _, _, service, _, account, resource = caller_arn.split(":", 5)
    if service != "sts" or not resource.startswith("assumed-role/"):
        return caller_arn == principal_arn
    _, _, _, _, principal_account, principal = principal_arn.split(":", 5)
    role = resource.split("/")[1]
    return account == principal_account and principal.startswith("role/") and principal.split("/")[-1] == role


def ami_type(instance_types: Sequence[str]) -> str:
    """EKS's name of the Amazon Linux 2023 image for instance types of one architecture."""
    (architecture,) = {contracts.instance_types()[instance_type].arch for instance_type in instance_types}
    return AMI_TYPES[architecture]


class ClusterUnreachableError(pulumi.RunError):
    """The API server cannot be reached from where Pulumi runs. The message says what to do about it."""


async def reachable_kubeconfig(
    endpoint: str, kubeconfig: str, *, cluster_name: str, public_cidrs: Sequence[str]
) -> str:
    """`kubeconfig`, once a connection to `endpoint` came about.

    A preview tries once; an update waits for a new cluster's endpoint. Without this the Kubernetes provider would hang
    for minutes on the first object, and then name neither the endpoint's setting nor a way out.

    Raises:
        ClusterUnreachableError: no connection in time.
    """
    # Through a proxy it is the proxy that connects, and the Kubernetes client uses the same one.
    if "https" in urllib.request.getproxies() and not urllib.request.proxy_bypass(urlsplit(endpoint).netloc):
        return kubeconfig
    patience = 0 if pulumi.runtime.is_dry_run() else NEW_ENDPOINT_SECONDS
    reason = await connection_failure(endpoint, patience)
    if reason is not None:
        raise ClusterUnreachableError(unreachable_message(cluster_name, endpoint, reason, public_cidrs))
    return kubeconfig


async def connection_failure(endpoint: str, patience: float) -> str | None:
    """Why no TCP connection to `endpoint` comes about, trying for `patience` seconds and once at least; else None."""
    address = urlsplit(endpoint)
    deadline = time.monotonic() + patience
    while True:
        try:
            connection = asyncio.open_connection(address.hostname, address.port or 443)
            _, writer = await asyncio.wait_for(connection, CONNECT_SECONDS)
        except OSError as error:
            if time.monotonic() >= deadline:
                return str(error) or f"no answer in {CONNECT_SECONDS} s"
        else:
            writer.close()
            return None
        await asyncio.sleep(RETRY_SECONDS)


def unreachable_message(cluster_name: str, endpoint: str, reason: str, public_cidrs: Sequence[str]) -> str:
    """What stands in the way, by the setting, and what to do."""
    if public_cidrs:
        cause = f"gpulab:cluster.endpoint.publicCidrs admits {', '.join(public_cidrs)} only."
        remedy = "add this machine's public address there"
    else:
        cause = (
            "The endpoint is private: gpulab:cluster.endpoint.publicCidrs is empty, and privateCidrs says who reaches "
            "it inside the VPC."
        )
        remedy = "name this machine's public address in gpulab:cluster.endpoint.publicCidrs"
    return (
        f"The API server of {cluster_name} cannot be reached from here: {endpoint} ({reason}). {cause} "
        f"Connect through a VPN, run Pulumi on a machine inside the VPC, or {remedy}."
    )
