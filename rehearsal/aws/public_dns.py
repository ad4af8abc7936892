"""What public DNS knows in a rehearsal: the zones of Route 53 that are delegated, and load balancers by their names.

A hosted zone by itself is in nobody's sight. `delegate` is what a person does at a registrar: it writes the zone's name
servers into the zone above. `lookup` then finds the zone's records, as any resolver would.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.elbv2.models import elbv2_backends
from moto.route53.models import FakeZone, route53_backends

SERVER_ABOVE = "ns.above.invalid"
"""The name server of every zone above: of com, net and the like."""

_LOAD_BALANCERS = ".elb.amazonaws.com"
_NAME_SERVERS = ".awsdns-"
_LOOPBACK = "127.0.0.1"

# Name of a zone, without the dot at its end -> the name servers that the zone above has for it.
_DELEGATIONS: dict[str, tuple[str, ...]] = {}


@dataclass(frozen=True)
class Found:
    """An answer: the records of the type that was asked for. `exists` is false for a name that has none at all.

    `lame`: the name is in a zone whose name servers do not serve it.
    """

    records: tuple[str, ...] = ()
    exists: bool = True
    lame: bool = False


def delegate(zone: str, name_servers: Iterable[str]) -> None:
    """Writes the name servers of `zone` into the zone above; none takes them out."""
    servers = tuple(server.rstrip(".") for server in name_servers)
    if servers:
        _DELEGATIONS[_plain(zone)] = servers
    else:
        _DELEGATIONS.pop(_plain(zone), None)


def forget() -> None:
    """Takes back every delegation."""
    _DELEGATIONS.clear()


def referral(name: str) -> tuple[str, ...]:
    """The name servers that the zone above has for `name`: none unless that is a zone which is delegated."""
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
        one for region in elbv2_backends[DEFAULT_ACCOUNT_ID].values() for one in region.load_balancers.values()
    )
    return next((one for one in balancers if _plain(one.dns_name) == _plain(name)), None)


def load_balancer_at(name: str) -> Any:
    """The load balancer whose addresses `name` leads to, or None."""
    addresses = lookup(name, "A").records
    balancers = (
        one for region in elbv2_backends[DEFAULT_ACCOUNT_ID].values() for one in region.load_balancers.values()
    )
    return next((one for one in balancers if addresses and _addresses(one.dns_name) == addresses), None)


def _plain(name: str) -> str:
    return name.rstrip(".").lower()


def _serving(zone: str) -> FakeZone | None:
    """The public hosted zone of that name whose name servers are those of the delegation."""
    zones = (one for partition in route53_backends[DEFAULT_ACCOUNT_ID].values() for one in partition.zones.values())
    for one in zones:
        servers = one.delegation_set.name_servers if one.delegation_set else []
        if _plain(one.name) == zone and not one.private_zone and set(_DELEGATIONS[zone]) <= set(servers):
            return one
    return None


def _in_zone(zone: FakeZone, name: str, kind: str) -> Found:
    here = [record for record in zone.rrsets if _plain(record.name) == name]
    of_kind = [record for record in here if record.type == kind]
    if of_kind and of_kind[0].alias_target:
        return Found(_addresses(of_kind[0].alias_target["DNSName"]))
    if of_kind:
        return Found(tuple(str(value) for record in of_kind for value in record.records))
    return Found(exists=bool(here))


def _addresses(balancer_name: str) -> tuple[str, ...]:
    """The addresses of a load balancer: those of its network interfaces."""
    balancer = load_balancer_of(balancer_name)
    if balancer is None:
        return ()
    region = balancer.arn.split(":")[3]
    ec2 = elbv2_backends[DEFAULT_ACCOUNT_ID][region].ec2_backend
    described = f"/{balancer.name}/{balancer.arn.rpartition('/')[2]}"
    found = (one.private_ip_address for one in ec2.enis.values() if (one.description or "").endswith(described))
    return tuple(sorted(address for address in found if address))
