from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import eks_mocks
import pulumi
import pulumi_aws as aws
import pytest

import contracts.eks
from components.ground import cluster as module
from components.ground.cluster import Cluster, ClusterArgs
from components.ground.cluster_access import access_entries, is_same_principal
from rehearsal.providers.eks.addons import cni_configuration
from settings import Cluster as ClusterSettings
from settings.cluster import Endpoint, SystemNodes

ADMINISTRATOR = "arn:aws:iam::123456789012:role/teams/platform-admin"
VIEWER = "arn:aws:iam::123456789012:role/auditor"
PREVIEWER = "arn:aws:iam::123456789012:role/gpulab-bootstrap/gpulab-preview"
SETTINGS = ClusterSettings.model_validate(
    {
        "name": "lab",
        "version": "1.36",
        "upgradePolicy": "STANDARD",
        "administrators": [ADMINISTRATOR],
        "viewers": [VIEWER],
        "systemNodes": {"release": "1.36.4-20260923"},
    }
)


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An API server's address at which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"https://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def eks(mocks: Any, monkeypatch: pytest.MonkeyPatch, endpoint: str) -> eks_mocks.Eks:
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    return eks_mocks.answer(mocks, monkeypatch, endpoint)


def deploy(mocks: Any, **changed: Any) -> Cluster:
    """A small cluster; `changed` are fields of its settings or of its args."""
    fields = ClusterSettings.model_fields.keys() & changed.keys()
    args: dict[str, Any] = {
        "settings": SETTINGS.model_copy(update={field: changed.pop(field) for field in fields}),
        "region": "us-east-1",
        "partition": "aws",
        "caller_arn": "arn:aws:iam::123456789012:user/somebody-else",
        "vpc_id": "vpc-1",
        "control_plane_subnet_ids": ["subnet-intra-a", "subnet-intra-b"],
        "node_subnet_ids": ["subnet-private-a", "subnet-private-b"],
        "node_tags": {"Owner": "ml@example.com"},
    }

    def program() -> Cluster:
        provider = aws.Provider("aws", region="us-east-1")
        opts = pulumi.ResourceOptions(providers=[provider])
        return Cluster("lab", ClusterArgs(**{**args, **changed}), opts)

    return mocks.deploy(program)


def control_plane(mocks: Any) -> Any:
    return mocks.one("eks:index:Cluster")


def test_api_is_private_unless_ranges_are_given(mocks, eks):
    deploy(mocks)
    inputs = control_plane(mocks).inputs
    assert inputs["endpointPrivateAccess"] is True
    assert inputs["endpointPublicAccess"] is False
    assert "publicAccessCidrs" not in inputs


def test_public_endpoint_admits_the_given_ranges_alone(mocks, eks):
    deploy(mocks, endpoint=Endpoint.model_validate({"publicCidrs": ["203.0.113.0/24"]}))
    inputs = control_plane(mocks).inputs
    assert inputs["endpointPrivateAccess"] is True
    assert inputs["endpointPublicAccess"] is True
    assert inputs["publicAccessCidrs"] == ["203.0.113.0/24"]


def test_secrets_are_encrypted_with_a_key_that_rotates(mocks, eks):
    deploy(mocks, key_deletion_window_days=30)
    key = mocks.one("aws:kms/key:Key")
    assert control_plane(mocks).inputs["encryptionConfigKeyArn"] == key.outputs["arn"]
    assert key.inputs["enableKeyRotation"] is True
    assert key.inputs["deletionWindowInDays"] == 30


def test_log_group_is_there_before_eks_would_make_it(mocks, eks):
    deploy(mocks)
    group = mocks.one("aws:cloudwatch/logGroup:LogGroup")
    assert group.inputs["name"] == "/aws/eks/lab/cluster"
    assert group.inputs["retentionInDays"] == 30
    assert mocks.needs(control_plane(mocks), group)
    assert "audit" in control_plane(mocks).inputs["enabledClusterLogTypes"]


def test_administrators_and_viewers_have_access_entries(mocks, eks):
    deploy(mocks)
    entries = control_plane(mocks).inputs["accessEntries"].values()
    policies = {
        entry["principalArn"]: [policy["policyArn"] for policy in entry["accessPolicies"].values()] for entry in entries
    }
    assert policies == {
        ADMINISTRATOR: ["arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"],
        VIEWER: ["arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"],
    }


def test_previewers_read_secrets_by_ekss_policy_and_the_rest_by_their_group(mocks, eks):
    deploy(mocks, viewers=[], previewers=[PREVIEWER])
    entries = {one["principalArn"]: one for one in control_plane(mocks).inputs["accessEntries"].values()}
    policies = [policy["policyArn"] for policy in entries[PREVIEWER]["accessPolicies"].values()]
    assert policies == ["arn:aws:eks::aws:cluster-access-policy/AmazonEKSSecretReaderPolicy"]
    binding = mocks.one("kubernetes:rbac.authorization.k8s.io/v1:ClusterRoleBinding")
    assert [one["name"] for one in binding.inputs["subjects"]] == entries[PREVIEWER]["kubernetesGroups"]
    role = mocks.one("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole")
    assert binding.inputs["roleRef"]["name"] == role.inputs["metadata"]["name"]
    assert {verb for rule in role.inputs["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    assert "kubernetesGroups" not in entries[ADMINISTRATOR]


def test_without_previewers_nobody_has_their_rights(mocks, eks):
    deploy(mocks)
    assert not [one for one in mocks.resources if "rbac" in one.type]


def test_order_of_administrators_changes_no_access_entry():
    arns = [ADMINISTRATOR, "arn:aws:iam::999999999999:role/teams/platform-admin"]
    assert set(access_entries("aws", arns)) == set(access_entries("aws", arns[::-1]))
    assert len(access_entries("aws", arns)) == 2


def test_control_plane_alone_is_protected(mocks, eks):
    deploy(mocks, protect=True, deletion_protection=True)
    assert mocks.one("aws:kms/key:Key").protect
    assert eks.control_plane().opts.protect is True
    assert control_plane(mocks).inputs["deletionProtection"] is True
    # Protecting the component would hold back its addons and access entries.
    assert not control_plane(mocks).protect
    assert (
        eks.transforms[0](pulumi.ResourceTransformArgs(True, "aws:eks/addon:Addon", "a", {}, pulumi.ResourceOptions()))
        is None
    )


def test_nothing_is_protected_once_unlocked(mocks, eks):
    deploy(mocks, protect=False, deletion_protection=False)
    assert not any(resource.protect for resource in mocks.resources)
    assert eks.control_plane().opts.protect is False
    assert control_plane(mocks).inputs["deletionProtection"] is False


@pytest.mark.parametrize(
    ("caller", "made_administrator_by_eks"),
    [
        ("arn:aws:sts::123456789012:assumed-role/platform-admin/ci", False),
        ("arn:aws:sts::123456789012:assumed-role/auditor/ci", True),
        ("arn:aws:iam::123456789012:user/somebody-else", True),
    ],
)
def test_creator_has_exactly_one_access_entry_as_administrator(mocks, eks, caller, made_administrator_by_eks):
    deploy(mocks, caller_arn=caller)
    access = eks.control_plane().props["accessConfig"]
    assert mocks.value(access["bootstrapClusterCreatorAdminPermissions"]) is made_administrator_by_eks
    assert access["authenticationMode"] == control_plane(mocks).inputs["authenticationMode"] == "API"
    assert eks.control_plane().opts.ignore_changes == ["bootstrapSelfManagedAddons"]


@pytest.mark.parametrize(
    ("caller", "principal", "same"),
    [
        ("arn:aws:sts::1:assumed-role/admin/me", "arn:aws:iam::1:role/admin", True),
        ("arn:aws:sts::1:assumed-role/admin/me", "arn:aws:iam::1:role/path/to/admin", True),
        ("arn:aws:sts::1:assumed-role/admin/me", "arn:aws:iam::2:role/admin", False),
        ("arn:aws:sts::1:assumed-role/admin/me", "arn:aws:iam::1:user/admin", False),
        ("arn:aws:sts::1:assumed-role/admin/me", "arn:aws:iam::1:role/other", False),
        ("arn:aws:iam::1:user/team/me", "arn:aws:iam::1:user/team/me", True),
        ("arn:aws:iam::1:user/me", "arn:aws:iam::1:user/team/me", False),
        ("arn:aws:sts::1:federated-user/me", "arn:aws:iam::1:user/me", False),
    ],
)
def test_sessions_belong_to_their_roles(caller, principal, same):
    assert is_same_principal(caller, principal) is same


def test_addons_are_pinned_by_the_clusters_kubernetes_and_looked_up_by_nobody(mocks, eks):
    deploy(mocks, version="1.35")
    inputs = control_plane(mocks).inputs
    versions = {addon.inputs["addonName"]: addon.inputs["addonVersion"] for addon in mocks.all("aws:eks/addon:Addon")}
    versions |= {
        "vpc-cni": inputs["vpcCniOptions"]["addonVersion"],
        "kube-proxy": inputs["kubeProxyAddonOptions"]["version"],
    }
    assert versions.keys() == {"coredns", "eks-pod-identity-agent", "vpc-cni", "kube-proxy"}
    assert versions == {name: contracts.eks.addon_version(name, "1.35") for name in versions}
    assert not any("getAddonVersion" in call.token for call in mocks.calls)


@pytest.mark.parametrize("support_type", ["STANDARD", "EXTENDED"])
def test_eks_is_told_what_to_do_when_standard_support_ends(mocks, eks, support_type):
    deploy(mocks, upgrade_policy=support_type)
    assert control_plane(mocks).inputs["upgradePolicy"] == {"supportType": support_type}


def test_system_nodes_have_one_release_of_their_image(mocks, eks):
    deploy(mocks)
    assert system_nodes(mocks).inputs["releaseVersion"] == "1.36.4-20260923"
    template = mocks.one("aws:ec2/launchTemplate:LaunchTemplate").inputs
    assert "imageId" not in template, "EKS takes a release beside a template without an image alone"


def test_network_policies_are_enforced(mocks, eks):
    deploy(mocks)
    assert control_plane(mocks).inputs["vpcCniOptions"]["enableNetworkPolicy"] is True


def test_addresses_come_in_blocks_where_asked_for_and_no_option_changes_elsewhere(mocks, eks):
    deploy(mocks)
    assert not {"enablePrefixDelegation", "warmPrefixTarget"} & control_plane(mocks).inputs["vpcCniOptions"].keys()
    mocks.resources.clear()
    deploy(mocks, prefix_delegation=True)
    env = cni_configuration(control_plane(mocks).inputs["vpcCniOptions"])["env"]
    assert (env["ENABLE_PREFIX_DELEGATION"], env["WARM_PREFIX_TARGET"]) == ("true", "1")


def system_nodes(mocks: Any) -> Any:
    return mocks.one("eks:index:ManagedNodeGroup")


def test_dns_runs_on_the_system_nodes_and_goes_before_them(mocks, eks):
    deploy(mocks)
    dns = mocks.one("aws:eks/addon:Addon", "lab-coredns")
    configuration = json.loads(dns.inputs["configurationValues"])
    (taint,) = system_nodes(mocks).inputs["taints"]
    assert taint["key"] in [toleration["key"] for toleration in configuration["tolerations"]]
    assert configuration["nodeSelector"].items() <= system_nodes(mocks).inputs["labels"].items()
    assert mocks.needs(dns, system_nodes(mocks))


def test_nodes_join_a_cluster_that_is_there_with_the_permissions_to_join(mocks, eks):
    deploy(mocks)
    assert mocks.needs(system_nodes(mocks), control_plane(mocks))
    for attachment in mocks.all("aws:iam/rolePolicyAttachment:RolePolicyAttachment"):
        assert mocks.needs(system_nodes(mocks), attachment)


def test_system_nodes_are_in_no_more_zones_than_there_are_nodes(mocks, eks):
    """Otherwise a new node could be in another zone than the disk of a pod that runs only there, such as the hub's."""
    deploy(mocks, node_subnet_ids=[f"subnet-private-{zone}" for zone in "abc"])
    inputs = system_nodes(mocks).inputs
    assert len(inputs["subnetIds"]) == inputs["scalingConfig"]["minSize"] == 2


def test_system_nodes_are_in_the_private_subnets_of_all_zones(mocks, eks):
    deploy(mocks)
    inputs = system_nodes(mocks).inputs
    assert inputs["subnetIds"] == ["subnet-private-a", "subnet-private-b"]
    assert inputs["scalingConfig"] == {"minSize": 2, "desiredSize": 2, "maxSize": 2}
    assert inputs["version"] == control_plane(mocks).inputs["version"]
    assert control_plane(mocks).inputs["subnetIds"] == ["subnet-intra-a", "subnet-intra-b"]


def test_pods_cannot_ask_for_a_system_nodes_credentials(mocks, eks):
    deploy(mocks)
    template = mocks.one("aws:ec2/launchTemplate:LaunchTemplate")
    assert system_nodes(mocks).inputs["launchTemplate"]["id"] == template.id
    options = template.inputs["metadataOptions"]
    assert (options["httpTokens"], options["httpPutResponseHopLimit"]) == ("required", 1)
    assert "enableIMDSv2" not in system_nodes(mocks).inputs


def test_system_nodes_disks_are_encrypted_and_tagged(mocks, eks):
    deploy(mocks)
    template = mocks.one("aws:ec2/launchTemplate:LaunchTemplate").inputs
    (disk,) = template["blockDeviceMappings"]
    assert disk["ebs"]["encrypted"] == "true"
    assert disk["ebs"]["volumeSize"] == 50
    tagged = {spec["resourceType"]: spec["tags"]["Owner"] for spec in template["tagSpecifications"]}
    assert tagged == dict.fromkeys(("instance", "volume", "network-interface"), "ml@example.com")


@pytest.mark.parametrize(
    ("instance_type", "image"), [("m7i.large", "AL2023_x86_64_STANDARD"), ("m7g.large", "AL2023_ARM_64_STANDARD")]
)
def test_image_is_of_the_instance_types_architecture(mocks, eks, instance_type, image):
    nodes = SystemNodes.model_validate({"instanceTypes": [instance_type], "release": "1.36.4-20260923"})
    deploy(mocks, system_nodes=nodes)
    assert system_nodes(mocks).inputs["amiType"] == image


def test_karpenter_finds_the_security_group_that_eks_made(mocks, eks):
    deploy(mocks)
    tag = mocks.one("aws:ec2/tag:Tag").inputs
    assert tag == {"resourceId": eks_mocks.SECURITY_GROUP, "key": "karpenter.sh/discovery", "value": "lab"}


def test_another_kubeconfig_of_the_same_cluster_replaces_nothing(mocks, eks, endpoint):
    deploy(mocks)
    provider = mocks.one("pulumi:providers:kubernetes")
    assert provider.inputs["clusterIdentifier"] == endpoint
    assert provider.inputs["enableServerSideApply"] == "true"
    assert mocks.needs(provider, control_plane(mocks))


def test_update_kubeconfig_command(mocks, eks):
    cluster = deploy(mocks)
    assert mocks.value(cluster.update_kubeconfig_command) == "aws eks update-kubeconfig --region us-east-1 --name lab"


def test_kubernetes_provider_waits_for_the_connection(mocks, eks, monkeypatch):
    async def connected(endpoint: str, kubeconfig: str, **_: Any) -> str:
        return f"{kubeconfig} by way of {endpoint}"

    monkeypatch.setattr(module, "reachable_kubeconfig", connected)
    deploy(mocks)
    assert mocks.one("pulumi:providers:kubernetes").inputs["kubeconfig"].endswith(f"by way of {eks.endpoint}")
