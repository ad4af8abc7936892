"""`gpulab:network`: the VPC, its zones, and how private subnets reach AWS and the internet."""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool

from settings.admitted_ranges import VPC_RANGES
from settings.cidr import LARGEST_VPC_PREFIX, SMALLEST_VPC_PREFIX, zone_subnets
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import DISTINCT, Check, RetentionDays, matching, without_default

ENDPOINTS_WITHOUT_NAT = (
    "eks",
    "eks-auth",
    "ec2",
    "ecr.api",
    "ecr.dkr",
    "sts",
    "ssm",
    "sqs",
    "kms",
    "logs",
    "elasticloadbalancing",
    "elasticfilesystem",
)
"""The services that nodes and controllers call, so each needs an interface endpoint where there is no NAT.

S3 is not listed: it always has a gateway endpoint.
"""

SERVICE_RANGES = ("10.100.0.0/16", "172.20.0.0/16")
"""EKS gives Services, `kubernetes` among them, addresses of one of these (EKS API, KubernetesNetworkConfigRequest)."""

_SHARED = VPC_RANGES[-1]


def _cidr(text: str) -> str:
    try:
        interface = ipaddress.IPv4Interface(text)
    except ValueError:
        raise ValueError("must be an IPv4 range such as 10.40.0.0/16") from None
    network = interface.network
    if "/" not in text:
        whole = ipaddress.IPv4Interface(f"{text}/{LARGEST_VPC_PREFIX}").network
        raise ValueError(f"lacks the size of the range, /{LARGEST_VPC_PREFIX} to /{SMALLEST_VPC_PREFIX}: write {whole}")
    if not LARGEST_VPC_PREFIX <= network.prefixlen <= SMALLEST_VPC_PREFIX:
        size = "large" if network.prefixlen < LARGEST_VPC_PREFIX else "small"
        raise ValueError(f"is too {size}: it must be /{LARGEST_VPC_PREFIX} to /{SMALLEST_VPC_PREFIX}")
    if interface.ip != network.network_address:
        raise ValueError(f"has host bits set: write {network}")
    if not any(network.subnet_of(private) for private in VPC_RANGES):
        raise ValueError(f"is public: take a range of {', '.join(map(str, VPC_RANGES))}")
    return str(network)


def _secondary_cidr(text: str) -> str:
    network = _cidr(text)
    if not ipaddress.IPv4Network(network).subnet_of(_SHARED):
        raise ValueError(
            f"must be within {_SHARED}, such as 100.64.0.0/16: AWS adds that to a VPC of any private range"
        )
    return network


def _service(service: str) -> str:
    if service.startswith("com.amazonaws."):
        raise ValueError(f"must be only the service's name: write {'.'.join(service.split('.')[3:]) or 'ecr.api'}")
    if service == "s3":
        raise ValueError("is not needed: every network has a gateway endpoint for S3, which costs nothing")
    return service


Service = Annotated[
    str, matching(r"[a-z0-9]+([.-][a-z0-9]+)*", "the name of an AWS service such as ecr.api"), Check(_service)
]


class FlowLogs(Section):
    """The VPC's flow logs."""

    enabled: StrictBool = Field(default=False, description="Whether the VPC's traffic is logged to CloudWatch Logs.")
    retention_days: RetentionDays = Field(default=30, description="Days that the flow logs are kept.")

    @property
    def kept_days(self) -> int | None:
        """Days that flow logs are kept; None: there are none."""
        return self.retention_days if self.enabled else None


class Network(Section):
    """The VPC: a public, a private and an intra subnet in each zone."""

    cidr: Annotated[str, Check(_cidr)] = Field(
        description="Private IPv4 range of the VPC, /16 to /20, such as 10.40.0.0/16."
    )
    secondary_cidr: Annotated[str, Check(_secondary_cidr)] | None = Field(
        default=None,
        description="Second IPv4 range of the VPC, /16 to /20 within 100.64.0.0/10, such as 100.64.0.0/16, for the "
        "addresses of the pools' nodes and pods. Nothing outside the VPC routes to it. None by default.",
    )
    prefix_delegation: StrictBool = Field(
        default=False,
        description="Whether the VPC CNI takes addresses in blocks of 16. Large machines with few pods then take "
        "fewer, small ones more; EC2 gets fewer API calls.",
    )
    zones: Annotated[tuple[str, ...], DISTINCT] = Field(
        description="Two to four availability zones of aws:region, in the order in which their subnets are laid out.",
        json_schema_extra={"minItems": 2, "maxItems": 4},
    )
    nat: Literal["single", "per-az", "instance", "none"] = Field(
        default="single",
        description="How private subnets reach the internet. single: one NAT gateway for all zones, the default. "
        "per-az: one in each zone. none: no way out, AWS only through endpoints. instance, for labs: a small machine "
        "instead of a gateway, the default with lifecycle.thrift.",
        json_schema_extra=without_default,
    )
    interface_endpoints: Annotated[tuple[Service, ...], DISTINCT] = Field(
        default=(),
        description="Services with an interface endpoint of their own. With nat none the needed ones are added.",
    )
    flow_logs: FlowLogs = Field(default=FlowLogs(), description="The VPC's flow logs.")
    only: StrictBool = Field(
        default=False,
        description="Whether only the network is made: the first of two steps to a cluster without a public "
        "endpoint, see docs/private-clusters.md.",
    )

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Every service that gets an interface endpoint: those in the file, and without NAT those that are needed."""
        needed = ENDPOINTS_WITHOUT_NAT if self.nat == "none" else ()
        return tuple(dict.fromkeys([*needed, *self.interface_endpoints]))

    @property
    def cluster_ranges(self) -> dict[str, str]:
        """The ranges of the cluster, each with what is there."""
        of_nodes = [self.cidr, *([self.secondary_cidr] if self.secondary_cidr else [])]
        return {**dict.fromkeys(of_nodes, "nodes and pods are"), **dict.fromkeys(SERVICE_RANGES, "Services may be")}

    @property
    def endpoint_cidrs(self) -> tuple[str, ...]:
        """The private subnets, if they have interface endpoints."""
        private = [str(zone_subnets(self.cidr, index).private) for index, _ in enumerate(self.zones)]
        return tuple(private) if self.endpoints else ()

    @classmethod
    def completed(cls, given: Mapping[str, Any], facts: Facts) -> Mapping[str, Any]:
        """A lab with `thrift` has a NAT instance by default."""
        return {"nat": "instance", **given} if facts.thrift else given

    def add_facts(self, facts: Facts) -> Facts:
        """Adds the network's zones, which node pools are in."""
        return dataclasses.replace(facts, zones=tuple(dict.fromkeys(self.zones)))

    @rule
    def _two_to_four_zones(self, facts: Facts) -> Findings:
        if not 2 <= len(self.zones) <= 4:
            yield ("zones",), f"must list 2 to 4 availability zones, and lists {len(self.zones)}"

    @rule
    def _two_ranges_apart(self, facts: Facts) -> Findings:
        if self.secondary_cidr and ipaddress.IPv4Network(self.secondary_cidr).overlaps(
            ipaddress.IPv4Network(self.cidr)
        ):
            yield ("secondaryCidr",), f"must not overlap cidr, which is {self.cidr}"

    @rule
    def _nat_that_fits_the_lifecycle(self, facts: Facts) -> Findings:
        if facts.production and self.nat == "instance":
            yield (
                ("nat",),
                "is for labs: while that one instance is replaced, nothing reaches the internet. Take single or per-az",
            )
        if facts.thrift and self.nat in ("single", "per-az"):
            yield ("nat",), "is a NAT gateway, which lifecycle.thrift avoids: leave nat out, or set thrift: false"

    @rule
    def _zones_of_the_region(self, facts: Facts) -> Findings:
        for index, zone in enumerate(self.zones):
            letter = zone.removeprefix(facts.region or "")
            if facts.region and not (len(letter) == 1 and "a" <= letter <= "z"):
                yield (
                    ("zones", index),
                    f"must be an availability zone of aws:region, such as {facts.region}a",
                )
