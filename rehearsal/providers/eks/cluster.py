"""`eks:index:Cluster`: an EKS cluster with its role, access entries, own add-ons and Kubernetes provider."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, ClassVar

import pulumi
from pulumi.resource import DependencyResource

from rehearsal.providers.eks import contract
from rehearsal.providers.eks.addons import VpcCniAddon, configuration_json, latest_version
from rehearsal.providers.eks.resources import (
    AccessEntry,
    AccessPolicyAssociation,
    EksAddon,
    EksCluster,
    InstanceProfile,
    OpenIdConnectProvider,
    SecurityGroup,
    SecurityGroupRule,
)
from rehearsal.providers.eks.roles import ServiceRole

# What belongs to Fargate, Auto Mode, the default node group, the aws-auth ConfigMap and in-tree storage classes.
_UNMODELLED = frozenset(
    {
        "autoMode",
        "creationRoleProvider",
        "desiredCapacity",
        "fargate",
        "gpu",
        "instanceProfileName",
        "instanceType",
        "maxSize",
        "minSize",
        "nodeAmiId",
        "nodeAssociatePublicIpAddress",
        "nodeGroupOptions",
        "nodePublicKey",
        "nodeRootVolumeEncrypted",
        "nodeRootVolumeSize",
        "nodeSubnetIds",
        "nodeUserData",
        "roleMappings",
        "storageClasses",
        "userMappings",
    }
)

_WORKER_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy", "AmazonEC2ContainerRegistryReadOnly")

# SHA-1 thumbprint of the root certificate of EKS's OIDC issuers; the real component reads it from the network.
_ISSUER_THUMBPRINT = "9e99a48a9960b14926bb7f3b02e22da2b0ab7280"


class Cluster(pulumi.ComponentResource):
    """The component. `core` is the data that node groups and add-ons take; `state` holds all outputs.

    `as_parent` is what a child made later names as its parent.
    """

    pulumi_type: ClassVar[str] = "eks:index:Cluster"
    as_parent: pulumi.Resource
    core: pulumi.Output[dict[str, Any]]
    state: dict[str, Any]

    def __init__(self, name: str, args: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None) -> None:
        if opts and opts.urn:
            super().__init__(self.pulumi_type, name, {"core": None}, opts)
            # A bare URN: were an add-on a child of this object, it would be among what the add-on itself waits for.
            self.as_parent = DependencyResource(opts.urn)
            return
        inputs = contract.checked(self.pulumi_type, args, _UNMODELLED)
        _refuse_combinations(inputs)
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
            security_group = self._cluster_security_group()
        cluster = self._cluster(role, role_ready, security_group)

        kube_proxy = inputs.get("kubeProxyAddonOptions", {})
        self._addon("kube-proxy", kube_proxy, cluster, wanted=kube_proxy.get("enabled", True))
        kubeconfig, kubernetes = self._kubernetes(cluster)

        instance_roles = self._instance_roles(partition)
        entries = dict(inputs.get("accessEntries", {}))
        if instance_roles:
            entries = {"defaultNodeGroupInstanceRole": _node_entry(instance_roles[0]), **entries}
        registered_entries = [self._access_entry(key, entry, cluster) for key, entry in entries.items()]
        vpc_cni = None if inputs.get("useDefaultVpcCni") else self._vpc_cni(cluster, kubernetes, registered_entries)

        # With no default node group there is nothing for CoreDNS to run on, so it must be asked for.
        coredns = inputs.get("corednsAddonOptions", {})
        self._addon("coredns", coredns, cluster, wanted=coredns.get("enabled") or "configurationValues" in coredns)
        oidc_provider = self._oidc_provider(cluster) if inputs.get("createOidcProvider") else None
        node_group, ingress_rule = self._node_security_group(cluster, security_group) if own_groups else (None, None)

        issuer = cluster.identities.apply(_issuer)
        # Without a security group of its own, the cluster has just the one that EKS makes.
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
            kubeconfigJson=kubeconfig.apply(_compact_json),
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
        """The role that EKS assumes, and what must be there before a cluster has it."""
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
        credentials = pulumi.Output.from_input(_credential_options(self._inputs))
        role_arn = credentials.apply(lambda options: options.get("roleArn"))
        profile = credentials.apply(lambda options: options.get("profileName"))
        own = cluster_kubeconfig(cluster, role_arn=role_arn, profile=profile)
        mutable = self._inputs.get("enableConfigMapMutable")
        provider = pulumi.ProviderResource(
            "kubernetes",
            f"{self._name}-eks-k8s",
            {
                "kubeconfig": own.apply(_compact_json),
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
        """The Name tag, then the resource's own tags, then the cluster's; later ones win."""
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
        return given.apply(lambda values: _only_when_public(*values))

    def _network(self) -> pulumi.Output[dict[str, Any]] | None:
        """IP family and service range, when either is given; a range applies to IPv4 only."""
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
        """The role that self-managed nodes have, when one is given or asked for."""
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

    def _access_entry(self, key: str, entry: Mapping[str, Any], cluster: EksCluster) -> AccessEntry:
        name = f"{self._name}-{key}"
        principal = entry["principalArn"]
        registered = AccessEntry(
            name,
            {
                "clusterName": cluster.name,
                "principalArn": principal,
                "kubernetesGroups": entry.get("kubernetesGroups"),
                "tags": entry.get("tags"),
                "type": entry.get("type"),
                "userName": entry.get("username"),
            },
            pulumi.ResourceOptions(parent=self, depends_on=[cluster]),
        )
        for policy_key, association in entry.get("accessPolicies", {}).items():
            policy = pulumi.Output.from_input(association)
            AccessPolicyAssociation(
                f"{name}-{policy_key}",
                {
                    "accessScope": policy.apply(lambda given: given["accessScope"]),
                    "principalArn": principal,
                    "policyArn": policy.apply(lambda given: given["policyArn"]),
                    "clusterName": cluster.name,
                },
                pulumi.ResourceOptions(parent=registered, depends_on=[registered]),
            )
        return registered

    def _cluster_security_group(self) -> SecurityGroup:
        group = SecurityGroup(
            f"{self._name}-eksClusterSecurityGroup",
            {
                "vpcId": self._inputs["vpcId"],
                "revokeRulesOnDelete": True,
                "tags": self._named_tags("eksClusterSecurityGroup", self._inputs.get("clusterSecurityGroupTags")),
            },
            self._child,
        )
        self._rule("eksClusterInternetEgressRule", "Allow internet access.", group.id, egress=True)
        return group

    def _node_security_group(self, cluster: EksCluster, cluster_group: Any) -> tuple[SecurityGroup, SecurityGroupRule]:
        """The security group for nodes, its rules, and the rule that admits nodes to the API server."""
        cluster_group_id = _id(cluster_group)
        own = self._inputs.get("nodeSecurityGroupTags") or {}
        tags = pulumi.Output.all(own, self._tags or {}, cluster.name).apply(
            lambda given: {
                "Name": f"{self._name}-nodeSecurityGroup",
                f"kubernetes.io/cluster/{given[2]}": "owned",
                **given[0],
                **given[1],
            }
        )
        group = SecurityGroup(
            f"{self._name}-nodeSecurityGroup",
            {"vpcId": self._inputs["vpcId"], "revokeRulesOnDelete": True, "tags": tags},
            self._child,
        )
        self._rule("eksNodeIngressRule", "Allow nodes to communicate with each other", group.id, itself=True)
        self._rule(
            "eksNodeClusterIngressRule",
            "Allow worker Kubelets and pods to receive communication from the cluster control plane",
            group.id,
            ports=(1025, 65535),
            source=cluster_group_id,
        )
        self._rule(
            "eksExtApiServerClusterIngressRule",
            "Allow pods running extension API servers on port 443 to receive communication from cluster control plane",
            group.id,
            ports=(443, 443),
            source=cluster_group_id,
        )
        self._rule("eksNodeInternetEgressRule", "Allow internet access.", group.id, egress=True)
        ingress = self._rule(
            "eksClusterIngressRule",
            "Allow pods to communicate with the cluster API Server",
            cluster_group_id,
            ports=(443, 443),
            source=group.id,
        )
        return group, ingress

    def _rule(
        self,
        suffix: str,
        description: str,
        group_id: pulumi.Input[str],
        *,
        egress: bool = False,
        itself: bool = False,
        ports: tuple[int, int] | None = None,
        source: pulumi.Input[str] | None = None,
    ) -> SecurityGroupRule:
        """A TCP rule for `ports`, or one for all traffic."""
        first, last = ports or (0, 0)
        return SecurityGroupRule(
            f"{self._name}-{suffix}",
            {
                "description": description,
                "type": "egress" if egress else "ingress",
                "fromPort": first,
                "toPort": last,
                "protocol": "tcp" if ports else "-1",
                "securityGroupId": group_id,
                "cidrBlocks": ["0.0.0.0/0"] if egress else None,
                "self": True if itself else None,
                "sourceSecurityGroupId": source,
            },
            self._child,
        )


def cluster_kubeconfig(
    cluster: pulumi.Input[EksCluster],
    *,
    role_arn: pulumi.Input[str | None] = None,
    profile: pulumi.Input[str | None] = None,
) -> pulumi.Output[dict[str, Any]]:
    """A kubeconfig whose user gets tokens from the aws CLI, with a role to assume or a profile if given."""
    found = pulumi.Output.from_input(cluster).apply(
        lambda one: pulumi.Output.all(one.name, one.endpoint, one.arn, one.certificateAuthority)
    )
    return pulumi.Output.all(found, role_arn, profile).apply(
        lambda given: kubeconfig_for(
            given[0][0],
            endpoint=given[0][1],
            region=given[0][2].split(":")[3],
            authority=given[0][3]["data"],
            role_arn=given[1],
            profile=given[2],
        )
    )


def kubeconfig_for(
    cluster_name: str,
    *,
    endpoint: str,
    region: str,
    authority: str,
    role_arn: str | None = None,
    profile: str | None = None,
) -> dict[str, Any]:
    """The kubeconfig as a dict; `authority` is the CA certificate as base64 of PEM."""
    arguments = ["--region", region, "eks", "get-token", "--cluster-name", cluster_name, "--output", "json"]
    if role_arn:
        arguments += ["--role", role_arn]
    if profile:
        arguments += ["--profile", profile]
    version = "client.authentication.k8s.io/v1beta1"
    exec_info = {"name": "KUBERNETES_EXEC_INFO", "value": json.dumps({"apiVersion": version})}
    user = {"exec": {"apiVersion": version, "command": "aws", "args": arguments, "env": [exec_info]}}
    return {
        "apiVersion": "v1",
        "clusters": [{"cluster": {"server": endpoint, "certificate-authority-data": authority}, "name": "kubernetes"}],
        "contexts": [{"context": {"cluster": "kubernetes", "user": "aws"}, "name": "aws"}],
        "current-context": "aws",
        "kind": "Config",
        "users": [{"name": "aws", "user": user}],
    }


def _refuse_combinations(inputs: Mapping[str, Any]) -> None:
    """Raise InputPropertiesError for what the real component refuses, and for the variants that are not modelled."""
    errors: list[pulumi.InputPropertyErrorDetails] = []

    def refuse(path: str, reason: str) -> None:
        errors.append({"property_path": path, "reason": reason})

    mode = inputs.get("authenticationMode", "CONFIG_MAP (the default)")
    if mode != "API":
        refuse("authenticationMode", f"{mode} needs the aws-auth ConfigMap; the rehearsal models API only")
    if inputs.get("skipDefaultNodeGroup") is not True:
        refuse("skipDefaultNodeGroup", "the rehearsal does not model the default node group: set it to true")
    if "vpcId" not in inputs:
        refuse("vpcId", "the rehearsal does not model the default VPC: give one")
    if "instanceRole" in inputs and "instanceRoles" in inputs:
        refuse("instanceRole", "instanceRole and instanceRoles are mutually exclusive")
    if inputs.get("instanceRoles"):
        refuse("instanceRoles", "must be empty when authenticationMode is API")
    own_subnets = inputs.keys() & {"publicSubnetIds", "privateSubnetIds"}
    if "subnetIds" in inputs and own_subnets:
        refuse("subnetIds", "mutually exclusive with publicSubnetIds and privateSubnetIds")
    if "subnetIds" not in inputs and not own_subnets:
        refuse("subnetIds", "an EKS cluster needs subnets: give subnetIds, or publicSubnetIds and privateSubnetIds")
    if errors:
        raise pulumi.InputPropertiesError(f"{Cluster.pulumi_type} refuses its inputs", errors)


def _credential_options(inputs: Mapping[str, Any]) -> pulumi.Input[Mapping[str, Any]]:
    """`providerCredentialOpts`, else the profile that the AWS provider's configuration or the environment names."""
    if "providerCredentialOpts" in inputs:
        return inputs["providerCredentialOpts"]
    profile = os.environ.get("AWS_PROFILE") or pulumi.Config("aws").get("profile")
    return {"profileName": profile} if profile else {}


def _node_entry(role: pulumi.Input[Any]) -> dict[str, Any]:
    return {"principalArn": pulumi.Output.from_input(role).apply(lambda found: found.arn), "type": "EC2_LINUX"}


def _only_when_public(cidrs: list[str], public: bool) -> list[str]:
    if not public:
        raise pulumi.InputPropertyError("publicAccessCidrs", "can only be set when endpointPublicAccess is true")
    return cidrs


def _issuer(identities: list[dict[str, Any]] | None) -> str:
    oidcs = identities[0].get("oidcs") if identities else None
    return oidcs[0]["issuer"] if oidcs else ""


def _id(resource: Any) -> pulumi.Output[str]:
    return pulumi.Output.from_input(resource).apply(lambda found: found.id)


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _compact_json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
