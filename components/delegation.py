"""Whether public DNS leads to a hosted zone: its name servers must be those that the zone above it names."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.resolver

from components.hosted_zone import HostedZone, HostedZoneError

DNS_SERVER = "GPULAB_DNS_SERVER"
"""Environment variable: HOST:PORT of the resolver to ask instead of this machine's own. A rehearsal sets it."""

# Seconds for all questions together, and for one server's answer.
PATIENCE = 10.0
SERVER_PATIENCE = 2.0


class NoAnswerError(Exception):
    """DNS can't be asked from here; the message says why."""


def require_delegation(zone: HostedZone) -> None:
    """Raises HostedZoneError, with the NS records to set, unless public DNS leads to `zone`; takes PATIENCE at most."""
    try:
        found = delegated_to(zone.name)
    except NoAnswerError as error:
        raise HostedZoneError(
            f"Whether the hosted zone {zone.name} of gpulab:ingress.domain {zone.domain} is delegated could not be "
            f"found out, as public DNS does not answer here ({error}). Check this machine's network; where public DNS "
            "is out of reach, set gpulab:ingress.checkDelegation: false."
        ) from None
    if not found or not found <= set(zone.name_servers):
        raise HostedZoneError(not_delegated(zone, found))


def not_delegated(zone: HostedZone, found: set[str]) -> str:
    """What to say of a zone when DNS names the servers `found` instead of its own."""
    instead = f"leads to {', '.join(sorted(found))} instead" if found else "knows no name servers of it"
    records = "\n".join(f"  {zone.name}. NS {server}." for server in zone.name_servers)
    return (
        f"The hosted zone {zone.name} ({zone.zone_id}) is not delegated: public DNS {instead}. Nobody would find "
        f"gpulab:ingress.domain {zone.domain}, and its certificate would never be issued. Set these records at the "
        f"registrar of {zone.name}, or in the zone above it, and try again in some minutes:\n{records}"
    )


def delegated_to(zone: str) -> set[str]:
    """The name servers of `zone` as the zone above it has them, else as the resolver finds them; empty for none.

    The servers above are asked themselves, as a resolver remembers for up to an hour that there was nothing. Where a
    network lets no question out to them, its own resolver has to do. Raises NoAnswerError.
    """
    name = dns.name.from_text(zone)
    deadline = time.monotonic() + PATIENCE
    try:
        resolver = _resolver()
        for address in _servers_above(name, resolver, deadline):
            answer = _asked(name, address, resolver.port)
            if answer is not None:
                return answer
        return _resolved(name, resolver, deadline)
    except dns.exception.DNSException as error:
        raise NoAnswerError(str(error) or type(error).__name__) from error


def _resolver() -> dns.resolver.Resolver:
    server = os.environ.get(DNS_SERVER)
    if not server:
        return dns.resolver.Resolver()
    host, _, port = server.rpartition(":")
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = [host], int(port)
    return resolver


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.1)


def _servers_above(name: dns.name.Name, resolver: dns.resolver.Resolver, deadline: float) -> Iterator[str]:
    """Addresses of the name servers of the nearest zone above `name`; none where that zone does not answer either."""
    try:
        above = dns.resolver.zone_for_name(name.parent(), resolver=resolver, lifetime=_left(deadline))
        servers = resolver.resolve(above, "NS", lifetime=_left(deadline))
    except dns.resolver.NoNameservers:
        return
    for server in servers:
        if time.monotonic() + SERVER_PATIENCE > deadline - SERVER_PATIENCE:
            return
        try:
            addresses = resolver.resolve(server.target, "A", lifetime=_left(deadline))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.NoNameservers):
            continue
        yield next(iter(addresses)).address


def _asked(name: dns.name.Name, address: str, port: int) -> set[str] | None:
    """What the server at `address` says of the delegation of `name`; None when it says nothing of use."""
    question = dns.message.make_query(name, dns.rdatatype.NS)
    # Its own word is wanted, not what it may look up for others.
    question.flags &= ~dns.flags.RD
    try:
        answer, _ = dns.query.udp_with_fallback(question, address, timeout=SERVER_PATIENCE, port=port)
    except (OSError, dns.exception.DNSException):
        return None
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    records = [rrset for rrset in (*answer.answer, *answer.authority) if rrset.rdtype == dns.rdatatype.NS]
    return {_text(record.target) for rrset in records if rrset.name == name for record in rrset}


def _resolved(name: dns.name.Name, resolver: dns.resolver.Resolver, deadline: float) -> set[str]:
    try:
        answer = resolver.resolve(name, "NS", lifetime=_left(deadline))
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.NoNameservers):
        return set()
    return {_text(record.target) for record in answer}


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
