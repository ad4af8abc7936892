"""The eks stand-in: the children that the real cluster component would register, and what it refuses."""

from __future__ import annotations

import json

import pulumi
import pytest
from eks_stand_in import CLUSTER, ROLE_ARN, names, refused, with_eks, without

from rehearsal.providers.eks import contract
from rehearsal.providers.eks.cluster import Cluster
from rehearsal.providers.eks.kubeconfig import kubeconfig_for
from rehearsal.providers.eks.resources import Role


@pytest.fixture
def eks(mocks):
    return with_eks(mocks)


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
            (CLUSTER | {"authenticationMode": "CONFIG_MAP"}, "authenticationMode", "only API"),
            (CLUSTER | {"authenticationMode": "TOKENS"}, "authenticationMode", "API, API_AND_CONFIG_MAP, CONFIG_MAP"),
            (without(CLUSTER, "skipDefaultNodeGroup"), "skipDefaultNodeGroup", "set it to true"),
            (without(CLUSTER, "vpcId"), "vpcId", "default VPC"),
            (without(CLUSTER, "subnetIds"), "subnetIds", "give subnetIds"),
            (CLUSTER | {"publicSubnetIds": ["subnet-3"]}, "subnetIds", "mutually exclusive"),
            (CLUSTER | {"fargate": True}, "fargate", "does not support"),
            (CLUSTER | {"endpointPublicAcces": True}, "endpointPublicAcces", "did you mean endpointPublicAccess?"),
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
                "did you mean enableNetworkPolicy?",
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
