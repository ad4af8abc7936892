"""IPv4 ranges: whether one is private or for documentation, and how much of the internet a list of them lets in."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

VPC_RANGES = tuple(
    ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)
"""The ranges that a VPC may have: RFC 1918, and RFC 6598, which AWS accepts too."""

PRIVATE_RANGES = (*VPC_RANGES, *(ipaddress.IPv4Network(block) for block in ("127.0.0.0/8", "169.254.0.0/16")))
"""Addresses that no request from the internet comes from."""

DOCUMENTATION_RANGES = tuple(
    ipaddress.IPv4Network(block) for block in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
)
"""Addresses that nobody has: RFC 5737 reserves them for documentation."""

_ALL, _HALF = 2**32, 2**31


def range_of(text: str, example: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The range that a text is. Raises ValueError, with what to write instead, for an address or host bits."""
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(f"must be an IPv4 range such as {example}") from None
    network = interface.network
    if "/" not in text:
        raise ValueError(f"must be a range: write {network}")
    if interface.ip != network.network_address:
        raise ValueError(f"has host bits set: write {network}")
    return network


def is_private(network: ipaddress.IPv4Network) -> bool:
    """Whether a range has only private addresses."""
    return any(network.subnet_of(private) for private in PRIVATE_RANGES)


def documentation_range(text: str) -> bool:
    """Whether a text is an IPv4 range of documentation addresses."""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError:
        return False
    return any(network.subnet_of(block) for block in DOCUMENTATION_RANGES)


def open_to(cidrs: Iterable[str]) -> str | None:
    """Whom a list of IPv4 ranges lets in, in words; None when it is less than half of the internet.

    Ranges are added up: two halves are any address.
    """
    blocks = ipaddress.collapse_addresses(map(ipaddress.IPv4Network, cidrs))
    addresses = sum(block.num_addresses for block in blocks)
    if addresses < _HALF:
        return None
    return "any address" if addresses == _ALL else "half of the internet or more"
