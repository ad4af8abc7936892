"""Address ranges that let somebody in: how much of the internet a list of them is."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

VPC_RANGES = tuple(
    ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
"""What a VPC's addresses are of: RFC 1918, and RFC 6598, which AWS takes too."""

PRIVATE_RANGES = (*VPC_RANGES, *(ipaddress.IPv4Network(block) for block in ("127.0.0.0/8", "169.254.0.0/16")))
"""Addresses that nobody comes from over the internet."""

DOCUMENTATION_RANGES = tuple(
    ipaddress.IPv4Network(block) for block in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
)
"""Addresses that nobody has: RFC 5737 keeps them for documentation."""

_ALL, _HALF = 2**32, 2**31


def is_private(network: ipaddress.IPv4Network) -> bool:
    """Whether a range is of private addresses alone."""
    return any(network.subnet_of(private) for private in PRIVATE_RANGES)


def documentation_range(text: str) -> bool:
    """Whether a text is an IPv4 range of addresses for documentation."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        return False
    return any(network.subnet_of(block) for block in DOCUMENTATION_RANGES)


def open_to(cidrs: Iterable[str]) -> str | None:
    """Whom a list of IPv4 ranges lets in, in words, when it is more than anybody lists by name; else None.

    Two halves are as open as the whole.
    """
    blocks = ipaddress.collapse_addresses(map(ipaddress.IPv4Network, cidrs))
    addresses = sum(block.num_addresses for block in blocks)
    if addresses < _HALF:
        return None
    return "any address" if addresses == _ALL else "half of the internet or more"
