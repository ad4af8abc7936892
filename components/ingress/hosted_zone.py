"""Finds the hosted zone of the platform's domain before anything is made.

A certificate is validated through DNS, and Pulumi would wait 75 minutes for a validation that can't happen. So a
preview reports a zone that is missing, private or not delegated.
"""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws


@dataclass(frozen=True)
class HostedZone:
    """A public hosted zone that holds `domain`; `name` and `name_servers` do not end with a dot."""

    domain: str
    zone_id: str
    name: str
    name_servers: tuple[str, ...]


class HostedZoneError(pulumi.RunError):
    """The zone can't be used for the domain. The message names both and says what to do."""


def find_hosted_zone(
    domain: str, name: str, zone_id: str | None = None, opts: pulumi.InvokeOptions | None = None
) -> HostedZone:
    """The public hosted zone called `name`; found by its id if `zone_id` is given.

    Raises HostedZoneError if there is none, or more than one, or if it is private or has another name.
    """
    wanted = f"the hosted zone {name} of gpulab:ingress.domain {domain}"
    try:
        if zone_id is not None:
            zone = aws.route53.get_zone(zone_id=zone_id, opts=opts)
        else:
            zone = aws.route53.get_zone(name=name, private_zone=False, opts=opts)
    except Exception as error:  # an invoke's errors have no specific type
        raise HostedZoneError(_not_found(wanted, name, zone_id, str(error), opts)) from None
    if zone.private_zone:
        raise HostedZoneError(
            f"{_capitalized(wanted)} ({zone.zone_id}) is private: certificates are validated through public DNS. "
            f"Make a public zone {name} in Route 53, or name one in gpulab:ingress.hostedZone."
        )
    if zone.name.rstrip(".") != name:
        raise HostedZoneError(
            f"gpulab:ingress.hostedZoneId {zone_id} is the zone {zone.name.rstrip('.')}, not {name}, which must hold "
            f"gpulab:ingress.domain {domain}: correct it, or name that zone in gpulab:ingress.hostedZone."
        )
    servers = sorted(server.rstrip(".").lower() for server in zone.name_servers)
    return HostedZone(domain, zone.zone_id, name, tuple(servers))


def _not_found(wanted: str, name: str, zone_id: str | None, reason: str, opts: pulumi.InvokeOptions | None) -> str:
    if zone_id is not None:
        return f"{_capitalized(wanted)} was not found by gpulab:ingress.hostedZoneId {zone_id}: {reason}"
    if "multiple" in reason:
        return (
            f"{_capitalized(wanted)} is not the only public zone of its name in this account: set the delegated one in "
            "gpulab:ingress.hostedZoneId (`aws route53 list-hosted-zones` lists them)."
        )
    if "no matching" not in reason:
        return f"{_capitalized(wanted)} could not be looked up: {reason}"
    try:
        private = aws.route53.get_zone(name=name, private_zone=True, opts=opts)
    except Exception:  # there is no private zone either
        return (
            f"{_capitalized(wanted)} does not exist in this account: make it (`aws route53 create-hosted-zone "
            f"--name {name} --caller-reference {name}`) and delegate it, or name its parent zone in "
            "gpulab:ingress.hostedZone."
        )
    return (
        f"{_capitalized(wanted)} ({private.zone_id}) is private: certificates are validated through public DNS. "
        f"Make a public zone {name} in Route 53, or name one in gpulab:ingress.hostedZone."
    )


def _capitalized(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:]
