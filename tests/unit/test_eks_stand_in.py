"""The eks stand-in: the children that the real components would register, and what they refuse."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pulumi
import pytest

from rehearsal.providers.eks import aws_cli, contract
from rehearsal.providers.eks.addons import Addon, VpcCniAddon, cni_configuration
from rehearsal.providers.eks.cluster import Cluster, kubeconfig_for
from rehearsal.providers.eks.node_group import ManagedNodeGroup, ami_type, operating_system
from rehearsal.providers.eks.provider import EksProvider
from rehearsal.providers.eks.resources import LaunchTemplate, Role
from rehearsal.providers.eks.roles import trust_policy
from rehearsal.workspace import PROJECT

CLUSTER: dict[str, Any] = {
    "name": "lab",
    "vpcId": "vpc-1",
    "subnetIds": ["subnet-1", "subnet-2"],
    "authenticationMode": "API",
    "version": "1.34",
    "skipDefaultNodeGroup": True,
    "skipDefaultSecurityGroups": True,
}
ROLE_ARN = "arn:aws:iam::123456789012:role/nodes"


def write_command(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
    path.chmod(0o755)


def without(inputs: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in inputs.items() if key not in names}


@pytest.fixture
def eks(mocks):
    """The mock engine, with what AWS adds to a cluster."""
    mocks.outputs["aws:eks/cluster:Cluster"] = lambda resource: {
        "arn": "arn:aws:eks:us-east-1:123456789012:cluster/lab",
        "endpoint": "https://127.0.0.1:6443",
        "certificateAuthority": {"data": "Q0E="},
        "identities": [{"oidcs": [{"issuer": "https://oidc.eks.us-east-1.amazonaws.com/id/ABC"}]}],
        "vpcConfig": {**resource.inputs["vpcConfig"], "clusterSecurityGroupId": "sg-eks"},
    }
    mocks.outputs["aws:ec2/launchTemplate:LaunchTemplate"] = lambda _: {"latestVersion": 3}
    mocks.outputs["aws:ec2/securityGroupRule:SecurityGroupRule"] = lambda _: {"securityGroupRuleId": "sgr-1"}
    mocks.invokes["aws:eks/getAddonVersion:getAddonVersion"] = lambda args: {"version": f"newest-{args['addonName']}"}
    return mocks


def refused(call) -> dict[str, str]:
    """The refusals of `call`, by property path."""
    with pytest.raises((pulumi.InputPropertiesError, pulumi.InputPropertyError)) as caught:
        call()
    error = caught.value
    if isinstance(error, pulumi.InputPropertyError):
        return {error.property_path: error.reason}
    return {one["property_path"]: one["reason"] for one in error.errors or []}


def names(mocks) -> list[str]:
    """Type and name of every registered resource, the parent's name before it."""
    by_urn = {resource.urn: resource.name for resource in mocks.resources}
    return sorted(f"{by_urn.get(one.parent, '')} > {one.type} {one.name}" for one in mocks.resources)


class TestCluster:
    def test_smallest_cluster_has_the_real_components_children(self, eks):
        eks.deploy(lambda: Cluster("lab", CLUSTER))
        assert names(eks) == [
            " > eks:index:Cluster lab",
            "lab > aws:eks/addon:Addon lab-kube-proxy",
            "lab > aws:eks/cluster:Cluster lab-eksCluster",
            "lab > eks:index:ServiceRole lab-eksRole",
            "lab > eks:index:VpcCniAddon lab-vpc-cni",
            "lab > pulumi:providers:kubernetes lab-eks-k8s",
            "lab-eksRole > aws:iam/role:Role lab-eksRole-role",
            "lab-eksRole > aws:iam/rolePolicyAttachment:RolePolicyAttachment lab-eksRole-4b490823",
            "lab-vpc-cni > aws:eks/addon:Addon lab-vpc-cni",
        ]

    def test_cluster_waits_for_its_roles_policies(self, eks):
        eks.deploy(lambda: Cluster("lab", CLUSTER))
        cluster = eks.one("aws:eks/cluster:Cluster")
        assert eks.needs(cluster, eks.one("aws:iam/rolePolicyAttachment:RolePolicyAttachment"))
        assert cluster.inputs["roleArn"] == eks.one("aws:iam/role:Role").outputs["arn"]

    def test_inputs_reach_the_cluster(self, eks):
        inputs = {
            **CLUSTER,
            "endpointPrivateAccess": True,
            "endpointPublicAccess": True,
            "publicAccessCidrs": ["192.0.2.0/24"],
            "encryptionConfigKeyArn": "arn:aws:kms:us-east-1:123456789012:key/1",
            "enabledClusterLogTypes": ["audit"],
            "deletionProtection": True,
            "kubernetesServiceIpAddressRange": "172.20.0.0/16",
            "upgradePolicy": {"supportType": "STANDARD"},
            "tags": {"Team": "ml", "Name": "given"},
            "clusterTags": {"Team": "other", "Tier": "lab"},
        }
        eks.deploy(lambda: Cluster("lab", inputs))
        cluster = eks.one("aws:eks/cluster:Cluster")
        assert without(cluster.inputs, "roleArn") == {
            "name": "lab",
            "version": "1.34",
            "vpcConfig": {
                "subnetIds": ["subnet-1", "subnet-2"],
                "endpointPrivateAccess": True,
                "endpointPublicAccess": True,
                "publicAccessCidrs": ["192.0.2.0/24"],
            },
            "bootstrapSelfManagedAddons": True,
            "enabledClusterLogTypes": ["audit"],
            "encryptionConfig": {"provider": {"keyArn": inputs["encryptionConfigKeyArn"]}, "resources": ["secrets"]},
            "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": True},
            "kubernetesNetworkConfig": {"ipFamily": "ipv4", "serviceIpv4Cidr": "172.20.0.0/16"},
            "upgradePolicy": {"supportType": "STANDARD"},
            "deletionProtection": True,
            "tags": {"Name": "given", "Team": "ml", "Tier": "lab"},
        }
        assert cluster.ignore_changes == [
            "accessConfig.bootstrapClusterCreatorAdminPermissions",
            "bootstrapSelfManagedAddons",
        ]

    def test_public_and_private_subnets_are_joined_in_that_order(self, eks):
        inputs = without(CLUSTER, "subnetIds") | {"privateSubnetIds": ["subnet-3"], "publicSubnetIds": ["subnet-4"]}
        eks.deploy(lambda: Cluster("lab", inputs))
        assert eks.one("aws:eks/cluster:Cluster").inputs["vpcConfig"]["subnetIds"] == ["subnet-4", "subnet-3"]

    def test_outputs_without_own_security_groups_name_the_one_that_eks_makes(self, eks):
        state = eks.deploy(lambda: Cluster("lab", CLUSTER)).state
        assert eks.value(state["clusterSecurityGroupId"]) == eks.value(state["nodeSecurityGroupId"]) == "sg-eks"
        assert eks.value(state["oidcIssuer"]) == "oidc.eks.us-east-1.amazonaws.com/id/ABC"
        assert not state.keys() & {"clusterSecurityGroup", "nodeSecurityGroup", "awsProvider", "defaultNodeGroup"}

    def test_outputs_are_those_of_the_schema(self, eks):
        inputs = without(CLUSTER, "skipDefaultSecurityGroups") | {"createOidcProvider": True}
        cluster = eks.deploy(lambda: Cluster("lab", inputs))
        outputs = contract._contract()["components"]["eks:index:Cluster"]["outputs"]
        assert set(outputs) == cluster.state.keys() | {"awsProvider", "defaultNodeGroup"}
        core = eks.value(cluster.core)
        types = contract._contract()["types"]
        assert core.keys() <= types["CoreData"].keys()
        assert core.keys() >= {name for name, (_, flags) in types["CoreData"].items() if "r" in flags}

    def test_default_security_groups(self, eks):
        state = eks.deploy(lambda: Cluster("lab", without(CLUSTER, "skipDefaultSecurityGroups"))).state
        group = eks.one("aws:ec2/securityGroup:SecurityGroup", "lab-eksClusterSecurityGroup")
        nodes = eks.one("aws:ec2/securityGroup:SecurityGroup", "lab-nodeSecurityGroup")
        assert eks.one("aws:eks/cluster:Cluster").inputs["vpcConfig"]["securityGroupIds"] == [group.id]
        assert nodes.inputs["tags"]["kubernetes.io/cluster/lab"] == "owned"
        assert {rule.name: rule.inputs["type"] for rule in eks.all("aws:ec2/securityGroupRule:SecurityGroupRule")} == {
            "lab-eksClusterInternetEgressRule": "egress",
            "lab-eksNodeIngressRule": "ingress",
            "lab-eksNodeClusterIngressRule": "ingress",
            "lab-eksExtApiServerClusterIngressRule": "ingress",
            "lab-eksNodeInternetEgressRule": "egress",
            "lab-eksClusterIngressRule": "ingress",
        }
        assert eks.value(state["clusterSecurityGroupId"]) == group.id
        assert eks.value(state["nodeSecurityGroupId"]) == nodes.id

    def test_access_entries_and_their_policies(self, eks):
        entry = {
            "principalArn": "arn:aws:iam::123456789012:role/admin",
            "username": "admin",
            "accessPolicies": {"all": {"policyArn": "arn:policy", "accessScope": {"type": "cluster"}}},
        }
        eks.deploy(lambda: Cluster("lab", {**CLUSTER, "accessEntries": {"admin": entry}}))
        registered = eks.one("aws:eks/accessEntry:AccessEntry", "lab-admin")
        assert registered.inputs == {"clusterName": "lab", "principalArn": entry["principalArn"], "userName": "admin"}
        association = eks.one("aws:eks/accessPolicyAssociation:AccessPolicyAssociation", "lab-admin-all")
        assert association.parent == registered.urn
        assert association.inputs == {
            "clusterName": "lab",
            "principalArn": entry["principalArn"],
            "policyArn": "arn:policy",
            "accessScope": {"type": "cluster"},
        }
        assert eks.needs(eks.one("eks:index:VpcCniAddon"), registered)

    def test_created_instance_role_may_join(self, eks):
        eks.deploy(lambda: Cluster("lab", {**CLUSTER, "createInstanceRole": True}))
        role = eks.one("aws:iam/role:Role", "lab-instanceRole-role")
        entry = eks.one("aws:eks/accessEntry:AccessEntry", "lab-defaultNodeGroupInstanceRole")
        assert entry.inputs["type"] == "EC2_LINUX"
        assert entry.inputs["principalArn"] == role.outputs["arn"]
        assert eks.one("aws:iam/instanceProfile:InstanceProfile").inputs == {"role": role.outputs["name"]}

    def test_given_service_role_is_used(self, eks):
        eks.deploy(lambda: Cluster("lab", {**CLUSTER, "serviceRole": Role("given", {"assumeRolePolicy": "{}"})}))
        assert eks.all("eks:index:ServiceRole") == []
        assert eks.one("aws:eks/cluster:Cluster").inputs["roleArn"] == eks.one("aws:iam/role:Role").outputs["arn"]

    def test_oidc_provider_has_the_clusters_issuer(self, eks):
        eks.deploy(lambda: Cluster("lab", {**CLUSTER, "createOidcProvider": True}))
        oidc = eks.one("aws:iam/openIdConnectProvider:OpenIdConnectProvider", "lab-oidcProvider")
        assert oidc.inputs["url"] == "https://oidc.eks.us-east-1.amazonaws.com/id/ABC"

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, {"lab-kube-proxy", "lab-vpc-cni"}),
            ({"kubeProxyAddonOptions": {"enabled": False}, "useDefaultVpcCni": True}, set()),
            ({"corednsAddonOptions": {"enabled": True}}, {"lab-kube-proxy", "lab-vpc-cni", "lab-coredns"}),
            ({"corednsAddonOptions": {"version": "v1"}}, {"lab-kube-proxy", "lab-vpc-cni"}),
        ],
    )
    def test_addons(self, eks, options, expected):
        eks.deploy(lambda: Cluster("lab", {**CLUSTER, **options}))
        assert {addon.name for addon in eks.all("aws:eks/addon:Addon")} == expected

    def test_addon_version_is_the_newest_unless_given(self, eks):
        eks.deploy(lambda: Cluster("lab", {**CLUSTER, "kubeProxyAddonOptions": {"version": "v1.34.0-eksbuild.1"}}))
        versions = {addon.name: addon.inputs["addonVersion"] for addon in eks.all("aws:eks/addon:Addon")}
        assert versions == {"lab-kube-proxy": "v1.34.0-eksbuild.1", "lab-vpc-cni": "newest-vpc-cni"}

    def test_options_flow_to_the_children(self, eks):
        def program() -> Cluster:
            aws = pulumi.ProviderResource("aws", "chosen", {"region": "us-east-1"})
            return Cluster("lab", CLUSTER, pulumi.ResourceOptions(providers=[aws], protect=True))

        eks.deploy(program)
        children = [one for one in eks.resources if one.type.startswith("aws:")]
        assert len(children) == 5
        assert all(one.protect and "::chosen::" in one.provider for one in children)

    def test_profile_is_for_the_provider_only(self, eks):
        inputs = {**CLUSTER, "providerCredentialOpts": {"profileName": "lab", "roleArn": "arn:role"}}
        state = eks.deploy(lambda: Cluster("lab", inputs)).state
        own = json.loads(eks.one("pulumi:providers:kubernetes").inputs["kubeconfig"])
        assert own["users"][0]["user"]["exec"]["args"][-4:] == ["--role", "arn:role", "--profile", "lab"]
        users = json.loads(eks.value(state["kubeconfigJson"]))
        assert users == eks.value(state["kubeconfig"])
        assert users["users"][0]["user"]["exec"]["args"][-2:] == ["--role", "arn:role"]


class TestClusterRefusals:
    @pytest.mark.parametrize(
        ("inputs", "path", "reason"),
        [
            (without(CLUSTER, "authenticationMode"), "authenticationMode", "aws-auth"),
            (CLUSTER | {"authenticationMode": "CONFIG_MAP"}, "authenticationMode", "API only"),
            (CLUSTER | {"authenticationMode": "TOKENS"}, "authenticationMode", "API, API_AND_CONFIG_MAP, CONFIG_MAP"),
            (without(CLUSTER, "skipDefaultNodeGroup"), "skipDefaultNodeGroup", "set it to true"),
            (without(CLUSTER, "vpcId"), "vpcId", "default VPC"),
            (without(CLUSTER, "subnetIds"), "subnetIds", "give subnetIds"),
            (CLUSTER | {"publicSubnetIds": ["subnet-3"]}, "subnetIds", "mutually exclusive"),
            (CLUSTER | {"fargate": True}, "fargate", "does not model"),
            (CLUSTER | {"endpointPublicAcces": True}, "endpointPublicAcces", "endpointPublicAccess meant"),
            (CLUSTER | {"version": 1.34}, "version", "a string is needed"),
            (CLUSTER | {"enabledClusterLogTypes": "audit"}, "enabledClusterLogTypes", "a list is needed"),
            (CLUSTER | {"deletionProtection": "yes"}, "deletionProtection", "true or false is needed"),
            (CLUSTER | {"serviceRole": ROLE_ARN}, "serviceRole", "aws:iam/role:Role"),
            (CLUSTER | {"accessEntries": {"a": {}}}, "accessEntries.a.principalArn", "missing"),
            (
                CLUSTER | {"accessEntries": {"a": {"principalArn": ROLE_ARN, "type": "EC2LINUX"}}},
                "accessEntries.a.type",
                "EC2_LINUX",
            ),
            (
                CLUSTER | {"accessEntries": {"a": {"principalArn": ROLE_ARN, "policies": {}}}},
                "accessEntries.a.policies",
                "no such property",
            ),
            (
                CLUSTER | {"vpcCniOptions": {"enableNetworkPolicies": True}},
                "vpcCniOptions.enableNetworkPolicies",
                "meant",
            ),
        ],
    )
    def test_refused(self, eks, inputs, path, reason):
        assert reason in refused(lambda: eks.deploy(lambda: Cluster("lab", inputs)))[path]
        assert eks.resources == []

    def test_all_mistakes_at_once(self, eks):
        errors = refused(lambda: eks.deploy(lambda: Cluster("lab", {**CLUSTER, "vpcID": "vpc-1", "version": 1})))
        assert errors.keys() == {"vpcID", "version"}

    def test_public_cidrs_need_a_public_endpoint(self, eks):
        inputs = {**CLUSTER, "publicAccessCidrs": ["192.0.2.0/24"], "endpointPublicAccess": False}
        assert (
            "endpointPublicAccess" in refused(lambda: eks.deploy(lambda: Cluster("lab", inputs)))["publicAccessCidrs"]
        )

    def test_roles_in_api_mode(self, eks):
        def program() -> None:
            Cluster("lab", {**CLUSTER, "instanceRoles": [Role("nodes", {})]})

        assert "empty" in refused(lambda: eks.deploy(program))["instanceRoles"]

    def test_outputs_are_checked_when_known(self, eks):
        inputs = {**CLUSTER, "enabledClusterLogTypes": pulumi.Output.from_input(["audit", 1])}
        assert "a string" in refused(lambda: eks.deploy(lambda: Cluster("lab", inputs)))["enabledClusterLogTypes[1]"]

    def test_plain_inputs_take_no_output(self, eks):
        inputs = {**CLUSTER, "skipDefaultSecurityGroups": pulumi.Output.from_input(True)}
        assert "plain" in refused(lambda: eks.deploy(lambda: Cluster("lab", inputs)))["skipDefaultSecurityGroups"]


class TestManagedNodeGroup:
    def deploy(self, eks, **inputs: Any) -> ManagedNodeGroup:
        def program() -> ManagedNodeGroup:
            return ManagedNodeGroup("system", {"cluster": Cluster("lab", CLUSTER), "nodeRoleArn": ROLE_ARN, **inputs})

        return eks.deploy(program)

    def test_defaults_come_from_the_cluster(self, eks):
        self.deploy(eks)
        group = eks.one("aws:eks/nodeGroup:NodeGroup", "system")
        assert group.inputs == {
            "clusterName": "lab",
            "version": "1.34",
            "nodeRoleArn": ROLE_ARN,
            "subnetIds": ["subnet-1", "subnet-2"],
            "scalingConfig": {"desiredSize": 2, "minSize": 1, "maxSize": 2},
        }
        assert group.parent == eks.one("eks:index:ManagedNodeGroup").urn
        assert eks.needs(group, eks.one("aws:eks/cluster:Cluster"))

    def test_own_launch_template_decides_on_the_version(self, eks):
        self.deploy(
            eks,
            launchTemplate={"id": "lt-1", "version": "2"},
            scalingConfig={"desiredSize": 2.0, "minSize": 2.0, "maxSize": 3.0},
            taints=[{"key": "CriticalAddonsOnly", "value": "true", "effect": "NO_SCHEDULE"}],
            ignoreScalingChanges=True,
        )
        group = eks.one("aws:eks/nodeGroup:NodeGroup")
        assert "version" not in group.inputs
        assert group.inputs["launchTemplate"] == {"id": "lt-1", "version": "2"}
        assert group.inputs["taints"] == [{"key": "CriticalAddonsOnly", "value": "true", "effect": "NO_SCHEDULE"}]
        assert group.ignore_changes == ["scalingConfig.desiredSize"]

    def test_core_data_serve_as_cluster_and_role_as_resource(self, eks):
        def program() -> ManagedNodeGroup:
            return ManagedNodeGroup("system", {"cluster": Cluster("lab", CLUSTER).core, "nodeRole": Role("nodes", {})})

        eks.deploy(program)
        group = eks.one("aws:eks/nodeGroup:NodeGroup")
        assert group.inputs["clusterName"] == "lab"
        assert group.inputs["nodeRoleArn"] == eks.one("aws:iam/role:Role", "nodes").outputs["arn"]

    def test_metadata_option_makes_a_launch_template_that_takes_the_disk_size(self, eks):
        self.deploy(eks, enableIMDSv2=True, diskSize=50, operatingSystem="Bottlerocket", instanceTypes=["m7g.large"])
        template = eks.one(LaunchTemplate.pulumi_type, "system-launchTemplate")
        assert template.inputs["metadataOptions"]["httpPutResponseHopLimit"] == 2
        assert template.inputs["blockDeviceMappings"] == [{"deviceName": "/dev/xvdb", "ebs": {"volumeSize": 50}}]
        group = eks.one("aws:eks/nodeGroup:NodeGroup")
        assert group.inputs["launchTemplate"] == {"id": template.id, "version": "3"}
        assert group.inputs["amiType"] == "BOTTLEROCKET_ARM_64"
        assert "diskSize" not in group.inputs

    @pytest.mark.parametrize(
        ("inputs", "path", "reason"),
        [
            ({"nodeRoleArn": None}, "nodeRole", "nodeRole or nodeRoleArn"),
            ({"enableIMDSv2": True, "launchTemplate": {"version": "1"}}, "launchTemplate", "enableIMDSv2"),
            ({"launchTemplate": {"id": "lt-1"}}, "launchTemplate.version", "missing"),
            ({"scalingConfig": {"desiredSize": 1}}, "scalingConfig.maxSize", "missing"),
            ({"updateConfig": {"maxUnavailable": 1}}, "updateConfig", "no such property"),
            ({"kubeletExtraArgs": "--max-pods=20"}, "kubeletExtraArgs", "does not model"),
            ({"taints": [{"key": "a"}]}, "taints[0].effect", "missing"),
            ({"cluster": "lab"}, "cluster", "eks:index:Cluster"),
            ({"operatingSystem": "Windows"}, "operatingSystem", "AL2023"),
        ],
    )
    def test_refused(self, eks, inputs, path, reason):
        assert reason in refused(lambda: self.deploy(eks, **inputs))[path]
        assert eks.all("eks:index:ManagedNodeGroup") == []

    def test_two_roles(self, eks):
        def program() -> None:
            ManagedNodeGroup(
                "system", {"cluster": Cluster("lab", CLUSTER), "nodeRoleArn": ROLE_ARN, "nodeRole": Role("nodes", {})}
            )

        assert "mutually exclusive" in refused(lambda: eks.deploy(program))["nodeRole"]

    def test_ami_types(self):
        assert ami_type("AL2023", True, ["g5.xlarge", "g6.xlarge"]) == "AL2023_x86_64_NVIDIA"
        assert "architecture" in refused(lambda: ami_type("AL2023", False, ["m7i.large", "m7g.large"]))["instanceTypes"]
        assert "arm64" in refused(lambda: ami_type("AL2", True, ["g5g.xlarge"]))["operatingSystem"]
        assert operating_system("BOTTLEROCKET_x86_64", None) == "Bottlerocket"
        assert "does not match" in refused(lambda: operating_system("AL2_x86_64", "AL2023"))["operatingSystem"]


class TestAddons:
    def test_addon_is_a_child_of_the_cluster(self, eks):
        def program() -> Addon:
            inputs = {
                "addonName": "coredns",
                "configurationValues": {"replicaCount": 2.0, "b": [1.0]},
                "preserve": False,
            }
            return Addon("coredns", {"cluster": Cluster("lab", CLUSTER), **inputs})

        eks.deploy(program)
        component = eks.one("eks:index:Addon")
        assert component.parent == eks.one("eks:index:Cluster").urn
        addon = eks.one("aws:eks/addon:Addon", "coredns")
        assert addon.parent == component.urn
        assert addon.inputs == {
            "clusterName": "lab",
            "addonName": "coredns",
            "configurationValues": '{"b":[1],"replicaCount":2}',
            "preserve": False,
        }

    def test_addon_without_a_name_is_refused(self, eks):
        def program() -> None:
            Addon("coredns", {"cluster": Cluster("lab", CLUSTER)})

        assert refused(lambda: eks.deploy(program)) == {"addonName": "required, but missing"}

    def test_cni_defaults(self):
        configuration = cni_configuration({"enableNetworkPolicy": True, "enablePrefixDelegation": True})
        assert configuration["enableNetworkPolicy"] == "true"
        assert configuration["env"]["ENABLE_PREFIX_DELEGATION"] == "true"
        assert configuration["env"]["WARM_ENI_TARGET"] == "1"
        assert configuration["init"] == {"env": {"DISABLE_TCP_EARLY_DEMUX": "false"}}
        assert "WARM_IP_TARGET" not in configuration["env"]

    def test_cni_configuration_values_win(self):
        given = {"env": {"WARM_ENI_TARGET": "3"}, "nodeAgent": {"enabled": "true"}, "init": {"image": "x"}}
        configuration = cni_configuration({"configurationValues": given, "warmEniTarget": 2})
        assert configuration["env"]["WARM_ENI_TARGET"] == "3"
        assert configuration["nodeAgent"] == {"enabled": "true"}
        assert configuration["init"] == {"image": "x", "env": {"DISABLE_TCP_EARLY_DEMUX": "false"}}

    def test_cni_needs_a_version_to_choose(self, eks):
        errors = refused(lambda: eks.deploy(lambda: VpcCniAddon("cni", {"clusterName": "lab"})))
        assert errors == {"addonVersion": "addonVersion or clusterVersion is needed"}


class TestProvider:
    @pytest.mark.parametrize("token", ["eks:index:NodeGroupV2", "eks:index:Nonsense"])
    def test_types_that_are_not_modelled(self, token, monkeypatch):
        monkeypatch.setattr("rehearsal.providers.eks.resources.register_references", lambda _: None)
        with pytest.raises(pulumi.InputPropertiesError, match=rf"{token} .* models eks:index:Addon"):
            EksProvider().construct("x", token, {})

    def test_cluster_needs_the_aws_command(self, monkeypatch, tmp_path):
        monkeypatch.setattr("rehearsal.providers.eks.resources.register_references", lambda _: None)
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(pulumi.InputPropertiesError, match="aws CLI"):
            EksProvider().construct("lab", "eks:index:Cluster", CLUSTER)

    @pytest.mark.parametrize(
        ("printed", "refused"),
        [
            ("aws-cli/2.31.0 Python/3.13.7 Linux/6.1 exe/x86_64", ""),
            ("aws-cli/2.6.9 Python/3.9.11 Linux/6.1 exe/x86_64", "At least v2.7.0 of aws-cli is required"),
            ("aws-cli/1.23.9 Python/3.8.8 Darwin/20.5.0", "At least v1.24.0 of aws-cli is required"),
            ("usage: aws", "Invalid Version"),
        ],
    )
    def test_cluster_needs_an_aws_command_that_is_new_enough(self, printed, refused, monkeypatch, tmp_path):
        write_command(tmp_path / "aws", f"echo '{printed}'")
        monkeypatch.setenv("PATH", str(tmp_path))
        assert refused in (aws_cli.refusal() or "")
        assert bool(refused) == bool(aws_cli.refusal())

    def test_the_rehearsals_own_aws_command_is_new_enough(self, monkeypatch, tmp_path):
        """The real plugin asks for its version before it makes a cluster."""
        run = f"PYTHONPATH={shlex.quote(str(PROJECT))} exec {shlex.quote(sys.executable)} -m rehearsal.aws.cli"
        write_command(tmp_path / "aws", f'{run} "$@"')
        monkeypatch.setenv("PATH", str(tmp_path))
        assert aws_cli.refusal() is None


def test_kubeconfig_asks_the_aws_command_for_a_token():
    config = kubeconfig_for("lab", endpoint="https://127.0.0.1:6443", region="us-east-1", authority="Q0E=")
    assert config["clusters"][0]["cluster"] == {
        "server": "https://127.0.0.1:6443",
        "certificate-authority-data": "Q0E=",
    }
    user = config["users"][0]["user"]["exec"]
    assert " ".join([user["command"], *user["args"]]) == (
        "aws --region us-east-1 eks get-token --cluster-name lab --output json"
    )


def test_trust_policy_names_the_service():
    (statement,) = json.loads(trust_policy("ec2.amazonaws.com", ["sts:AssumeRole"]))["Statement"]
    assert statement["Principal"] == {"Service": ["ec2.amazonaws.com"]}
