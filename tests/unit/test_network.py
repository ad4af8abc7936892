"""What a user relies on: who can reach what, how a zone reaches the internet, and the order of deletion."""

from __future__ import annotations

import ipaddress
import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

import contracts
from components.ground.network import ANYWHERE, DISCOVERY_TAG, HTTPS, Network, NetworkArgs
from settings import Network as NetworkSettings
from settings.network import ENDPOINTS_WITHOUT_NAT, FlowLogs

ZONES = ("us-east-1a", "us-east-1b", "us-east-1c")
SETTINGS = NetworkSettings.model_validate({"cidr": "10.40.0.0/16", "zones": ZONES, "nat": "single"})
ARGS = NetworkArgs(cluster_name="lab", region="us-east-1", settings=SETTINGS)

SUBNET = "aws:ec2/subnet:Subnet"
ROUTE = "aws:ec2/route:Route"
ASSOCIATION = "aws:ec2/routeTableAssociation:RouteTableAssociation"
NAT = "aws:ec2/natGateway:NatGateway"
EIP = "aws:ec2/eip:Eip"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"
GATEWAY = "aws:ec2/internetGateway:InternetGateway"
INSTANCE = "aws:ec2/instance:Instance"
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"


@pytest.fixture
def deploy(mocks) -> Callable[..., Network]:
    mocks.outputs[NAT] = lambda nat: {"publicIp": f"address of {nat.name}"}
    mocks.outputs[INSTANCE] = lambda instance: {"primaryNetworkInterfaceId": f"interface of {instance.name}"}

    def made(volume_tags: Mapping[str, str] | None = None, **changes: Any) -> Network:
        """With other values in `gpulab:network`."""
        args = replace(ARGS, settings=SETTINGS.model_copy(update=changes), volume_tags=volume_tags or {})
        return mocks.deploy(lambda: Network("lab", args))

    return made


def default_gateways(mocks, subnet_id: str) -> list[str]:
    """What the default routes of a subnet's table point to."""
    (table,) = (a.inputs["routeTableId"] for a in mocks.all(ASSOCIATION) if a.inputs["subnetId"] == subnet_id)
    return [
        route.inputs.get("natGatewayId") or route.inputs.get("networkInterfaceId") or route.inputs["gatewayId"]
        for route in mocks.all(ROUTE)
        if route.inputs["routeTableId"] == table and route.inputs["destinationCidrBlock"] == ANYWHERE
    ]


def subnet_of(mocks, resource_id: str):
    return next(subnet for subnet in mocks.all(SUBNET) if subnet.id == resource_id)


@pytest.mark.parametrize("nat", ["single", "per-az", "instance", "none"])
def test_every_subnet_has_exactly_one_route_table(mocks, deploy, nat) -> None:
    deploy(nat=nat)
    assert sorted(a.inputs["subnetId"] for a in mocks.all(ASSOCIATION)) == sorted(s.id for s in mocks.all(SUBNET))


def test_subnet_lists_follow_the_order_of_the_zones(mocks, deploy) -> None:
    network = deploy()
    for ids in (network.public_subnet_ids, network.private_subnet_ids, network.intra_subnet_ids):
        zones = [subnet_of(mocks, mocks.value(id_)).inputs["availabilityZone"] for id_ in ids]
        assert zones == list(ZONES)


def test_a_further_zone_changes_no_resource_of_the_others(mocks, deploy) -> None:
    deploy(zones=ZONES[:2])
    # But for the S3 endpoint, which serves one more route table.
    before = {resource.urn: resource.inputs for resource in mocks.resources if resource.type != ENDPOINT}
    mocks.resources.clear()
    deploy(zones=ZONES)
    after = {resource.urn: resource.inputs for resource in mocks.resources}
    assert {urn: after[urn] for urn in before} == before


def test_from_one_nat_gateway_to_one_a_zone_nothing_is_replaced(mocks, deploy) -> None:
    deploy(nat="single")
    before = {resource.urn for resource in mocks.resources}
    mocks.resources.clear()
    deploy(nat="per-az")
    assert before <= {resource.urn for resource in mocks.resources}


def test_per_az_every_private_subnet_leaves_through_its_own_zone(mocks, deploy) -> None:
    network = deploy(nat="per-az")
    zone_of_gateway = {
        nat.id: subnet_of(mocks, nat.inputs["subnetId"]).inputs["availabilityZone"] for nat in mocks.all(NAT)
    }
    for subnet_id in map(mocks.value, network.private_subnet_ids):
        (gateway,) = default_gateways(mocks, subnet_id)
        assert zone_of_gateway[gateway] == subnet_of(mocks, subnet_id).inputs["availabilityZone"]


def test_single_all_private_subnets_share_the_one_gateway(mocks, deploy) -> None:
    network = deploy(nat="single")
    nat = mocks.one(NAT)
    for subnet_id in map(mocks.value, network.private_subnet_ids):
        assert default_gateways(mocks, subnet_id) == [nat.id]
    assert [mocks.value(address) for address in network.nat_addresses] == [nat.outputs["publicIp"]]


def test_a_nat_instance_forwards_what_the_vpc_sends_and_lets_nobody_in(mocks, deploy) -> None:
    mocks.outputs[EIP] = lambda address: {"publicIp": f"address of {address.name}"}
    network = deploy(nat="instance", volume_tags={"Owner": "ml"})
    instance, address = mocks.one(INSTANCE), mocks.one(EIP)
    assert not mocks.all(NAT)
    for subnet_id in map(mocks.value, network.private_subnet_ids):
        assert default_gateways(mocks, subnet_id) == [instance.outputs["primaryNetworkInterfaceId"]]
    assert default_gateways(mocks, instance.inputs["subnetId"]) == [mocks.one(GATEWAY).id]
    assert (address.inputs["instance"], mocks.value(network.nat_addresses[0])) == (instance.id, "address of lab-nat")
    # With the check on, EC2 drops every packet that is to be forwarded.
    assert instance.inputs["sourceDestCheck"] is False
    assert contracts.instance_types()[instance.inputs["instanceType"]].arch in contracts.nat_image()
    assert instance.inputs["metadataOptions"]["httpTokens"] == "required"
    assert instance.inputs["rootBlockDevice"]["encrypted"] is True
    assert instance.inputs["volumeTags"]["Owner"] == "ml"
    assert "iamInstanceProfile" not in instance.inputs
    (group,) = instance.inputs["vpcSecurityGroupIds"]
    admitted = [rule.inputs for rule in mocks.all(INGRESS) if rule.inputs["securityGroupId"] == group]
    assert [(rule["cidrIpv4"], rule["ipProtocol"]) for rule in admitted] == [(SETTINGS.cidr, "-1")]


def test_a_nat_instance_has_its_way_out_as_long_as_it_runs(mocks, deploy) -> None:
    deploy(nat="instance")
    instance = mocks.one(INSTANCE)
    for needed in (mocks.one(ROUTE, "lab-public"), mocks.one(GATEWAY), *mocks.all(EGRESS), *mocks.all(INGRESS)):
        assert mocks.needs(instance, needed)
    assert all(mocks.needs(mocks.one(ROUTE, f"lab-private-{zone}"), instance) for zone in ZONES)
    assert mocks.needs(mocks.one(EIP), mocks.one(GATEWAY))


def test_none_costs_no_address_and_leaves_no_way_out(mocks, deploy) -> None:
    network = deploy(nat="none")
    assert not mocks.all(NAT)
    assert not mocks.all(EIP)
    assert network.nat_addresses == []
    for subnet_id in map(mocks.value, network.private_subnet_ids):
        assert default_gateways(mocks, subnet_id) == []


@pytest.mark.parametrize("nat", ["single", "per-az", "none"])
def test_only_public_subnets_meet_the_internet(mocks, deploy, nat) -> None:
    network = deploy(nat=nat)
    gateway = mocks.one("aws:ec2/internetGateway:InternetGateway")
    public = set(map(mocks.value, network.public_subnet_ids))
    for subnet in mocks.all(SUBNET):
        assert (gateway.id in default_gateways(mocks, subnet.id)) == (subnet.id in public)
        assert subnet.inputs["mapPublicIpOnLaunch"] is False
    for subnet_id in map(mocks.value, network.intra_subnet_ids):
        assert default_gateways(mocks, subnet_id) == []
    assert all(subnet_of(mocks, nat.inputs["subnetId"]).id in public for nat in mocks.all(NAT))


def test_karpenter_and_load_balancers_find_their_subnets_by_tag(mocks, deploy) -> None:
    network = deploy()

    def tagged(key: str, value: str) -> set[str]:
        return {subnet.id for subnet in mocks.all(SUBNET) if subnet.inputs["tags"].get(key) == value}

    private = set(map(mocks.value, network.private_subnet_ids))
    assert tagged(DISCOVERY_TAG, ARGS.cluster_name) == private
    assert tagged("kubernetes.io/role/internal-elb", "1") == private
    assert tagged("kubernetes.io/role/elb", "1") == set(map(mocks.value, network.public_subnet_ids))


def test_s3_is_reached_from_private_and_intra_subnets_without_nat(mocks, deploy) -> None:
    network = deploy(nat="none")
    s3 = mocks.one(ENDPOINT, "lab-s3")
    assert s3.inputs["vpcEndpointType"] == "Gateway"
    inside = set(map(mocks.value, [*network.private_subnet_ids, *network.intra_subnet_ids]))
    tables = {a.inputs["routeTableId"] for a in mocks.all(ASSOCIATION) if a.inputs["subnetId"] in inside}
    assert set(s3.inputs["routeTableIds"]) == tables


def test_interface_endpoints_answer_https_from_the_vpc_alone(mocks, deploy) -> None:
    network = deploy(nat="none", interface_endpoints=("bedrock",))
    group = mocks.one("aws:ec2/securityGroup:SecurityGroup")
    rule = mocks.one("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert rule.inputs["securityGroupId"] == group.id
    assert (rule.inputs["fromPort"], rule.inputs["toPort"], rule.inputs["ipProtocol"]) == (HTTPS, HTTPS, "tcp")
    assert rule.inputs["cidrIpv4"] == SETTINGS.cidr
    endpoints = [endpoint for endpoint in mocks.all(ENDPOINT) if endpoint.inputs["vpcEndpointType"] == "Interface"]
    # What nodes and controllers need without a way out comes unasked.
    services = {*ENDPOINTS_WITHOUT_NAT, "bedrock"}
    assert {e.inputs["serviceName"] for e in endpoints} == {f"com.amazonaws.us-east-1.{one}" for one in services}
    for endpoint in endpoints:
        assert endpoint.inputs["privateDnsEnabled"] is True
        assert endpoint.inputs["securityGroupIds"] == [group.id]
        assert endpoint.inputs["subnetIds"] == [mocks.value(id_) for id_ in network.private_subnet_ids]
        assert mocks.needs(endpoint, rule)


def test_private_dns_works_in_the_vpc(mocks, deploy) -> None:
    deploy()
    vpc = mocks.one("aws:ec2/vpc:Vpc")
    assert vpc.inputs["enableDnsSupport"] is True
    assert vpc.inputs["enableDnsHostnames"] is True


def test_no_security_group_is_open(mocks, deploy) -> None:
    deploy(interface_endpoints=("sts",))
    default = mocks.one("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert not default.inputs["ingress"]
    assert not default.inputs["egress"]
    rules = mocks.all("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule")
    assert all(rule.inputs["cidrIpv4"] != ANYWHERE for rule in rules)


def test_the_way_out_is_taken_down_from_the_inside(mocks, deploy) -> None:
    deploy(nat="per-az")
    gateway = mocks.one("aws:ec2/internetGateway:InternetGateway")
    for zone in ZONES:
        nat = mocks.one(NAT, f"lab-{zone}")
        assert mocks.needs(mocks.one(ROUTE, f"lab-private-{zone}"), nat)
        assert mocks.needs(nat, mocks.one(ROUTE, "lab-public"))
        assert mocks.needs(nat, gateway)
        assert mocks.needs(mocks.one(EIP, f"lab-nat-{zone}"), gateway)


def test_flow_logs_are_kept_as_long_as_asked_and_written_by_nobody_else(mocks, deploy) -> None:
    deploy(flow_logs=FlowLogs.model_validate({"enabled": True, "retentionDays": 30}))
    log_group = mocks.one("aws:cloudwatch/logGroup:LogGroup")
    role = mocks.one("aws:iam/role:Role")
    flow_log = mocks.one("aws:ec2/flowLog:FlowLog")
    assert log_group.inputs["retentionInDays"] == 30
    assert flow_log.inputs["logDestination"] == log_group.outputs["arn"]
    assert flow_log.inputs["iamRoleArn"] == role.outputs["arn"]
    (trust,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    assert trust["Condition"]["StringEquals"] == {"aws:SourceAccount": mocks.account_id}
    policy = mocks.one("aws:iam/rolePolicy:RolePolicy")
    assert mocks.needs(flow_log, policy)
    for statement in json.loads(policy.inputs["policy"])["Statement"]:
        if statement["Resource"] == "*":
            assert statement["Action"] == "logs:DescribeLogGroups"
        else:
            assert statement["Resource"].startswith(log_group.outputs["arn"])


def test_without_flow_logs_there_is_no_role(mocks, deploy) -> None:
    deploy()
    assert not mocks.all("aws:iam/role:Role")
    assert not mocks.all("aws:cloudwatch/logGroup:LogGroup")


def test_every_resource_is_a_child_of_the_component(mocks, deploy) -> None:
    deploy(
        nat="per-az",
        interface_endpoints=("sts",),
        flow_logs=FlowLogs.model_validate({"enabled": True, "retentionDays": 30}),
    )
    network = mocks.one("gpulab:index:Network")
    assert all(resource.parent == network.urn for resource in mocks.resources if resource is not network)


# A second range, for nodes and pods.


def test_karpenter_finds_the_subnets_of_the_second_range_alone(mocks, deploy) -> None:
    deploy(secondary_cidr="100.64.0.0/16")
    found = [one.inputs for one in mocks.all(SUBNET) if one.inputs["tags"].get(DISCOVERY_TAG) == "lab"]
    assert sorted(one["availabilityZone"] for one in found) == sorted(ZONES)
    blocks = [ipaddress.IPv4Network(one["cidrBlock"]) for one in found]
    assert all(block.subnet_of(ipaddress.IPv4Network("100.64.0.0/16")) for block in blocks)
    assert sum(block.num_addresses for block in blocks) == 3 / 4 * 2**16


@pytest.mark.parametrize("nat", ["single", "per-az", "instance", "none"])
def test_nodes_of_the_second_range_have_the_way_out_of_their_zone(mocks, deploy, nat) -> None:
    deploy(secondary_cidr="100.64.0.0/16", nat=nat)
    assert sorted(a.inputs["subnetId"] for a in mocks.all(ASSOCIATION)) == sorted(s.id for s in mocks.all(SUBNET))
    of = {(one.name.split("-")[1], one.inputs["availabilityZone"]): one.id for one in mocks.all(SUBNET)}
    for zone in ZONES:
        assert default_gateways(mocks, of["nodes", zone]) == default_gateways(mocks, of["private", zone])


def test_both_ranges_reach_endpoints_and_the_nat_instance(mocks, deploy) -> None:
    deploy(secondary_cidr="100.64.0.0/16", nat="instance", interface_endpoints=["sts"])
    admitted = defaultdict(set)
    for rule in mocks.all(INGRESS):
        admitted[rule.inputs["securityGroupId"]].add(rule.inputs["cidrIpv4"])
    assert list(admitted.values()) == [{"10.40.0.0/16", "100.64.0.0/16"}] * 2
    user_data = mocks.one(INSTANCE).inputs["userData"]
    assert (
        "ip saddr { 10.40.0.0/16, 100.64.0.0/16 } ip daddr != { 10.40.0.0/16, 100.64.0.0/16 } masquerade" in user_data
    )


def test_a_second_range_moves_nothing_of_the_first(mocks, deploy) -> None:
    deploy(interface_endpoints=["sts"])
    before = {one.urn: {**one.inputs, "tags": None} for one in mocks.resources}
    mocks.resources.clear()
    deploy(interface_endpoints=["sts"], secondary_cidr="100.64.0.0/16")
    after = {one.urn: {**one.inputs, "tags": None} for one in mocks.resources}
    assert {urn: after[urn] for urn in before} == before
    association = "aws:ec2/vpcIpv4CidrBlockAssociation:VpcIpv4CidrBlockAssociation"
    assert [one.type for one in mocks.resources if one.urn not in before].count(association) == 1
