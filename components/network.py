"""The network: a VPC whose nodes have no public address, and the ways out of it that the stack file asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import pulumi
import pulumi_aws as aws

from components.flow_logs import flow_logs
from components.nat_instance import ANYWHERE, NatInstance, NatInstanceArgs
from settings.cidr import node_subnet, zone_subnets

HTTPS = 443
DISCOVERY_TAG = "karpenter.sh/discovery"


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """What the network is made of.

    `zones` is in the stack file's order, and a zone's place decides its addresses: append, never reorder.
    With a `secondary_cidr`, a second range of the VPC, Karpenter's nodes and their pods are there.
    `nat`: `single` (one gateway, in the first zone), `per-az` (one a zone), `instance` (a small machine in the place of
    the one gateway) or `none` (no way out; then `interface_endpoints` has to name all that nodes and controllers call).
    `interface_endpoints` are services by their short name, such as `ecr.api`. `flow_logs_retention_days` is a retention
    that CloudWatch accepts, or None: no flow logs. `volume_tags` go to the NAT instance's volume, which the provider's
    default tags do not reach.
    """

    cluster_name: str
    region: str
    cidr: str
    secondary_cidr: str | None = None
    zones: Sequence[str]
    nat: Literal["single", "per-az", "instance", "none"]
    interface_endpoints: Sequence[str] = ()
    flow_logs_retention_days: int | None = None
    volume_tags: Mapping[str, str] = field(default_factory=dict)


class Network(pulumi.ComponentResource):
    """A VPC with a public, a private and an intra subnet in each zone.

    Public subnets hold load balancers and NAT, private ones nodes and pods, intra ones (no default route) the
    control plane's network interfaces. Lists of ids are in the order of the zones.

    A secondary range brings another subnet to each zone, behind the same NAT, for the nodes that Karpenter makes.
    System nodes, endpoints and file systems stay in the private ones. The pods of a node have their addresses in its
    own subnet, so the VPC CNI needs no configuration of its own (ENIConfig) that could differ from the nodes'.

    Whoever runs nodes depends on the whole component, not on its outputs alone: routes, NAT and endpoints have to
    outlive the nodes that reach the API through them, and no output says so.
    """

    vpc_id: pulumi.Output[str]
    vpc_cidr: pulumi.Output[str]
    public_subnet_ids: list[pulumi.Output[str]]
    private_subnet_ids: list[pulumi.Output[str]]
    intra_subnet_ids: list[pulumi.Output[str]]
    nat_addresses: list[pulumi.Output[str]]

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("gpulab:index:Network", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        # Interface endpoints and EKS's private endpoint are found by private DNS, which needs both settings.
        vpc = aws.ec2.Vpc(
            name,
            cidr_block=args.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": name},
            opts=child,
        )
        # The default group admits its members to each other. With no rule left, what is put into it by mistake is mute.
        aws.ec2.DefaultSecurityGroup(
            name, vpc_id=vpc.id, ingress=[], egress=[], tags={"Name": f"{name}-default"}, opts=child
        )

        def subnet(
            kind: str, zone: str, cidr: str, tags: dict[str, str], within: pulumi.Output[str] = vpc.id
        ) -> aws.ec2.Subnet:
            return aws.ec2.Subnet(
                f"{name}-{kind}-{zone}",
                vpc_id=within,
                availability_zone=zone,
                cidr_block=cidr,
                map_public_ip_on_launch=False,
                tags={"Name": f"{name}-{kind}-{zone}", **tags},
                opts=child,
            )

        def route_table(kind: str) -> aws.ec2.RouteTable:
            return aws.ec2.RouteTable(f"{name}-{kind}", vpc_id=vpc.id, tags={"Name": f"{name}-{kind}"}, opts=child)

        def associate(kind: str, zone: str, subnet: aws.ec2.Subnet, table: aws.ec2.RouteTable) -> None:
            aws.ec2.RouteTableAssociation(
                f"{name}-{kind}-{zone}", subnet_id=subnet.id, route_table_id=table.id, opts=child
            )

        secondary = (
            aws.ec2.VpcIpv4CidrBlockAssociation(
                f"{name}-secondary", vpc_id=vpc.id, cidr_block=args.secondary_cidr, opts=child
            )
            if args.secondary_cidr
            else None
        )
        gateway = aws.ec2.InternetGateway(name, vpc_id=vpc.id, tags={"Name": name}, opts=child)
        public_table = route_table("public")
        public_route = aws.ec2.Route(
            f"{name}-public",
            route_table_id=public_table.id,
            destination_cidr_block=ANYWHERE,
            gateway_id=gateway.id,
            opts=child,
        )
        intra_table = route_table("intra")
        private_tables: list[aws.ec2.RouteTable] = []
        public_subnets: list[aws.ec2.Subnet] = []
        private_subnets: list[aws.ec2.Subnet] = []
        intra_subnets: list[aws.ec2.Subnet] = []
        for index, zone in enumerate(args.zones):
            blocks = zone_subnets(args.cidr, index)
            public = subnet("public", zone, str(blocks.public), {"kubernetes.io/role/elb": "1"})
            discovered = {DISCOVERY_TAG: args.cluster_name}
            private = subnet(
                "private",
                zone,
                str(blocks.private),
                {"kubernetes.io/role/internal-elb": "1", **({} if secondary else discovered)},
            )
            # A control plane knows the ranges that its VPC has when it is made; of later ones it hears within an hour.
            intra = subnet("intra", zone, str(blocks.intra), {}, within=secondary.vpc_id if secondary else vpc.id)
            # A private table a zone, whatever `nat` says: going from `single` to `per-az` then changes routes in place,
            # and no subnet is without a table in between.
            private_table = route_table(f"private-{zone}")
            associate("public", zone, public, public_table)
            associate("private", zone, private, private_table)
            associate("intra", zone, intra, intra_table)
            if secondary:
                block = str(node_subnet(args.cidr, args.secondary_cidr, index))
                nodes = subnet("nodes", zone, block, discovered, within=secondary.vpc_id)
                associate("nodes", zone, nodes, private_table)
            public_subnets.append(public)
            private_subnets.append(private)
            intra_subnets.append(intra)
            private_tables.append(private_table)

        within = {"public": public_subnets, "gateway": gateway, "route": public_route}
        if args.nat == "instance":
            self.nat_addresses = self._nat_instance(name, args, vpc, private_tables, **within)
        else:
            self.nat_addresses = self._nat_gateways(name, args, private_tables, **within)

        # Free of charge, and image layers (ECR keeps them in S3) then bypass the NAT gateway's price a GB.
        aws.ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=vpc.id,
            service_name=f"com.amazonaws.{args.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in (*private_tables, intra_table)],
            tags={"Name": f"{name}-s3"},
            opts=child,
        )
        if args.interface_endpoints:
            self._interface_endpoints(name, args, vpc, private_subnets)
        if args.flow_logs_retention_days is not None:
            flow_logs(name, args.cluster_name, vpc, args.flow_logs_retention_days, child)

        self.vpc_id = vpc.id
        self.vpc_cidr = vpc.cidr_block
        self.public_subnet_ids = [subnet.id for subnet in public_subnets]
        self.private_subnet_ids = [subnet.id for subnet in private_subnets]
        self.intra_subnet_ids = [subnet.id for subnet in intra_subnets]
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "vpc_cidr": self.vpc_cidr,
                "public_subnet_ids": self.public_subnet_ids,
                "private_subnet_ids": self.private_subnet_ids,
                "intra_subnet_ids": self.intra_subnet_ids,
                "nat_addresses": self.nat_addresses,
            }
        )

    def _nat_gateways(
        self,
        name: str,
        args: NetworkArgs,
        private_tables: Sequence[aws.ec2.RouteTable],
        *,
        public: Sequence[aws.ec2.Subnet],
        gateway: aws.ec2.InternetGateway,
        route: aws.ec2.Route,
    ) -> list[pulumi.Output[str]]:
        """The NAT gateways, and the private subnets' way through them. Returns their addresses."""
        child = pulumi.ResourceOptions(parent=self)
        made: list[aws.ec2.NatGateway] = []
        for zone, subnet in zip(nat_zones(args), public, strict=False):
            address = aws.ec2.Eip(
                f"{name}-nat-{zone}",
                domain="vpc",
                tags={"Name": f"{name}-nat-{zone}"},
                # EC2 lets an address go only while the VPC still has its internet gateway.
                opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[gateway])),
            )
            made.append(
                aws.ec2.NatGateway(
                    f"{name}-{zone}",
                    subnet_id=subnet.id,
                    allocation_id=address.id,
                    tags={"Name": f"{name}-{zone}"},
                    # A NAT gateway without its way out drops what nodes still send while they are drained.
                    opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[route])),
                )
            )
        for index, (zone, table) in enumerate(zip(args.zones, private_tables, strict=True)):
            if made:
                aws.ec2.Route(
                    f"{name}-private-{zone}",
                    route_table_id=table.id,
                    destination_cidr_block=ANYWHERE,
                    nat_gateway_id=made[index if args.nat == "per-az" else 0].id,
                    opts=child,
                )
        return [nat.public_ip for nat in made]

    def _nat_instance(
        self,
        name: str,
        args: NetworkArgs,
        vpc: aws.ec2.Vpc,
        private_tables: Sequence[aws.ec2.RouteTable],
        *,
        public: Sequence[aws.ec2.Subnet],
        gateway: aws.ec2.InternetGateway,
        route: aws.ec2.Route,
    ) -> list[pulumi.Output[str]]:
        """The same with an instance in the first zone."""
        instance = NatInstance(
            f"{name}-nat",
            NatInstanceArgs(
                vpc_id=vpc.id,
                vpc_cidrs=[args.cidr, *([args.secondary_cidr] if args.secondary_cidr else [])],
                subnet_id=public[0].id,
                volume_tags=args.volume_tags,
            ),
            # It has its way out as long as it runs.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[gateway, route]),
        )
        for zone, table in zip(args.zones, private_tables, strict=True):
            aws.ec2.Route(
                f"{name}-private-{zone}",
                route_table_id=table.id,
                destination_cidr_block=ANYWHERE,
                network_interface_id=instance.network_interface_id,
                opts=pulumi.ResourceOptions(parent=self),
            )
        return [instance.public_address]

    def _interface_endpoints(
        self, name: str, args: NetworkArgs, vpc: aws.ec2.Vpc, subnets: Sequence[aws.ec2.Subnet]
    ) -> None:
        """The services of AWS that answer inside the VPC, under their usual names, to the VPC alone."""
        child = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            f"{name}-endpoints",
            description="Interface endpoints: HTTPS from the VPC",
            vpc_id=vpc.id,
            tags={"Name": f"{name}-endpoints"},
            opts=child,
        )
        ranges: dict[str, pulumi.Input[str]] = {f"{name}-endpoints": vpc.cidr_block}
        if args.secondary_cidr:
            ranges[f"{name}-endpoints-secondary"] = args.secondary_cidr
        rules = [
            aws.vpc.SecurityGroupIngressRule(
                rule,
                security_group_id=group.id,
                description="HTTPS from the VPC",
                ip_protocol="tcp",
                from_port=HTTPS,
                to_port=HTTPS,
                cidr_ipv4=cidr,
                opts=child,
            )
            for rule, cidr in ranges.items()
        ]
        for service in args.interface_endpoints:
            endpoint = f"{name}-{service.replace('.', '-')}"
            aws.ec2.VpcEndpoint(
                endpoint,
                vpc_id=vpc.id,
                service_name=f"com.amazonaws.{args.region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=[subnet.id for subnet in subnets],
                security_group_ids=[group.id],
                tags={"Name": endpoint},
                # Private DNS sends every client to the endpoint from its first second, so its door is opened before.
                opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=rules)),
            )


def nat_zones(args: NetworkArgs) -> Sequence[str]:
    """The zones that have a NAT gateway, in the order of `args.zones`."""
    return {"none": (), "instance": (), "single": args.zones[:1], "per-az": args.zones}[args.nat]
