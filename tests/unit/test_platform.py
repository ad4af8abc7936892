from __future__ import annotations

import ipaddress
import itertools
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import eks_mocks
import pulumi
import pytest
from engine_mocks import EngineMocks
from platform_lab import LAB, answering_eks, config, deploy, deployed

import contracts
from components.ground.eks import permissions_boundary_transform
from components.ground.system_nodes import SYSTEM_TAINT
from reports.idle_cost import idle_cost
from reports.preview_output import Step

PROGRAM = Path(__file__).parents[2] / "__main__.py"
PRODUCTION: dict[str, Any] = {"gpulab:lifecycle": {"kind": "production"}}
PEOPLE: dict[str, Any] = {"gpulab:identity": {"administrators": ["ada@example.com"]}}
UNLOCKED: dict[str, Any] = {"gpulab:lifecycle": {"kind": "production", "unlock": True}}


@pytest.fixture
def eks(mocks: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[eks_mocks.Eks]:
    with answering_eks(mocks, monkeypatch) as answering:
        yield answering


@pytest.fixture(scope="module")
def lab() -> EngineMocks:
    """The graph of the lab as it is, which tests only read."""
    return deployed()


def test_the_boundary_is_put_on_roles_and_on_nothing_else():
    transform = permissions_boundary_transform("arn:aws:iam::123456789012:policy/the-boundary")

    def transformed(type_):
        given = pulumi.ResourceTransformArgs(True, type_, "one", {"tags": {}}, pulumi.ResourceOptions(protect=True))
        return transform(given)

    role: Any = transformed("aws:iam/role:Role")
    assert role.props == {"tags": {}, "permissionsBoundary": "arn:aws:iam::123456789012:policy/the-boundary"}
    assert role.opts.protect
    assert transformed("aws:iam/policy:Policy") is None


def resources_of(mocks: Any, component: str) -> list[Any]:
    return [r for r in mocks.resources if f"gpulab:index:{component}$" in r.urn]


def test_everything_on_aws_goes_through_the_one_provider_with_the_default_tags(lab):
    provider = lab.one("pulumi:providers:aws")
    tags = json.loads(provider.inputs["defaultTags"])["tags"]
    assert tags == {
        "Owner": "ml@example.com",
        "CostCenter": "research-042",
        "Project": "gpulab",
        "Stack": "dev",
        "Lifecycle": "lab",
        "Expires": "2027-06-30",
    }
    assert provider.inputs["region"] == "us-east-1"
    for resource in lab.resources:
        if resource.custom and resource.type.startswith("aws:"):
            assert resource.provider.startswith(provider.urn), resource.urn


def test_everything_in_the_cluster_goes_through_the_clusters_provider(lab):
    provider = lab.one("pulumi:providers:kubernetes")
    found = [r for r in lab.resources if r.type.startswith("kubernetes:")]
    assert {r.type for r in found} >= {"kubernetes:helm.sh/v3:Release", "kubernetes:karpenter.sh/v1:NodePool"}
    assert all(r.provider.startswith(provider.urn) for r in found)


def test_aws_is_asked_through_the_explicit_provider_alone(lab):
    provider = lab.one("pulumi:providers:aws")
    assert lab.calls
    for call in lab.calls:
        assert call.provider.startswith(provider.urn), call.token


def test_tags_of_nodes_do_not_move_when_a_lab_is_extended(lab):
    node_class = lab.one("kubernetes:karpenter.k8s.aws/v1:EC2NodeClass").inputs["spec"]
    template = lab.one("aws:ec2/launchTemplate:LaunchTemplate").inputs
    for tags in (node_class["tags"], *(spec["tags"] for spec in template["tagSpecifications"])):
        assert tags["Owner"] == "ml@example.com"
        assert "Expires" not in tags


def test_destruction_runs_from_node_pools_to_network(lab):
    pool = lab.one("kubernetes:karpenter.sh/v1:NodePool")
    node_class = lab.one("kubernetes:karpenter.k8s.aws/v1:EC2NodeClass")
    karpenter = lab.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-karpenter")
    dns = lab.one("aws:eks/addon:Addon", "gpulab-dev-coredns")
    system_nodes = lab.one("eks:index:ManagedNodeGroup")
    control_plane = lab.one("eks:index:Cluster")
    gate = next(r for r in lab.resources if r.type.endswith(":VolumeGate"))
    crds = lab.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-karpenter-crd")
    drivers = [r for r in lab.all("aws:eks/addon:Addon") if "-storage-" in r.name]
    doors = lab.all("aws:efs/mountTarget:MountTarget")
    assert drivers
    assert doors
    for part in (*drivers, *doors):
        for first, second in itertools.pairwise([gate, pool, node_class, part]):
            assert lab.needs(first, second), f"{second.urn} has to outlive {first.urn}"
    for first, second in ((node_class, karpenter), (karpenter, crds)):
        assert lab.needs(first, second), f"{second.urn} has to outlive {first.urn}"
    for first, second in itertools.pairwise([karpenter, dns, system_nodes, control_plane]):
        assert lab.needs(first, second), f"{second.urn} has to outlive {first.urn}"
    assert all(lab.needs(driver, system_nodes) for driver in drivers)
    # A route is no output of any subnet, and nodes that are being drained still need it.
    for part in resources_of(lab, "Network"):
        assert lab.needs(system_nodes, part), part.urn


def test_a_thrifty_lab_costs_less_than_20_cents_an_hour_while_nobody_uses_it(mocks, eks):
    mocks.outputs["aws:ec2/instance:Instance"] = lambda made: {"primaryNetworkInterfaceId": f"eni of {made.name}"}
    deploy(mocks, **{**PEOPLE, "gpulab:lifecycle": {**LAB["gpulab:lifecycle"], "thrift": True}})
    as_aws = {
        "eks:index:Cluster": "aws:eks/cluster:Cluster",
        "eks:index:ManagedNodeGroup": "aws:eks/nodeGroup:NodeGroup",
    }
    cost = idle_cost(
        [
            Step(op="create", urn=r.urn, type=as_aws.get(r.type) or r.type, parent=r.parent, new=r.inputs)
            for r in mocks.resources
        ]
    )
    assert not cost.unknown
    assert 0.10 < cost.after < 0.20
    # What the volumes of claims come to is not in it: the database's and the hub's.
    assert not {"aws:rds/instance:Instance", "aws:ec2/natGateway:NatGateway"} & {r.type for r in mocks.resources}
    nodes = mocks.one("eks:index:ManagedNodeGroup")
    assert (nodes.inputs["capacityType"], nodes.inputs["amiType"]) == ("SPOT", "AL2023_ARM_64_STANDARD")
    assert mocks.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-karpenter").inputs["values"]["replicas"] == 1
    assert mocks.one("kubernetes:postgresql.cnpg.io/v1:Cluster").inputs["spec"]["instances"] == 1
    # Its volume is gone before the drivers are.
    gate = next(r for r in mocks.resources if r.type.endswith(":VolumeGate"))
    assert mocks.needs(mocks.one("kubernetes:postgresql.cnpg.io/v1:Cluster"), gate)
    # Nodes get out through the instance until the last of them is gone.
    for part in (mocks.one("aws:ec2/instance:Instance"), *mocks.all("aws:ec2/eip:Eip")):
        assert mocks.needs(nodes, part), part.urn


def test_the_control_plane_waits_for_its_subnets_and_nothing_else_of_the_network(lab):
    control_plane = lab.one("eks:index:Cluster")
    waited_for = {r.type for r in resources_of(lab, "Network") if lab.needs(control_plane, r)}
    assert waited_for == {"aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet"}


def test_what_aws_makes_slowly_starts_with_the_network(mocks, eks):
    deploy(mocks, **PEOPLE)
    (database,) = mocks.all("aws:rds/instance:Instance")
    for early in (database, *mocks.all("aws:efs/fileSystem:FileSystem")):
        assert not mocks.needs(early, mocks.one("eks:index:Cluster")), early.urn
    keycloak = mocks.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-identity-keycloak")
    assert mocks.needs(keycloak, database)
    assert mocks.needs(keycloak, mocks.one("kubernetes:karpenter.sh/v1:NodePool"))


def test_karpenter_waits_for_no_storage_and_its_role_and_queue_for_no_node(lab):
    release = lab.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-karpenter")
    assert not any(lab.needs(release, part) for part in resources_of(lab, "Storage"))
    system_nodes = lab.one("eks:index:ManagedNodeGroup")
    early = [r for r in resources_of(lab, "Karpenter") if r.urn != release.urn]
    assert {r.type for r in early} >= {"aws:iam/role:Role", "aws:sqs/queue:Queue", "kubernetes:helm.sh/v3:Release"}
    assert not [r.urn for r in early if lab.needs(r, system_nodes)]


def test_nodes_can_join_until_the_last_pool_is_gone(lab):
    pool = lab.one("kubernetes:karpenter.sh/v1:NodePool")
    (entry,) = lab.all("aws:eks/accessEntry:AccessEntry")
    association = lab.one("aws:eks/podIdentityAssociation:PodIdentityAssociation", "gpulab-dev-karpenter")
    assert lab.needs(pool, entry)
    assert lab.needs(pool, association)


def test_pools_find_the_subnets_and_the_group_of_this_cluster(lab):
    spec = lab.one("kubernetes:karpenter.k8s.aws/v1:EC2NodeClass").inputs["spec"]
    private = [r for r in lab.all("aws:ec2/subnet:Subnet") if "-private-" in r.name]
    (wanted,) = [term["tags"] for term in spec["subnetSelectorTerms"]]
    assert private
    assert all(wanted.items() <= subnet.inputs["tags"].items() for subnet in private)
    group = lab.one("aws:ec2/tag:Tag").inputs
    assert [term["tags"] for term in spec["securityGroupSelectorTerms"]] == [{group["key"]: group["value"]}]
    assert spec["role"] == lab.one("aws:iam/role:Role", "gpulab-dev-karpenter-node").outputs["name"]


@pytest.mark.parametrize("letters", ["ab", "abc", "abcd"])
def test_the_control_planes_zones_stay_when_one_is_added_to_the_network(mocks, eks, letters: str):
    """EKS refuses subnets in a zone that it did not begin with."""
    zones = [f"us-east-1{letter}" for letter in letters]
    deploy(mocks, **{"gpulab:network": {**LAB["gpulab:network"], "zones": zones}})
    zone_of = {r.id: r.inputs["availabilityZone"] for r in mocks.all("aws:ec2/subnet:Subnet")}
    subnets = mocks.one("eks:index:Cluster").inputs["subnetIds"]
    assert [zone_of[subnet] for subnet in subnets] == ["us-east-1a", "us-east-1b"]


def test_nodes_of_pools_alone_are_in_the_second_range_and_take_addresses_in_blocks(mocks, eks):
    network = {**LAB["gpulab:network"], "secondaryCidr": "100.64.0.0/16", "prefixDelegation": True}
    deploy(mocks, **{"gpulab:network": network})
    second = ipaddress.IPv4Network("100.64.0.0/16")
    subnets = mocks.all("aws:ec2/subnet:Subnet")
    (terms,) = mocks.one("kubernetes:karpenter.k8s.aws/v1:EC2NodeClass").inputs["spec"]["subnetSelectorTerms"]
    for subnet in subnets:
        selected = terms["tags"].items() <= subnet.inputs["tags"].items()
        assert selected == ipaddress.IPv4Network(subnet.inputs["cidrBlock"]).subnet_of(second)
        assert not (selected and subnet.id in mocks.one("eks:index:ManagedNodeGroup").inputs["subnetIds"])
    assert mocks.one("eks:index:Cluster").inputs["vpcCniOptions"]["enablePrefixDelegation"] is True


def test_karpenter_tolerates_the_system_nodes(lab):
    values = lab.one("kubernetes:helm.sh/v3:Release", "gpulab-dev-karpenter").inputs["values"]
    tolerations = {**contracts.chart("karpenter").values, **values}["tolerations"]
    assert SYSTEM_TAINT["key"] in [toleration["key"] for toleration in tolerations]


def test_without_nat_nodes_get_the_instance_profile_made_beforehand(mocks, eks):
    deploy(mocks, **{"gpulab:network": {**LAB["gpulab:network"], "nat": "none"}})
    spec = mocks.one("kubernetes:karpenter.k8s.aws/v1:EC2NodeClass").inputs["spec"]
    assert spec["instanceProfile"] == mocks.one("aws:iam/instanceProfile:InstanceProfile").outputs["name"]


def test_production_protects_what_holds_state_and_nothing_else(mocks, eks):
    deploy(mocks, **PRODUCTION)
    assert sorted(r.type for r in mocks.resources if r.protect) == [
        "aws:backup/vault:Vault",
        "aws:efs/fileSystem:FileSystem",
        "aws:kms/key:Key",
        "aws:kms/key:Key",
    ]
    assert eks.control_plane().opts.protect is True
    assert {key.inputs["deletionWindowInDays"] for key in mocks.all("aws:kms/key:Key")} == {30}


def test_unlock_lifts_protection_and_keeps_the_keys_long_deletion_window(mocks, eks):
    deploy(mocks, **UNLOCKED)
    assert not any(r.protect for r in mocks.resources)
    assert eks.control_plane().opts.protect is False
    assert mocks.one("eks:index:Cluster").inputs["deletionProtection"] is False
    assert {key.inputs["deletionWindowInDays"] for key in mocks.all("aws:kms/key:Key")} == {30}


def run_program(mocks: Any, monkeypatch: pytest.MonkeyPatch, given: dict[str, str]) -> dict[str, Any]:
    """The exports of the program, run as Pulumi runs it."""
    exported: dict[str, Any] = {}
    monkeypatch.setenv("PULUMI_CONFIG", json.dumps(given))
    monkeypatch.setenv("GPULAB_TODAY", "2027-01-01")
    monkeypatch.setattr(pulumi, "export", exported.__setitem__)
    mocks.deploy(lambda: runpy.run_path(str(PROGRAM), run_name="__main__"))
    return {name: mocks.value(value) for name, value in exported.items()}


def test_program_exports_how_to_reach_the_cluster(mocks, eks, monkeypatch):
    assert run_program(mocks, monkeypatch, config()) == {
        "region": "us-east-1",
        "cluster": "gpulab-test",
        "kubeconfig": "aws eks update-kubeconfig --region us-east-1 --name gpulab-test",
        "portForward": {},
    }


def test_a_wrong_stack_file_is_refused_before_the_first_resource(mocks, eks, monkeypatch):
    with pytest.raises(pulumi.RunError) as refused:
        run_program(mocks, monkeypatch, config(**{"gpulab:netwrok": {}, "gpulab:lifecycle": {"kind": "lab"}}))
    assert "gpulab:netwrok" in str(refused.value)
    assert "gpulab:lifecycle.expires" in str(refused.value)
    assert not mocks.resources
    assert not mocks.calls
