"""`gpulab:ingress`: from where people reach the platform's services, and under which names."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from settings.admitted_ranges import is_private, open_to
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import DISTINCT, Check, matching, whole

PLATFORM = "platform"
"""The label of the platform's own name in its domain. People's notebooks have names below it."""

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})+")
_LONGEST_DOMAIN = 64  # ACM, RequestCertificate: the first name of a certificate is its common name.
_LONGEST_ZONE = 253
_ZONE_ID = "the id of a hosted zone, such as Z0123456789ABCDEFGHIJ"

# Amazon VPC quotas: a security group has 60 inbound rules. Each range takes two, for HTTPS and for the redirect to it;
# one more is for the part of sign-in that anybody may read.
_CIDRS_LIMIT = 29

_WEB_ACL = re.compile(
    r"arn:aws(-[a-z]+)*:wafv2:(?P<region>[a-z0-9-]+):[0-9]{12}:(?P<scope>regional|global)/webacl/[\w-]+/[0-9a-f-]{36}"
)


def _dns_name(text: str, longest: int) -> str:
    if "/" in text or ":" in text:
        raise ValueError("must be only a name, without https:// and path, such as lab.example.com")
    if text.startswith("*."):
        raise ValueError(f"must be without the wildcard: write {text[2:]}, the certificate covers both")
    if text.endswith("."):
        raise ValueError(f"must be without the dot at its end: write {text.rstrip('.')}")
    if text != text.lower():
        raise ValueError(f"must be in lower case: write {text.lower()}")
    if len(text) > longest:
        raise ValueError(f"is too long: {len(text)} characters, {longest} at most")
    if not _NAME.fullmatch(text):
        raise ValueError("must be a DNS name such as lab.example.com")
    return text


def _domain(text: str) -> str:
    return _dns_name(text, _LONGEST_DOMAIN)


def _zone(text: str) -> str:
    return _dns_name(text, _LONGEST_ZONE)


def _cidr(text: str) -> str:
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError("must be an IPv4 range such as 203.0.113.0/24") from None
    network = interface.network
    if network.version == 6:
        raise ValueError("must be IPv4: the load balancer has no IPv6 address")
    if "/" not in text:
        raise ValueError(f"must be a range: write {network}")
    if interface.ip != network.network_address:
        raise ValueError(f"has host bits set: write {network}")
    return str(network)


def _web_acl(arn: str) -> str:
    found = _WEB_ACL.fullmatch(arn)
    if not found:
        example = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/NAME/ID"
        raise ValueError(f"must be the ARN of an AWS WAF web ACL, such as {example}")
    if found["scope"] == "global":
        raise ValueError("is a web ACL for CloudFront: a load balancer takes a regional one")
    return arn


Domain = Annotated[str, Check(_domain)]
"""A DNS name in lower case that a certificate can have."""


class AccessLogs(Section):
    """The load balancer's access logs, in a bucket of the stack's own."""

    enabled: StrictBool = Field(default=False, description="Whether each request is logged to a bucket made for it.")
    retention_days: Annotated[StrictInt, whole(1, 3653, "days")] = Field(
        default=90, description="Days that the logs are kept."
    )


class Ingress(Section):
    """How users reach the platform: by a load balancer with a domain, or by kubectl port-forward."""

    has_names_below: ClassVar[bool] = True
    """Whether people's notebooks have names of their own by default: the stack makes records and certificate."""

    access: Literal["port-forward", "internal", "internet-facing"] = Field(
        default="port-forward",
        description=(
            "port-forward: no load balancer, services at localhost by `kubectl port-forward`. internal: a load balancer"
            " for networks that are connected to the VPC. internet-facing: one that the internet reaches."
        ),
    )
    domain: Domain | None = Field(
        default=None,
        description="The platform's domain; its services are at names below it, such as platform.DOMAIN.",
    )
    hosted_zone: Annotated[str, Check(_zone)] | None = Field(
        default=None,
        description="Name of the public Route 53 zone that holds the domain; by default the domain's own.",
    )
    hosted_zone_id: Annotated[str, matching(r"Z[A-Z0-9]{1,31}", _ZONE_ID)] | None = Field(
        default=None, description="Id of that zone, for an account that has more than one public zone of the name."
    )
    check_delegation: StrictBool = Field(
        default=True,
        description="Whether a preview asks public DNS if the zone is delegated; false where it cannot.",
    )
    cidrs: Annotated[tuple[Annotated[str, Check(_cidr)], ...], DISTINCT] = Field(
        default=(), description="IPv4 ranges that reach the load balancer."
    )
    allow_any_address: StrictBool = Field(
        default=False, description="Confirms that the load balancer is to be open to the whole internet."
    )
    idle_timeout: Annotated[StrictInt, whole(1, 4000, "seconds")] = Field(
        default=3600,
        description="Seconds without traffic after which a connection is closed. Notebooks can be silent for long.",
    )
    access_logs: AccessLogs = Field(default=AccessLogs(), description="The load balancer's access logs.")
    waf_acl_arn: Annotated[str, Check(_web_acl)] | None = Field(
        default=None, description="ARN of an AWS WAF web ACL (scope REGIONAL) for the load balancer."
    )

    @property
    def has_load_balancer(self) -> bool:
        """Whether there is a load balancer, and so a domain."""
        return self.access != "port-forward"

    @property
    def on_the_internet(self) -> bool:
        """Whether the internet may reach the platform."""
        return self.access == "internet-facing"

    @property
    def ruled_cidrs(self) -> tuple[str, ...]:
        """The ranges that the listener's rules check too; none where the load balancer is open to anybody.

        The rules have them whether or not the security group lets others in (it does for the public part of sign-in).
        So nothing is open between two changes.
        """
        is_restricted = self.access == "internet-facing" and open_to(self.cidrs) != "any address"
        return self.cidrs if is_restricted else ()

    @property
    def zone_name(self) -> str | None:
        """Name of the hosted zone; None without a domain."""
        return self.hosted_zone or self.domain

    @rule
    def _domain_for_a_load_balancer(self, facts: Facts) -> Findings:
        if self.has_load_balancer and self.domain is None:
            yield ("domain",), f"is missing: access {self.access} needs the platform's domain, such as lab.example.com"

    @rule
    def _ranges_for_a_load_balancer(self, facts: Facts) -> Findings:
        if self.has_load_balancer and not self.cidrs:
            yield ("cidrs",), "must list at least one range: nobody would reach the load balancer"

    @rule
    def _nothing_for_port_forward(self, facts: Facts) -> Findings:
        if self.has_load_balancer:
            return
        unused = {
            "domain": self.domain is not None,
            "hostedZone": self.hosted_zone is not None,
            "hostedZoneId": self.hosted_zone_id is not None,
            "cidrs": bool(self.cidrs),
            "allowAnyAddress": self.allow_any_address,
            "accessLogs": self.access_logs.enabled,
            "wafAclArn": self.waf_acl_arn is not None,
        }
        for key in (key for key, given in unused.items() if given):
            yield (key,), "has no effect with access port-forward: leave it out, or set access to have a load balancer"

    @rule
    def _domain_in_its_zone(self, facts: Facts) -> Findings:
        if self.domain and self.hosted_zone and not f".{self.domain}".endswith(f".{self.hosted_zone}"):
            yield (
                ("hostedZone",),
                f"does not hold the domain {self.domain}: name the zone of the domain or of one above it",
            )

    @rule
    def _public_ranges_for_the_internet(self, facts: Facts) -> Findings:
        if self.access != "internet-facing":
            return
        for index, cidr in enumerate(self.cidrs):
            if is_private(ipaddress.IPv4Network(cidr)):
                yield (
                    ("cidrs", index),
                    "is private: an internet-facing load balancer sees only public addresses; set access: internal, "
                    "or list the public addresses that these networks use",
                )

    @rule
    def _open_knowingly(self, facts: Facts) -> Findings:
        extent = open_to(self.cidrs)
        if self.access == "internet-facing" and extent and not self.allow_any_address:
            yield (
                ("cidrs",),
                f"opens the platform to {extent}: list the ranges that need it, "
                "or set allowAnyAddress: true if you want that",
            )

    @rule
    def _not_too_many_ranges(self, facts: Facts) -> Findings:
        if len(self.cidrs) > _CIDRS_LIMIT:
            yield ("cidrs",), f"has {len(self.cidrs)} ranges: a security group takes {_CIDRS_LIMIT} at most"

    @rule
    def _web_acl_of_the_region(self, facts: Facts) -> Findings:
        found = _WEB_ACL.fullmatch(self.waf_acl_arn or "")
        if found and facts.region and found["region"] != facts.region:
            yield (
                ("wafAclArn",),
                f"is in another region than {facts.region}: a load balancer takes a web ACL of its own region",
            )
