from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from aws_support import Made, SimulatedAws, simulated_aws
from test_aws_types_iam import ALIAS, KEY, ROLE, trust

from rehearsal.providers.protocol.model import UNKNOWN, InitFailed, Properties, Refused

CLUSTER, NODE_GROUP, ADDON = "aws:eks/cluster:Cluster", "aws:eks/nodeGroup:NodeGroup", "aws:eks/addon:Addon"
ENTRY, POLICY = "aws:eks/accessEntry:AccessEntry", "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"
ASSOCIATION = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
VPC, SUBNET = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet"
ADMINISTRATOR = "arn:aws:iam::123456789012:role/platform-admin"
ADMIN_POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
TAINT = {"key": "CriticalAddonsOnly", "value": "true", "effect": "NO_SCHEDULE"}


@pytest.fixture(scope="module")
def server() -> Iterator[SimulatedAws]:
    with simulated_aws() as aws:
        yield aws


class Lab:
    """A network and roles, and a cluster in it."""

    def __init__(self, aws: SimulatedAws) -> None:
        self.aws = aws
        vpc = aws.create(VPC, {"cidrBlock": "10.40.0.0/16"})
        self.subnets = [
            aws.create(
                SUBNET, {"vpcId": vpc.id, "cidrBlock": f"10.40.{i}.0/24", "availabilityZone": f"us-east-1{zone}"}
            ).id
            for i, zone in enumerate("abc")
        ]
        self.key = aws.create(KEY, {"description": "secrets"})
        self.role = aws.create(ROLE, {"name": "cluster", "assumeRolePolicy": trust("eks.amazonaws.com")})
        self.node_role = aws.create(ROLE, {"name": "node", "assumeRolePolicy": trust()})
        both = {"Action": ["sts:AssumeRole", "sts:TagSession"]}
        self.pod_role = aws.create(ROLE, {"name": "pod", "assumeRolePolicy": trust("pods.eks.amazonaws.com", **both)})
        self.cluster = aws.create(CLUSTER, self.cluster_inputs())

    def cluster_inputs(self, **more: Any) -> Properties:
        return {
            "name": "lab",
            "version": "1.35",
            "roleArn": self.role.outputs["arn"],
            "vpcConfig": {
                "subnetIds": self.subnets,
                "endpointPrivateAccess": True,
                "endpointPublicAccess": True,
                "publicAccessCidrs": ["203.0.113.0/24"],
            },
            "accessConfig": {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": True},
            "encryptionConfig": {"resources": ["secrets"], "provider": {"keyArn": self.key.outputs["arn"]}},
            "enabledClusterLogTypes": ["audit", "api"],
            **more,
        }

    def group_inputs(self, **more: Any) -> Properties:
        return {
            "clusterName": "lab",
            "nodeRoleArn": self.node_role.outputs["arn"],
            "subnetIds": self.subnets,
            "instanceTypes": ["m7i.large"],
            "scalingConfig": {"minSize": 2, "desiredSize": 2, "maxSize": 3},
            "labels": {"kind": "system"},
            "taints": [TAINT],
            **more,
        }

    def running_ids(self) -> set[str]:
        reservations = self.aws.ec2.describe_instances()["Reservations"]
        found = [one for reservation in reservations for one in reservation["Instances"]]
        return {one["InstanceId"] for one in found if one["State"]["Name"] == "running"}

    def running(self) -> int:
        return len(self.running_ids())


@pytest.fixture
def lab(server: SimulatedAws) -> Iterator[Lab]:
    yield Lab(server)
    server.delete_all()


def test_cluster_is_what_was_asked_for(lab: Lab) -> None:
    outputs = lab.cluster.outputs
    assert lab.aws.drift(lab.cluster) == {}
    assert outputs["status"] == "ACTIVE"
    assert outputs["vpcConfig"]["clusterSecurityGroupId"].startswith("sg-")
    assert outputs["tagsAll"] == {"Owner": "tests"}


def test_cluster_changes_in_place(lab: Lab) -> None:
    network = {**lab.cluster_inputs()["vpcConfig"], "endpointPublicAccess": False, "publicAccessCidrs": []}
    changed = lab.cluster_inputs(
        version="1.36",
        vpcConfig=network,
        enabledClusterLogTypes=["audit"],
        deletionProtection=True,
        upgradePolicy={"supportType": "STANDARD"},
        tags={"Team": "ml"},
    )
    lab.aws.update(lab.cluster, changed)
    assert lab.aws.drift(lab.cluster) == {}
    assert lab.cluster.outputs["enabledClusterLogTypes"] == ["audit"]
    with pytest.raises(Refused, match="deletion protection"):
        lab.aws.delete(lab.cluster)
    lab.aws.update(lab.cluster, {**changed, "deletionProtection": False})
    lab.aws.update(
        lab.cluster, {**changed, "deletionProtection": False, "vpcConfig": {**network, "subnetIds": lab.subnets[:2]}}
    )
    assert lab.aws.drift(lab.cluster) == {}


def test_cluster_is_replaced_for_what_eks_cannot_change(lab: Lab) -> None:
    aws, cluster = lab.aws, lab.cluster
    without = {key: value for key, value in lab.cluster_inputs().items() if key != "encryptionConfig"}
    assert aws.replaced_by(cluster, without) == {"encryptionConfig"}
    assert aws.replaced_by(cluster, lab.cluster_inputs(name="other")) == {"name"}
    other_role = lab.cluster_inputs(roleArn=lab.node_role.outputs["arn"])
    assert aws.replaced_by(cluster, other_role) == {"roleArn"}
    creator = {"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": False}
    assert aws.replaced_by(cluster, lab.cluster_inputs(accessConfig=creator))


def test_a_change_behind_the_programs_back_shows(lab: Lab) -> None:
    eks = lab.aws.provider.cloud().client("eks")
    eks.update_cluster_config(name="lab", resourcesVpcConfig={"publicAccessCidrs": ["0.0.0.0/0"]})
    assert lab.aws.drift(lab.cluster)["vpcConfig"]["publicAccessCidrs"] == ["0.0.0.0/0"]


def test_preview_of_a_cluster_knows_what_it_does_not_know(lab: Lab) -> None:
    kind = lab.aws.provider.resource_type(CLUSTER)
    request = lab.aws.request(CLUSTER, "lab")
    outputs = kind.preview(kind.check(lab.cluster_inputs(), {}, request), None, request)
    assert outputs["vpcConfig"]["clusterSecurityGroupId"] is UNKNOWN
    assert outputs["endpoint"] is UNKNOWN
    assert outputs["version"] == "1.35"


def test_node_group_lives_and_scales(lab: Lab) -> None:
    group = lab.aws.create(NODE_GROUP, lab.group_inputs())
    assert lab.aws.drift(group) == {}
    assert group.outputs["nodeGroupName"].startswith("lab-")
    assert lab.running() == 2
    changed = lab.group_inputs(
        scalingConfig={"minSize": 1, "desiredSize": 3, "maxSize": 3},
        labels={"other": "x"},
        taints=[{**TAINT, "effect": "NO_EXECUTE"}],
        tags={"Team": "ml"},
    )
    lab.aws.update(group, changed)
    assert lab.aws.drift(group) == {}
    assert lab.running() == 3
    assert lab.aws.replaced_by(group, {**changed, "instanceTypes": ["m7i.xlarge"]}) == {"instanceTypes.0"}
    lab.aws.delete(group)
    assert lab.running() == 0
    assert lab.aws.drift(group) == {"gone": True}


def test_a_new_release_of_the_image_rolls_the_nodes_in_place(lab: Lab) -> None:
    older, newer = (lab.group_inputs(releaseVersion=f"1.35.8-{day}") for day in ("20260923", "20260930"))
    group = lab.aws.create(NODE_GROUP, older)
    before = lab.running_ids()
    lab.aws.update(group, newer)
    assert group.outputs["releaseVersion"] == "1.35.8-20260930"
    assert lab.aws.drift(group) == {}
    assert len(before) == lab.running() == 2
    assert not before & lab.running_ids()
    with pytest.raises(Refused, match=r"1\.36\.4-20260930 is not valid for kubernetes version 1\.35"):
        lab.aws.update(group, lab.group_inputs(releaseVersion="1.36.4-20260930"))


def test_coredns_waits_for_nodes_that_it_tolerates(lab: Lab) -> None:
    inputs = {"clusterName": "lab", "addonName": "coredns"}
    with pytest.raises(InitFailed, match="InsufficientNumberOfReplicas") as failed:
        lab.aws.create(ADDON, inputs)
    state = Made(ADDON, "lab", failed.value.id, lab.aws.check(ADDON, inputs), failed.value.outputs)
    lab.aws.made.append(state)
    lab.aws.create(NODE_GROUP, lab.group_inputs())
    lab.aws.update(state, inputs)
    assert lab.aws.drift(state) == {}


def test_addon_changes_in_place(lab: Lab) -> None:
    inputs = {"clusterName": "lab", "addonName": "vpc-cni", "configurationValues": json.dumps({"env": {"A": "1"}})}
    addon = lab.aws.create(ADDON, inputs)
    assert lab.aws.drift(addon) == {}
    older = {**inputs, "addonVersion": "v1.21.1-eksbuild.8", "resolveConflictsOnUpdate": "OVERWRITE"}
    lab.aws.update(addon, {**older, "configurationValues": json.dumps({"env": {"A": "2"}})})
    assert lab.aws.drift(addon) == {}
    with pytest.raises(Refused, match="not supported"):
        lab.aws.update(addon, {**older, "addonVersion": "v9.9.9-eksbuild.1"})


def test_addon_brings_its_pod_identity(lab: Lab) -> None:
    association = {"serviceAccount": "ebs-csi-controller-sa", "roleArn": lab.pod_role.outputs["arn"]}
    lab.aws.create(NODE_GROUP, lab.group_inputs())
    inputs = {"clusterName": "lab", "addonName": "aws-ebs-csi-driver", "podIdentityAssociations": [association]}
    addon = lab.aws.create(ADDON, inputs)
    assert lab.aws.drift(addon) == {}
    eks = lab.aws.provider.cloud().client("eks")
    assert len(eks.list_pod_identity_associations(clusterName="lab")["associations"]) == 1
    # The provider gives EKS an empty list, as one that is left out changes nothing.
    lab.aws.update(addon, {key: value for key, value in inputs.items() if key != "podIdentityAssociations"})
    assert not eks.list_pod_identity_associations(clusterName="lab")["associations"]
    lab.aws.update(addon, inputs)
    lab.aws.delete(addon)
    assert not eks.list_pod_identity_associations(clusterName="lab")["associations"]


def test_access_entry_and_its_policy(lab: Lab) -> None:
    entry = lab.aws.create(ENTRY, {"clusterName": "lab", "principalArn": ADMINISTRATOR, "kubernetesGroups": ["ops"]})
    scope = {"type": "cluster"}
    given = {"clusterName": "lab", "principalArn": ADMINISTRATOR, "policyArn": ADMIN_POLICY, "accessScope": scope}
    policy = lab.aws.create(POLICY, given)
    assert lab.aws.drift(entry) == {}
    assert lab.aws.drift(policy) == {}
    lab.aws.update(entry, {"clusterName": "lab", "principalArn": ADMINISTRATOR, "kubernetesGroups": ["dev"]})
    assert lab.aws.drift(entry) == {}
    assert lab.aws.replaced_by(policy, {**given, "accessScope": {"type": "namespace", "namespaces": ["a"]}})


def test_pod_identity_association(lab: Lab) -> None:
    inputs = {
        "clusterName": "lab", "namespace": "kube-system", "serviceAccount": "karpenter",
        "roleArn": lab.pod_role.outputs["arn"],
    }  # fmt: skip
    association = lab.aws.create(ASSOCIATION, inputs)
    assert lab.aws.drift(association) == {}
    lab.aws.update(association, {**inputs, "tags": {"a": "b"}})
    assert lab.aws.drift(association) == {}
    with pytest.raises(Refused, match="already exists"):
        lab.aws.create(ASSOCIATION, inputs)
    with pytest.raises(Refused, match="sts:TagSession"):
        lab.aws.create(ASSOCIATION, {**inputs, "serviceAccount": "b", "roleArn": lab.role.outputs["arn"]})


PROVIDER = "aws:eks/identityProviderConfig:IdentityProviderConfig"
OIDC = {
    "identityProviderConfigName": "keycloak",
    "issuerUrl": "https://auth.lab.example.com/realms/gpulab",
    "clientId": "kubernetes",
    "groupsClaim": "groups",
    "groupsPrefix": "gpulab:",
}


def test_a_cluster_has_one_issuer_and_another_takes_its_place(lab: Lab) -> None:
    aws = lab.aws
    provider = aws.create(PROVIDER, {"clusterName": "lab", "oidc": OIDC, "tags": {"Team": "ml"}})
    assert provider.id == "lab:keycloak"
    assert provider.outputs["status"] == "ACTIVE"
    assert aws.drift(provider) == {}
    with pytest.raises(Refused, match="already has an identity provider"):
        aws.create(PROVIDER, {"clusterName": "lab", "oidc": {**OIDC, "identityProviderConfigName": "other"}})
    changed = {"clusterName": "lab", "oidc": {**OIDC, "issuerUrl": "https://auth.example.com/realms/gpulab"}}
    assert aws.replaced_by(provider, changed) == {"oidc.issuerUrl"}
    aws.update(provider, {"clusterName": "lab", "oidc": OIDC, "tags": {"Team": "vision"}})
    assert aws.drift(provider) == {}
    aws.delete(provider)
    aws.create(PROVIDER, changed)


REFUSALS: list[tuple[str, Properties, str, str]] = [
    (CLUSTER, {"version": "1.20"}, "version", "not 1.20"),
    (
        CLUSTER,
        {"version": "1.33", "upgradePolicy": {"supportType": "STANDARD"}},
        "upgradePolicy.supportType",
        "has entered it",
    ),
    (CLUSTER, {"name": "a b"}, "name", "must match"),
    (CLUSTER, {"enabledClusterLogTypes": ["kubelet"]}, "enabledClusterLogTypes[0]", "one of"),
    (CLUSTER, {"vpcConfig": {"subnetIds": ["subnet-1"]}}, "vpcConfig.subnetIds", "two different AZs"),
    (
        CLUSTER,
        {"vpcConfig": {"subnetIds": ["a", "b"], "endpointPublicAccess": False}},
        "vpcConfig.endpointPublicAccess",
        "both",
    ),
    (CLUSTER, {"computeConfig": {"enabled": True}}, "computeConfig", "does not support"),
    (NODE_GROUP, {"instanceTypes": ["m99.large"]}, "instanceTypes[0]", "no instance type"),
    (NODE_GROUP, {"amiType": "AL2023_ARM_64_STANDARD"}, "instanceTypes[0]", "x86_64"),
    (NODE_GROUP, {"amiType": "AL3"}, "amiType", "one of"),
    (
        NODE_GROUP,
        {"version": "1.36", "releaseVersion": "1.35.8-20260930"},
        "releaseVersion",
        "not valid for kubernetes",
    ),
    (NODE_GROUP, {"taints": [{**TAINT, "effect": "NoSchedule"}]}, "taints[0].effect", "NO_SCHEDULE"),
    (NODE_GROUP, {"scalingConfig": {"minSize": 3, "desiredSize": 2, "maxSize": 2}}, "scalingConfig.minSize", "greater"),
    (NODE_GROUP, {"diskSize": 50, "launchTemplate": {"id": "lt-1", "version": "1"}}, "diskSize", "launch template"),
    (
        ADDON,
        {"clusterName": "lab", "addonName": "coredns", "configurationValues": "x"},
        "configurationValues",
        "mapping",
    ),
    (
        ENTRY,
        {"clusterName": "lab", "principalArn": "arn:aws:sts::123456789012:assumed-role/a/b"},
        "principalArn",
        "not the ARN",
    ),
    (ENTRY, {"clusterName": "lab", "principalArn": ADMINISTRATOR, "type": "NODE"}, "type", "one of"),
    (
        PROVIDER,
        {"clusterName": "lab", "oidc": {**OIDC, "issuerUrl": "http://auth.example.com"}},
        "oidc.issuerUrl",
        "https://",
    ),
    (
        PROVIDER,
        {"clusterName": "lab", "oidc": {**OIDC, "groupsPrefix": "system:"}},
        "oidc.groupsPrefix",
        "reserved for Kubernetes",
    ),
    (POLICY, {"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}, "policyArn", "not an EKS access policy"),
    (POLICY, {"accessScope": {"type": "namespace"}}, "accessScope.namespaces", "needs at least one"),
]


@pytest.mark.parametrize(("token", "inputs", "where", "reason"), REFUSALS)
def test_preview_refuses(lab: Lab, token: str, inputs: Properties, where: str, reason: str) -> None:
    if token == POLICY:
        complete: Properties = {
            "clusterName": "lab", "principalArn": ADMINISTRATOR, "policyArn": ADMIN_POLICY,
            "accessScope": {"type": "cluster"},
        }  # fmt: skip
    else:
        complete = {CLUSTER: lab.cluster_inputs(), NODE_GROUP: lab.group_inputs()}.get(token, {})
    assert reason in lab.aws.refusals(token, {**complete, **inputs})[where]


def test_alias_of_the_clusters_key(lab: Lab) -> None:
    alias = lab.aws.create(ALIAS, {"name": "alias/lab-secrets", "targetKeyId": lab.key.id})
    assert lab.aws.drift(alias) == {}
