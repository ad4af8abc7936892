"""Public DNS in a rehearsal: the delegated zones of Route 53, and the names of load balancers.

A hosted zone alone cannot be found. `delegate` does what a person does at a registrar: it writes the zone's name
servers into the parent zone. Then `lookup` finds the zone's records, like any resolver.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.elbv2.models import elbv2_backends
from moto.route53.models import FakeZone, route53_backends

SERVER_ABOVE = "ns.above.invalid"
"""The name server of every parent zone: of com, net and so on."""

_LOAD_BALANCERS = ".elb.amazonaws.com"
_NAME_SERVERS = ".awsdns-"
_LOOPBACK = "127.0.0.1"

# Name of a zone, without the final dot -> its name servers in the parent zone.
_DELEGATIONS: dict[str, tuple[str, ...]] = {}


@dataclass(frozen=True)
class Found:
    """An answer: the records of the requested type. `exists` is false for a name without any records.

    `lame`: the name is in a zone that its name servers do not serve.
    """

    records: tuple[str, ...] = ()
    exists: bool = True
    lame: bool = False


def delegate(zone: str, name_servers: Iterable[str]) -> None:
    """Writes the name servers of `zone` into its parent zone; an empty list removes them."""
    servers = tuple(server.rstrip(".") for server in name_servers)
    if servers:
        _DELEGATIONS[_plain(zone)] = servers
    else:
        _DELEGATIONS.pop(_plain(zone), None)


def forget() -> None:
    """Removes every delegation."""
    _DELEGATIONS.clear()


def referral(name: str) -> tuple[str, ...]:
    """The name servers of `name` in its parent zone; empty unless `name` is a delegated zone."""
    return _DELEGATIONS.get(_plain(name), ())


def lookup(name: str, kind: str) -> Found:
    """The records of type `kind` (`A`, `CNAME`, `NS`, `SOA`, `TXT`) at `name`, as a resolver finds them."""
    plain = _plain(name)
    if plain.endswith(_LOAD_BALANCERS):
        addresses = _addresses(plain)
        return Found(addresses if kind == "A" else (), exists=bool(addresses))
    if plain == SERVER_ABOVE or _NAME_SERVERS in plain:
        return Found((_LOOPBACK,) if kind == "A" else ())
    above = max((zone for zone in _DELEGATIONS if f".{plain}".endswith(f".{zone}")), key=len, default=None)
    if above is not None:
        zone = _serving(above)
        return _in_zone(zone, plain, kind) if zone else Found(lame=True)
    if "." not in plain:
        soa = f"{SERVER_ABOVE}. hostmaster.{SERVER_ABOVE}. 1 7200 900 1209600 60"
        return Found({"NS": (SERVER_ABOVE,), "SOA": (soa,)}.get(kind, ()))
    return Found(exists=False)


def load_balancer_of(name: str) -> Any:
    """The load balancer whose DNS name is `name`, or None."""
    balancers = (
        balancer
        for region in elbv2_backends[DEFAULT_ACCOUNT_ID].values()
        for balancer in region.load_balancers.values()
    )
    return next((balancer for balancer in balancers if _plain(balancer.dns_name) == _plain(name)), None)


def load_balancer_at(name: str) -> Any:
    """The load balancer to whose addresses `name` resolves, or None."""
    addresses = lookup(name, "A").records
    balancers = (
        balancer
        for region in elbv2_backends[DEFAULT_ACCOUNT_ID].values()
        for balancer in region.load_balancers.values()
    )
    return next((balancer for balancer in balancers if addresses and _addresses(balancer.dns_name) == addresses), None)


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def _serving(zone: str) -> FakeZone | None:
    """The public hosted zone of that name that has the delegation's name servers."""
    partitions = route53_backends[DEFAULT_ACCOUNT_ID].values()
    for found in (hosted for partition in partitions for hosted in partition.zones.values()):
        servers = found.delegation_set.name_servers if found.delegation_set else []
        if _plain(found.name) == zone and not found.private_zone and set(_DELEGATIONS[zone]) <= set(servers):
            return found
    return None


def _in_zone(zone: FakeZone, name: str, kind: str) -> Found:
    source = _source(zone, name)
    here = [record for record in zone.rrsets if _plain(record.name) == source]
    of_kind = [record for record in here if record.type == kind]
    if of_kind and of_kind[0].alias_target:
        return Found(_addresses(of_kind[0].alias_target["DNSName"]))
    if of_kind:
        return Found(tuple(str(value) for record in of_kind for value in record.records))
    return Found(exists=bool(here))


def _source(zone: FakeZone, name: str) -> str:
    """The name whose records answer for `name`: the name itself, or the wildcard directly below its closest encloser.

    RFC 4592, "The Role of Wildcards in the Domain Name System", section 3.3.1. A name with names below it exists.
    """
    names = [_plain(record.name) for record in zone.rrsets]
    encloser = name
    while encloser and not any(f".{known}".endswith(f".{encloser}") for known in names):
        encloser = encloser.partition(".")[2]
    return name if encloser == name else f"*.{encloser}"


def _addresses(balancer_name: str) -> tuple[str, ...]:
    """The addresses of a load balancer: those of its network interfaces."""
    balancer = load_balancer_of(balancer_name)
    if balancer is None:
        return ()
    region = balancer.arn.split(":")[3]
    ec2 = elbv2_backends[DEFAULT_ACCOUNT_ID][region].ec2_backend
    described = f"/{balancer.name}/{balancer.arn.rpartition('/')[2]}"
    found = (
        interface.private_ip_address
        for interface in ec2.enis.values()
        if (interface.description or "").endswith(described)
    )
    return tuple(sorted(address for address in found if address))
