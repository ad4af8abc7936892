"""The address plan of a VPC: which subnet of which zone gets which block. Pure arithmetic, no resources.

The VPC is cut into `MAX_ZONES` equal blocks. Zone i always owns block i, whether or not the others are in use, so a
zone that is added later moves nothing. Within its block of 2^n addresses:

    | private, 1/2 | free, 3/8 | public, 1/16 | intra, 1/16 |

Nodes and, with the VPC CNI, every pod take their address from a private subnet, so those get the most. The free part is
one continuous block, for subnets of later releases.

| VPC | private  | public, intra | (addresses a zone; AWS keeps 5 in each subnet) |
| --- | -------- | ------------- | --- |
| /16 | /19 8192 | /22 1024      |     |
| /18 | /21 2048 | /24 256       |     |
| /20 | /23 512  | /26 64        |     |

A secondary range holds only nodes and pods: zone i has all of its quarter i.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

MAX_ZONES = 4
# AWS takes /16 to /28 for a VPC ("VPC CIDR blocks", VPC user guide). Below /20 a private subnet is too small for pods.
LARGEST_VPC_PREFIX = 16
SMALLEST_VPC_PREFIX = 20

# Each bit halves a block: 2 bits make the VPC's quarters, 1 bit a zone's half, 4 bits its sixteenths.
_ZONE_BITS = 2
_PRIVATE_BITS = 1
_EDGE_BITS = 4


@dataclass(frozen=True, kw_only=True)
class ZoneSubnets:
    """A zone's blocks: `public` for load balancers, `private` for nodes and pods, `intra` for the control plane."""

    public: IPv4Network
    private: IPv4Network
    intra: IPv4Network


def zone_subnets(vpc: str, index: int) -> ZoneSubnets:
    """The subnets of the zone at `index` (from 0) in the stack file. They depend only on the VPC's range and the index.

    Raises ValueError when `vpc` is not a /16 to /20 block without host bits, or when there is no such zone.
    """
    network = IPv4Network(vpc)
    if not LARGEST_VPC_PREFIX <= network.prefixlen <= SMALLEST_VPC_PREFIX:
        raise ValueError(f"{vpc}: a VPC has a prefix of /{LARGEST_VPC_PREFIX} to /{SMALLEST_VPC_PREFIX}")
    if index not in range(MAX_ZONES):
        raise ValueError(f"zone {index}: the plan has room for zones 0 to {MAX_ZONES - 1}")
    zone = list(network.subnets(prefixlen_diff=_ZONE_BITS))[index]
    private, _ = zone.subnets(prefixlen_diff=_PRIVATE_BITS)
    *_, public, intra = zone.subnets(prefixlen_diff=_EDGE_BITS)
    return ZoneSubnets(public=public, private=private, intra=intra)


def node_subnet(vpc: str, secondary: str | None, index: int) -> IPv4Network:
    """The subnet of a zone's nodes and pods: its quarter of the secondary range, or without one its private subnet.

    Raises ValueError as `zone_subnets` does.
    """
    private = zone_subnets(vpc, index).private
    return list(IPv4Network(secondary).subnets(prefixlen_diff=_ZONE_BITS))[index] if secondary else private
