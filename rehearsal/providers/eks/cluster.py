"""`eks:index:Cluster`: an EKS cluster with its role, access entries, own add-ons and Kubernetes provider."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pulumi
from pulumi.resource import DependencyResource

from rehearsal.providers.eks import contract
from rehearsal.providers.eks.access_entries import access_entry, node_entry
from rehearsal.providers.eks.addons import VpcCniAddon, configuration_json, latest_version
from rehearsal.providers.eks.cluster_inputs import UNMODELLED, only_when_public, refuse_combinations
from rehearsal.providers.eks.kubeconfig import cluster_kubeconfig, compact_json, credential_options
from rehearsal.providers.eks.resources import (
    AccessEntry,
    EksAddon,
    EksCluster,
    InstanceProfile,
    OpenIdConnectProvider,
    SecurityGroup,
    SecurityGroupRule,
)
from rehearsal.providers.eks.roles import ServiceRole
from rehearsal.providers.eks.security_groups import cluster_security_group, node_security_group

_WORKER_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly")

# SHA-1 thumbprint of the root certificate of EKS's OIDC issuers; the real component reads it from the network.
_ISSUER_THUMBPRINT = "9e99a48a9960b14926bb7f3b02e22da2b0ab7280"


class Cluster(pulumi.ComponentResource):
    """The component. `core` is the data that node groups and add-ons take; `state` holds all outputs.

    `as_parent` is the parent for children that are made later.
    """

    pulumi_type: ClassVar[str] = "eks:index:Cluster"
    as_parent: pulumi.Resource
    core: pulumi.Output[dict[str, Any]]
    state: dict[str, Any]

    def __init__(self, name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        if opts and opts.urn:
            super().__init__(self.pulumi_type, name, {"core": None}, opts)
            # A bare URN. As a child of this object an add-on would wait for itself.
            self.as_parent = DependencyResource(opts.urn)
            return
        inputs = contract.checked(self.pulumi_type, args, UNMODELLED)
        refuse_combinations(self.pulumi_type, inputs)
        super().__init__(self.pulumi_type, name, None, opts)
        self.as_parent = self
        self._inputs = inputs
        self._tags = inputs.get("tags")
        self._child = pulumi.ResourceOptions(parent=self)
        self.state = self._build()
        self.core = self.state["core"]
        self.register_outputs(self.state)

    def _build(self) -> dict[str, Any]:
        """Register the children, in the order of the real component, and return the outputs."""
        inputs = self._inputs
        partition = pulumi.runtime.invoke_output(
            "aws:index/getPartition:getPartition", {}, pulumi.InvokeOptions(parent=self)
        ).apply(lambda answer: answer["partition"])
        role, role_ready = self._service_role(partition)
        own_groups = not inputs.get("skipDefaultSecurityGroups")
        security_group = inputs.get("clusterSecurityGroup")
        if security_group is None and own_groups:
            tags = self._named_tags("eksClusterSecurityGroup", inputs.get("clusterSecurityGroupTags"))
            security_group = cluster_security_group(self._name, inputs["vpcId"], tags, self._child)
        cluster = self._cluster(role, role_ready, security_group)

        kube_proxy = inputs.get("kubeProxyAddonOptions", {})
        self._addon("kube-proxy", kube_proxy, cluster, wanted=kube_proxy.get("enabled", True))
        kubeconfig, kubernetes = self._kubernetes(cluster)

        instance_roles = self._instance_roles(partition)
        entries = dict(inputs.get("accessEntries", {}))
        if instance_roles:
            entries = {"defaultNodeGroupInstanceRole": node_entry(instance_roles[0]), **entries}
        registered_entries = [
            access_entry(f"{self._name}-{key}", entry, cluster, self) for key, entry in entries.items()
        ]
        vpc_cni = None if inputs.get("useDefaultVpcCni") else self._vpc_cni(cluster, kubernetes, registered_entries)

        # Without a default node group CoreDNS cannot run, so it must be requested.
        coredns = inputs.get("corednsAddonOptions", {})
        self._addon("coredns", coredns, cluster, wanted=coredns.get("enabled") or "configurationValues" in coredns)
        oidc_provider = self._oidc_provider(cluster) if inputs.get("createOidcProvider") else None
        node_group, ingress_rule = self._nodes_group(cluster, security_group) if own_groups else (None, None)

        issuer = cluster.identities.apply(_issuer)
        # Without its own security group the cluster has only the one that EKS makes.
        made_by_eks = cluster.vpcConfig.apply(lambda vpc: vpc.get("clusterSecurityGroupId"))
        core = _given(
            cluster=cluster,
            vpcId=inputs["vpcId"],
            subnetIds=self._subnet_ids(),
            publicSubnetIds=inputs.get("publicSubnetIds"),
            privateSubnetIds=inputs.get("privateSubnetIds"),
            clusterSecurityGroup=security_group,
            endpoint=cluster.endpoint,
            nodeGroupOptions=_given(
                version=inputs.get("version"), nodeSecurityGroup=node_group, clusterIngressRule=ingress_rule
            ),
            kubeconfig=kubeconfig,
            provider=kubernetes,
            vpcCni=vpc_cni,
            instanceRoles=instance_roles,
            tags=self._tags,
            nodeSecurityGroupTags=inputs.get("nodeSecurityGroupTags"),
            storageClasses={},
            oidcProvider=oidc_provider,
            encryptionConfig=self._encryption(),
            clusterIamRole=role,
            accessEntries=list(entries.values()),
        )
        return _given(
            core=pulumi.Output.from_input(core),
            eksCluster=cluster,
            kubeconfig=kubeconfig,
            kubeconfigJson=kubeconfig.apply(compact_json),
            instanceRoles=instance_roles,
            clusterSecurityGroup=security_group,
            nodeSecurityGroup=node_group,
            eksClusterIngressRule=ingress_rule,
            clusterSecurityGroupId=made_by_eks if security_group is None else _id(security_group),
            nodeSecurityGroupId=made_by_eks if node_group is None else node_group.id,
            clusterIngressRuleId="" if ingress_rule is None else ingress_rule.securityGroupRuleId,
            defaultNodeGroupAsgName="",
            fargateProfileId="",
            fargateProfileStatus="",
            oidcProviderArn="" if oidc_provider is None else oidc_provider.arn,
            oidcProviderUrl=issuer,
            oidcIssuer=issuer.apply(lambda url: url.removeprefix("https://")),
            autoModeNodeRoleName="",
        )

    def _service_role(self, partition: pulumi.Output[str]) -> tuple[pulumi.Output[Any], list[pulumi.Resource]]:
        """The role that EKS assumes, and the resources that must exist before a cluster uses it."""
        if "serviceRole" in self._inputs:
            return pulumi.Output.from_input(self._inputs["serviceRole"]), []
        made = ServiceRole(
            f"{self._name}-eksRole",
            service="eks.amazonaws.com",
            partition=partition,
            policies=["AmazonEKSClusterPolicy"],
            description="Allows EKS to manage clusters on your behalf.",
            actions=["sts:AssumeRole", "sts:TagSession"],
            tags=self._tags,
            opts=self._child,
        )
        return pulumi.Output.from_input(made.role), made.role_and_attachments

    def _kubernetes(self, cluster: EksCluster) -> tuple[pulumi.Output[dict[str, Any]], pulumi.ProviderResource]:
        """The kubeconfig for users, who bring their own credentials, and a provider with those of this deployment."""
        credentials = pulumi.Output.from_input(credential_options(self._inputs))
        role_arn = credentials.apply(lambda options: options.get("roleArn"))
        profile = credentials.apply(lambda options: options.get("profileName"))
        own = cluster_kubeconfig(cluster, role_arn=role_arn, profile=profile)
        mutable = self._inputs.get("enableConfigMapMutable")
        provider = pulumi.ProviderResource(
            "kubernetes",
            f"{self._name}-eks-k8s",
            {
                "kubeconfig": own.apply(compact_json),
                "enableConfigMapMutable": None if mutable is None else pulumi.Output.json_dumps(mutable),
            },
            self._child,
        )
        return cluster_kubeconfig(cluster, role_arn=role_arn), provider

    def _vpc_cni(
        self, cluster: EksCluster, kubernetes: pulumi.ProviderResource, after: list[AccessEntry]
    ) -> VpcCniAddon:
        return VpcCniAddon(
            f"{self._name}-vpc-cni",
            {
                **self._inputs.get("vpcCniOptions", {}),
                "clusterName": cluster.name,
                "clusterVersion": cluster.version,
                "tags": self._tags,
            },
            pulumi.ResourceOptions(parent=self, depends_on=after, providers={"kubernetes": kubernetes}),
        )

    def _oidc_provider(self, cluster: EksCluster) -> OpenIdConnectProvider:
        return OpenIdConnectProvider(
            f"{self._name}-oidcProvider",
            {
                "clientIdLists": ["sts.amazonaws.com"],
                "url": cluster.identities.apply(_issuer),
                "thumbprintLists": [_ISSUER_THUMBPRINT],
            },
            self._child,
        )

    def _cluster(self, role: pulumi.Output[Any], role_ready: list[pulumi.Resource], security_group: Any) -> EksCluster:
        name, inputs = self._name, self._inputs
        group_ids = None if security_group is None else [_id(security_group)]
        mode = inputs["authenticationMode"]
        return EksCluster(
            f"{name}-eksCluster",
            {
                "name": inputs.get("name"),
                "roleArn": role.apply(lambda found: found.arn),
                "kubernetesNetworkConfig": self._network(),
                "bootstrapSelfManagedAddons": inputs.get("bootstrapSelfManagedAddons", True),
                "vpcConfig": _given(
                    securityGroupIds=group_ids,
                    subnetIds=self._subnet_ids(),
                    endpointPrivateAccess=inputs.get("endpointPrivateAccess"),
                    endpointPublicAccess=inputs.get("endpointPublicAccess"),
                    publicAccessCidrs=self._public_cidrs(),
                ),
                "version": inputs.get("version"),
                "enabledClusterLogTypes": inputs.get("enabledClusterLogTypes"),
                "tags": self._named_tags("eksCluster", inputs.get("clusterTags")),
                "encryptionConfig": self._encryption(),
                "accessConfig": {"authenticationMode": mode, "bootstrapClusterCreatorAdminPermissions": True},
                "upgradePolicy": inputs.get("upgradePolicy"),
                "deletionProtection": inputs.get("deletionProtection"),
            },
            pulumi.ResourceOptions(
                parent=self,
                ignore_changes=["accessConfig.bootstrapClusterCreatorAdminPermissions", "bootstrapSelfManagedAddons"],
                depends_on=role_ready,
            ),
        )

    def _named_tags(self, suffix: str, own: pulumi.Input[Mapping[str, str]] | None) -> pulumi.Output[dict[str, str]]:
        """The Name tag, then the tags of the resource, then those of the cluster. Later ones win."""
        named = {"Name": f"{self._name}-{suffix}"}
        return pulumi.Output.all(own or {}, self._tags or {}).apply(lambda tags: {**named, **tags[0], **tags[1]})

    def _subnet_ids(self) -> pulumi.Input[list[str]]:
        inputs = self._inputs
        if "subnetIds" in inputs:
            return inputs["subnetIds"]
        both = pulumi.Output.all(inputs.get("publicSubnetIds", []), inputs.get("privateSubnetIds", []))
        return both.apply(lambda ids: [*ids[0], *ids[1]])

    def _public_cidrs(self) -> pulumi.Output[list[str]] | None:
        if "publicAccessCidrs" not in self._inputs:
            return None
        given = pulumi.Output.all(self._inputs["publicAccessCidrs"], self._inputs.get("endpointPublicAccess", True))
        return given.apply(lambda values: only_when_public(*values))

    def _network(self) -> pulumi.Output[dict[str, Any]] | None:
        """The IP family and the service range, if one of them is given. A range is only for IPv4."""
        cidr, family = self._inputs.get("kubernetesServiceIpAddressRange"), self._inputs.get("ipFamily")
        if not cidr and not family:
            return None
        return pulumi.Output.all(cidr, family or "ipv4").apply(
            lambda given: _given(ipFamily=given[1], serviceIpv4Cidr=given[0] if given[1] == "ipv4" else None)
        )

    def _encryption(self) -> pulumi.Output[dict[str, Any]] | None:
        key = self._inputs.get("encryptionConfigKeyArn")
        if not key:
            return None
        return pulumi.Output.from_input(key).apply(lambda arn: {"provider": {"keyArn": arn}, "resources": ["secrets"]})

    def _addon(self, addon: str, options: Mapping[str, Any], cluster: EksCluster, *, wanted: bool) -> None:
        if not wanted:
            return
        EksAddon(
            f"{self._name}-{addon}",
            {
                "clusterName": cluster.name,
                "addonName": addon,
                "preserve": True,
                "tags": self._tags,
                "resolveConflictsOnCreate": options.get("resolveConflictsOnCreate", "OVERWRITE"),
                "resolveConflictsOnUpdate": options.get("resolveConflictsOnUpdate", "OVERWRITE"),
                "addonVersion": options.get("version") or latest_version(addon, cluster.version, self),
                "configurationValues": configuration_json(options.get("configurationValues")),
            },
            self._child,
        )

    def _instance_roles(self, partition: pulumi.Output[str]) -> list[Any]:
        """The role of self-managed nodes, if one is given or requested."""
        if "instanceRole" in self._inputs:
            return [self._inputs["instanceRole"]]
        if not self._inputs.get("createInstanceRole"):
            return []
        made = ServiceRole(
            f"{self._name}-instanceRole",
            service="ec2.amazonaws.com",
            partition=partition,
            policies=_WORKER_POLICIES,
            tags=self._tags,
            opts=self._child,
        )
        InstanceProfile(f"{self._name}-instanceProfile", {"role": made.role.name}, self._child)
        return [made.role]

    def _nodes_group(self, cluster: EksCluster, cluster_group: Any) -> tuple[SecurityGroup, SecurityGroupRule]:
        """The security group for nodes, and the rule that admits nodes to the API server."""
        own = self._inputs.get("nodeSecurityGroupTags") or {}
        tags = pulumi.Output.all(own, self._tags or {}, cluster.name).apply(
            lambda given: {
                "Name": f"{self._name}-nodeSecurityGroup",
                f"kubernetes.io/cluster/{given[2]}": "owned",
                **given[0],
                **given[1],
            }
        )
        return node_security_group(self._name, self._inputs["vpcId"], tags, _id(cluster_group), self._child)


def _issuer(identities: list[dict[str, Any]] | None) -> str:
    oidcs = identities[0].get("oidcs") if identities else None
    return oidcs[0]["issuer"] if oidcs else ""


def _id(resource: Any) -> pulumi.Output[str]:
    return pulumi.Output.from_input(resource).apply(lambda found: found.id)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
