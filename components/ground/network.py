"""The network: a VPC whose nodes have no public address, with the routes out of it that the stack file asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.ground.flow_logs import flow_logs
from components.ground.nat_instance import ANYWHERE, NatInstance, NatInstanceArgs
from settings.cidr import node_subnet, zone_subnets

if TYPE_CHECKING:
    from settings import Network as NetworkSettings

HTTPS = 443
DISCOVERY_TAG = "karpenter.sh/discovery"


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """What the network is made from: `settings` is `gpulab:network`.

    The position of a zone in the stack file decides its addresses: append zones, never reorder them. If there is a
    secondary range, Karpenter's nodes and their pods are in it. `volume_tags` are for the NAT instance's volume, which
    the provider's default tags do not reach.
    """

    cluster_name: str
    region: str
    settings: NetworkSettings
    volume_tags: Mapping[str, str] = field(default_factory=dict)


class Network(pulumi.ComponentResource):
    """A VPC with a public, a private and an intra subnet in each zone.

    Load balancers and NAT are in the public subnets, nodes and pods in the private ones, the control plane's network
    interfaces in the intra ones (no default route). Lists of ids are in the order of the zones.

    A secondary range adds a subnet to each zone, behind the same NAT, for the nodes that Karpenter makes. System nodes,
    endpoints and file systems stay in the private subnets. A node's pods have addresses in the node's subnet, so the
    VPC CNI needs no configuration (ENIConfig) that could differ from the nodes'.

    What runs nodes must depend on the whole component, not only on its outputs: nodes reach the API through routes, NAT
    and endpoints, so these must outlive them, and no output expresses that.
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

        # Interface endpoints and EKS's private endpoint need private DNS, which needs both settings.
        vpc = aws.ec2.Vpc(
            name,
            cidr_block=args.settings.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": name},
            opts=child,
        )
        # The default group lets its members reach each other. Without rules, what is put into it by mistake cannot
        # connect.
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
                f"{name}-secondary", vpc_id=vpc.id, cidr_block=args.settings.secondary_cidr, opts=child
            )
            if args.settings.secondary_cidr
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
        for index, zone in enumerate(args.settings.zones):
            blocks = zone_subnets(args.settings.cidr, index)
            public = subnet("public", zone, str(blocks.public), {"kubernetes.io/role/elb": "1"})
            discovered = {DISCOVERY_TAG: args.cluster_name}
            private = subnet(
                "private",
                zone,
                str(blocks.private),
                {"kubernetes.io/role/internal-elb": "1", **({} if secondary else discovered)},
            )
            # A control plane knows the ranges that its VPC has when it is made. It notices later ones within an hour.
            intra = subnet("intra", zone, str(blocks.intra), {}, within=secondary.vpc_id if secondary else vpc.id)
            # One private table per zone, whatever `nat` is: a change from `single` to `per-az` then only changes
            # routes, and no subnet is without a table in between.
            private_table = route_table(f"private-{zone}")
            associate("public", zone, public, public_table)
            associate("private", zone, private, private_table)
            associate("intra", zone, intra, intra_table)
            if secondary:
                block = str(node_subnet(args.settings.cidr, args.settings.secondary_cidr, index))
                nodes = subnet("nodes", zone, block, discovered, within=secondary.vpc_id)
                associate("nodes", zone, nodes, private_table)
            public_subnets.append(public)
            private_subnets.append(private)
            intra_subnets.append(intra)
            private_tables.append(private_table)

        within = {"public": public_subnets, "gateway": gateway, "route": public_route}
        if args.settings.nat == "instance":
            self.nat_addresses = self._nat_instance(name, args, vpc, private_tables, **within)
        else:
            self.nat_addresses = self._nat_gateways(name, args, private_tables, **within)

        # It is free, and image layers (ECR keeps them in S3) then cost no NAT gateway fee per GB.
        aws.ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=vpc.id,
            service_name=f"com.amazonaws.{args.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in (*private_tables, intra_table)],
            tags={"Name": f"{name}-s3"},
            opts=child,
        )
        if args.settings.endpoints:
            self._interface_endpoints(name, args, vpc, private_subnets)
        if (kept_days := args.settings.flow_logs.kept_days) is not None:
            flow_logs(name, args.cluster_name, vpc, kept_days, child)

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
        """Makes the NAT gateways and the private subnets' routes through them. Returns their public addresses."""
        child = pulumi.ResourceOptions(parent=self)
        made: list[aws.ec2.NatGateway] = []
        for zone, subnet in zip(nat_zones(args.settings), public, strict=False):
            address = aws.ec2.Eip(
                f"{name}-nat-{zone}",
                domain="vpc",
                tags={"Name": f"{name}-nat-{zone}"},
                # EC2 releases an address only while the VPC still has its internet gateway.
                opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[gateway])),
            )
            made.append(
                aws.ec2.NatGateway(
                    f"{name}-{zone}",
                    subnet_id=subnet.id,
                    allocation_id=address.id,
                    tags={"Name": f"{name}-{zone}"},
                    # Without its own route out, a NAT gateway drops what nodes still send while they are drained.
                    opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[route])),
                )
            )
        for index, (zone, table) in enumerate(zip(args.settings.zones, private_tables, strict=True)):
            if made:
                aws.ec2.Route(
                    f"{name}-private-{zone}",
                    route_table_id=table.id,
                    destination_cidr_block=ANYWHERE,
                    nat_gateway_id=made[index if args.settings.nat == "per-az" else 0].id,
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
        """Makes a NAT instance in the first zone and the private subnets' routes through it.

        Returns its public address.
        """
        instance = NatInstance(
            f"{name}-nat",
            NatInstanceArgs(
                vpc_id=vpc.id,
                vpc_cidrs=[
                    args.settings.cidr,
                    *([args.settings.secondary_cidr] if args.settings.secondary_cidr else []),
                ],
                subnet_id=public[0].id,
                volume_tags=args.volume_tags,
            ),
            # It needs its route out as long as it runs.
            opts=pulumi.ResourceOptions(parent=self, depends_on=[gateway, route]),
        )
        for zone, table in zip(args.settings.zones, private_tables, strict=True):
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
        """Makes endpoints, so that AWS services answer inside the VPC under their usual names, and only to the VPC."""
        child = pulumi.ResourceOptions(parent=self)
        group = aws.ec2.SecurityGroup(
            f"{name}-endpoints",
            description="Interface endpoints: HTTPS from the VPC",
            vpc_id=vpc.id,
            tags={"Name": f"{name}-endpoints"},
            opts=child,
        )
        ranges: dict[str, pulumi.Input[str]] = {f"{name}-endpoints": vpc.cidr_block}
        if args.settings.secondary_cidr:
            ranges[f"{name}-endpoints-secondary"] = args.settings.secondary_cidr
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
        for service in args.settings.endpoints:
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
                # Private DNS sends every client to the endpoint as soon as it exists, so its security group must admit
                # them before.
                opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=rules)),
            )


def nat_zones(settings: NetworkSettings) -> Sequence[str]:
    """The zones that have a NAT gateway, in the order of the zones."""
    return {"none": (), "instance": (), "single": settings.zones[:1], "per-az": settings.zones}[settings.nat]
