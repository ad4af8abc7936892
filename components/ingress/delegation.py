"""Checks that public DNS leads to a hosted zone: the parent zone must name the hosted zone's name servers."""

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

from components.ingress.hosted_zone import HostedZone, HostedZoneError

DNS_SERVER = "GPULAB_DNS_SERVER"
"""Environment variable: HOST:PORT of the resolver to use instead of this machine's own. A rehearsal sets it."""

# Seconds: for all queries together, and for one server's answer.
TIMEOUT_SECONDS = 10.0
SERVER_TIMEOUT_SECONDS = 2.0


class NoAnswerError(Exception):
    """DNS does not answer here; the message says why."""


def require_delegation(zone: HostedZone) -> None:
    """Raises HostedZoneError, with the NS records to set, unless public DNS leads to `zone`. Takes 10 s at most."""
    try:
        found = name_servers(zone.name)
    except NoAnswerError as error:
        raise HostedZoneError(
            f"Cannot check that the hosted zone {zone.name} of gpulab:ingress.domain {zone.domain} is delegated: "
            f"public DNS does not answer here ({error}). Check this machine's network. If it has no access to public "
            "DNS, set gpulab:ingress.checkDelegation: false."
        ) from None
    if not found or not found <= set(zone.name_servers):
        raise HostedZoneError(not_delegated(zone, found))


def not_delegated(zone: HostedZone, found: set[str]) -> str:
    """The message for a zone when DNS names the servers `found` instead of its own."""
    instead = f"leads to {', '.join(sorted(found))} instead" if found else "has no name servers for it"
    records = "\n".join(f"  {zone.name}. NS {server}." for server in zone.name_servers)
    return (
        f"The hosted zone {zone.name} ({zone.zone_id}) is not delegated: public DNS {instead}. Nobody would find "
        f"gpulab:ingress.domain {zone.domain}, and its certificate would never be issued. Set these records at the "
        f"registrar of {zone.name}, or in its parent zone, and try again in some minutes:\n{records}"
    )


def name_servers(zone: str) -> set[str]:
    """The name servers of `zone` as its parent zone has them, else as the resolver finds them; may be empty.

    It asks the parent zone's servers directly, because a resolver caches for up to an hour that a name does not exist.
    In a network that blocks this, it uses the network's resolver. Raises NoAnswerError.
    """
    name = dns.name.from_text(zone)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        resolver = _resolver()
        for address in _parent_servers(name, resolver, deadline):
            answer = _delegation(name, address, resolver.port)
            if answer is not None:
                return answer
        return _resolver_answer(name, resolver, deadline)
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


def _remaining(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.1)


def _parent_servers(name: dns.name.Name, resolver: dns.resolver.Resolver, deadline: float) -> Iterator[str]:
    """Addresses of the name servers of the parent zone of `name`; empty if that zone does not answer either."""
    try:
        parent = dns.resolver.zone_for_name(name.parent(), resolver=resolver, lifetime=_remaining(deadline))
        servers = resolver.resolve(parent, "NS", lifetime=_remaining(deadline))
    except dns.resolver.NoNameservers:
        return
    for server in servers:
        if time.monotonic() + SERVER_TIMEOUT_SECONDS > deadline - SERVER_TIMEOUT_SECONDS:
            return
        try:
            addresses = resolver.resolve(server.target, "A", lifetime=_remaining(deadline))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.NoNameservers):
            continue
        yield next(iter(addresses)).address


def _delegation(name: dns.name.Name, address: str, port: int) -> set[str] | None:
    """The name servers of `name` according to the server at `address`; None if its answer is no use."""
    question = dns.message.make_query(name, dns.rdatatype.NS)
    # Ask for its own records, not for what it may look up for others.
    question.flags &= ~dns.flags.RD
    try:
        answer, _ = dns.query.udp_with_fallback(question, address, timeout=SERVER_TIMEOUT_SECONDS, port=port)
    except (OSError, dns.exception.DNSException):
        return None
    if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    records = [rrset for rrset in (*answer.answer, *answer.authority) if rrset.rdtype == dns.rdatatype.NS]
    return {_text(record.target) for rrset in records if rrset.name == name for record in rrset}


def _resolver_answer(name: dns.name.Name, resolver: dns.resolver.Resolver, deadline: float) -> set[str]:
    try:
        answer = resolver.resolve(name, "NS", lifetime=_remaining(deadline))
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.resolver.NoNameservers):
        return set()
    return {_text(record.target) for record in answer}


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()
