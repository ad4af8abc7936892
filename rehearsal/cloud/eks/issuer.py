"""Whether EKS can read an issuer's keys: it connects over the internet, from addresses that AWS does not publish.

"This URL must be publicly accessible over the internet" (OidcIdentityProviderConfigRequest, EKS API reference). It is
not known whether EKS reports this at once, or whether its API server then accepts no tokens; here the association is
refused. Only issuers behind a load balancer of the account are checked; all others count as accessible.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from moto.ec2.models import ec2_backends

from rehearsal.cloud import public_dns
from rehearsal.cloud.elb_rules import is_forwarded
from settings.admitted_ranges import open_to

_HTTPS = 443
_DISCOVERY = "/.well-known/openid-configuration"
_KEYS = "/protocol/openid-connect/certs"
"""The path of a realm's keys in Keycloak, as in its discovery document."""


def access_problem(issuer_url: str) -> str | None:
    """What prevents EKS from reading an issuer's discovery document and keys; None if nothing does."""
    address = urlsplit(issuer_url)
    host = address.hostname or ""
    balancer = public_dns.load_balancer_at(host)
    if balancer is None:
        return None
    if balancer.scheme == "internal":
        return f"{host} is an internal load balancer"
    if open_to(_admitted(balancer)) != "any address":
        return f"the security groups of {host} admit some addresses only to port {_HTTPS}"
    listeners = [listener for listener in balancer.listeners.values() if int(listener.port) == _HTTPS]
    for path in (f"{address.path}{_DISCOVERY}", f"{address.path}{_KEYS}"):
        if not any(is_forwarded(listener, host, path) for listener in listeners):
            return f"no rule of {host} forwards {path} for any address"
    return None


def _admitted(balancer: Any) -> list[str]:
    """The IPv4 ranges that may reach the load balancer's HTTPS port."""
    _, _, _, region, account, *_ = balancer.arn.split(":")
    ec2 = ec2_backends[account][region]
    groups = [ec2.get_security_group_from_id(id) for id in balancer.security_groups or []]
    rules = [rule for group in groups if group for rule in group.ingress_rules]
    # A rule for every protocol has no ports.
    admitting = [rule for rule in rules if _HTTPS in range(rule.from_port or 0, (rule.to_port or _HTTPS) + 1)]
    return [rule.ip_range["CidrIp"] for rule in admitting if rule.ip_range.get("CidrIp")]
