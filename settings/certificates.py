"""`gpulab:ingress.certificate` and `install.certManager`: where a site's platform gets its certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from settings.language.secret_reference import Secret, unread_findings
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import matching
from settings.people.values import Email

ObjectName = Annotated[str, matching(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "the name of a Kubernetes object")]
Namespace = Annotated[str, matching(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "the name of a namespace")]

# No registry delegates them (RFC 2606, RFC 6762, RFC 8375; ICANN reserves internal), so no public authority certifies
# names in them. The last ones are common in home networks.
PRIVATE_TOP_LEVELS = frozenset(
    [
        "test",
        "example",
        "invalid",
        "localhost",
        "local",
        "home.arpa",
        "internal",
        "lan",
        "home",
        "intranet",
        "private",
        "corp",
    ]
)

_KEYS_OF: Mapping[str, Mapping[str, bool]] = {
    "cloudflare": {},
    "digitalocean": {},
    "route53": {"accessKeyId": True, "region": True, "hostedZoneId": False},
    "rfc2136": {"nameserver": True, "tsigKeyName": True, "tsigAlgorithm": False},
}
"""The keys of each provider of DNS that others do not have, each with whether it needs it."""


class Dns01(Section):
    """How Let's Encrypt sees that the domain is yours: by a record that cert-manager sets at your provider of DNS."""

    provider: Literal["cloudflare", "digitalocean", "route53", "rfc2136"] = Field(
        description="Who serves the domain's DNS; rfc2136 is a DNS server that takes signed updates."
    )
    secret: Secret = Field(
        description="Where the provider's secret is: the API token of cloudflare and digitalocean, the secret access "
        "key of route53, the TSIG key of rfc2136."
    )
    access_key_id: Annotated[str, matching(r"[A-Z0-9]{16,128}", "the id of an access key")] | None = Field(
        default=None, description="route53: id of the access key whose secret it is."
    )
    region: Annotated[str, matching(r"[a-z]{2}(-[a-z]+)+-[0-9]", "an AWS region such as us-east-1")] | None = Field(
        default=None, description="route53: AWS region for its API, such as us-east-1."
    )
    hosted_zone_id: Annotated[str, matching(r"Z[A-Z0-9]{1,31}", "the id of a hosted zone")] | None = Field(
        default=None, description="route53: id of the hosted zone; found by its name by default."
    )
    nameserver: Annotated[str, matching(r"\S{1,255}", "an address such as 192.168.1.53:53")] | None = Field(
        default=None, description="rfc2136: address of the DNS server, with the port if it is not 53."
    )
    tsig_key_name: Annotated[str, matching(r"\S{1,255}", "the name of a key")] | None = Field(
        default=None, description="rfc2136: name of the TSIG key."
    )
    tsig_algorithm: Literal["HMACSHA1", "HMACSHA224", "HMACSHA256", "HMACSHA384", "HMACSHA512"] | None = Field(
        default=None, description="rfc2136: algorithm of the TSIG key; HMACSHA512 by default."
    )

    @rule
    def _keys_of_its_provider(self, facts: Facts) -> Findings:
        yield from unread_findings("secret", self.secret, facts, on_eks="is for a cluster that exists")
        own = _KEYS_OF[self.provider]
        given = {type(self).model_fields[name].alias for name in self.model_fields_set if getattr(self, name)}
        for provider, keys in _KEYS_OF.items():
            for key in keys.keys() & given - own.keys():
                yield (key,), f"is for provider {provider}, and this one is {self.provider}: leave it out"
        for key, needed in own.items():
            if needed and key not in given:
                yield (key,), f"is missing: provider {self.provider} needs it"


class CertManager(Section):
    """cert-manager and an issuer of Let's Encrypt, for a cluster that has none. A destroy leaves its CRDs."""

    email: Email | None = Field(default=None, description="Whom Let's Encrypt writes to about the account.")
    lets_encrypt: Literal["production", "staging"] = Field(
        default="production",
        description="staging: certificates that no browser trusts, without the limits of production: try it first.",
    )
    dns01: Dns01 | None = Field(
        default=None,
        description="For a platform that the internet does not reach, and for names of people's notebooks "
        "(hub.subdomains): provider, secret. None: by HTTP-01, for which Let's Encrypt must reach port 80.",
    )


class Certificate(Section):
    """A certificate that is there, or somebody who issues it."""

    secret: ObjectName | None = Field(
        default=None,
        description="Name of a Secret of type kubernetes.io/tls with your certificate for the platform's names. Each "
        "`pulumi up` copies it to where Ingresses read it.",
    )
    namespace: Namespace | None = Field(default=None, description="For secret: the namespace that it is in.")
    issuer: ObjectName | None = Field(
        default=None, description="Name of a ClusterIssuer of the cert-manager that is in the cluster."
    )

    @rule
    def _secret_or_issuer(self, facts: Facts) -> Findings:
        if (self.secret is None) == (self.issuer is None):
            yield (), f"must have either secret or issuer, and has {'neither' if self.secret is None else 'both'}"

    @rule
    def _namespace_of_the_secret(self, facts: Facts) -> Findings:
        if self.secret is not None and self.namespace is None:
            yield ("namespace",), "is missing: the namespace of the Secret"
        if self.secret is None and self.namespace is not None:
            yield ("namespace",), "is for secret: leave it out, a ClusterIssuer is in none"


def private_top_level(domain: str) -> str | None:
    """The end of a domain that no public registry delegates, for which nobody on the internet issues certificates."""
    labels = domain.split(".")
    ends = [".".join(labels[-count:]) for count in (1, 2)]
    return next((end for end in ends if end in PRIVATE_TOP_LEVELS), None)
