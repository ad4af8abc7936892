"""The addresses of a cluster that network policies have to know: its pods', and its API server's."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]

_API_SERVICE = ("default", "kubernetes")
_OF_SERVICE = "kubernetes.io/service-name"
# Where nodes have no range of their own, as with Calico's own addresses, pods are in one of the private ranges, all of
# which count as the cluster's anyway (`settings.admitted_ranges`).
SOME_PRIVATE_RANGE = "10.0.0.0/8"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Ranges of IPv4, as CIDR. The API server answers at its Service and at endpoints: a policy may see either."""

    pods: str = SOME_PRIVATE_RANGE
    nodes: tuple[str, ...] = ()
    api_servers: tuple[str, ...] = ()
    api_ports: tuple[int, ...] = ()


def addresses_of(nodes: Sequence[Manifest], services: Iterable[Manifest], slices: Iterable[Manifest]) -> Addresses:
    """Of the cluster with these Nodes, Services and EndpointSlices."""
    found: set[str] = set()
    ports: set[int] = set()
    for service in services:
        if _name(service) == _API_SERVICE:
            found.update(service["spec"].get("clusterIPs") or [service["spec"]["clusterIP"]])
            ports.update(port["port"] for port in service["spec"]["ports"])
    for one in slices:
        if _name(one)[0] == _API_SERVICE[0] and one["metadata"].get("labels", {}).get(_OF_SERVICE) == _API_SERVICE[1]:
            found.update(address for endpoint in one.get("endpoints") or () for address in endpoint["addresses"])
            ports.update(port["port"] for port in one.get("ports") or ())
    return Addresses(
        pods=_supernet([cidr for node in nodes if (cidr := node.get("spec", {}).get("podCIDR"))]),
        nodes=tuple(sorted(f"{address}/32" for node in nodes for address in _internal(node) if ":" not in address)),
        api_servers=tuple(sorted(f"{address}/32" for address in found if ":" not in address)),
        api_ports=tuple(sorted(ports)),
    )


def _name(manifest: Manifest) -> tuple[str, str]:
    return manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]


def _internal(node: Manifest) -> Iterator[str]:
    for one in node.get("status", {}).get("addresses") or ():
        if one["type"] == "InternalIP":
            yield one["address"]


def _supernet(cidrs: Sequence[str]) -> str:
    """The smallest range that has all of these."""
    networks = [ipaddress.IPv4Network(cidr) for cidr in cidrs if ":" not in cidr]
    if not networks:
        return SOME_PRIVATE_RANGE
    whole = networks[0]
    while not all(one.subnet_of(whole) for one in networks):
        whole = whole.supernet()
    return str(whole)
