"""`gpulab:ingress` on an existing cluster: its ingress class with a domain, or port forwarding."""

from __future__ import annotations

import ipaddress
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from settings.certificates import Certificate, CertManager, private_top_level
from settings.ground import on_eks_only
from settings.ingress import Domain
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import Check, matching

TRAEFIK_CLASS = "gpulab-traefik"
"""The name of the ingress class of the traefik that the stack installs, unless the file names another."""

AnnotationKey = Annotated[
    str,
    matching(
        r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?",
        "the key of an annotation",
    ),
]


def _address(text: str) -> str:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ValueError("must be an address such as 192.168.1.240") from None
    return text


class Traefik(Section):
    """Traefik, for a cluster without an ingress controller. It serves only the Ingresses of its own class."""

    load_balancer_ip: Annotated[str, Check(_address)] | None = Field(
        default=None,
        alias="loadBalancerIP",
        description="Address that the site's load balancer (MetalLB, Cilium, kube-vip) gives it; the names of the "
        "platform lead there. k3s' ServiceLB gives its nodes' addresses whatever this says.",
    )


class IngressInstall(Section):
    """What publishes the platform where the cluster has nothing for that."""

    traefik: Traefik | None = Field(default=None, description="Traefik, with a load balancer: loadBalancerIP.")
    cert_manager: CertManager | None = Field(
        default=None, description="cert-manager with Let's Encrypt: letsEncrypt, email, dns01."
    )


class SiteIngress(Section):
    """How users reach the platform: by an ingress class of the cluster with a domain, or by kubectl port-forward."""

    elsewhere = on_eks_only(
        **dict.fromkeys(
            ("hostedZone", "hostedZoneId", "checkDelegation"), "whoever serves the domain's DNS has records"
        ),
        **dict.fromkeys(
            ("cidrs", "allowAnyAddress", "wafAclArn"), "the ingress controller or a firewall admits people"
        ),
        idleTimeout="the ingress controller decides (annotations)",
        accessLogs="the ingress controller writes them",
    )
    has_names_below: ClassVar[bool] = False
    """Whether people's notebooks have names of their own by default: on a site neither DNS nor the certificate has
    names for them unless somebody cares for that."""

    access: Literal["port-forward", "ingress"] = Field(
        default="port-forward",
        description="port-forward: services at localhost by `kubectl port-forward`. ingress: Ingresses of a class.",
    )
    domain: Domain | None = Field(
        default=None,
        description="The platform's domain; its services are at names below it, such as platform.DOMAIN.",
    )
    ingress_class: Annotated[str, matching(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "an ingress class")] | None = Field(
        default=None,
        description=f"Ingress class, such as traefik or nginx; by default {TRAEFIK_CLASS} with install.traefik, else "
        "the cluster's default class.",
    )
    annotations: dict[AnnotationKey, str] = Field(
        default={},
        description="Annotations of all Ingresses, for the ingress controller; they replace those of the platform.",
        json_schema_extra={"additionalProperties": {"type": "string"}},
    )
    certificate: Certificate | None = Field(
        default=None, description="Where the certificate is: secret and namespace; or who issues it: issuer."
    )
    install: IngressInstall = Field(
        default=IngressInstall(),
        description="What publishes the platform, where the cluster lacks it: traefik, certManager.",
    )

    @property
    def class_name(self) -> str | None:
        """The class of the Ingresses; None: the cluster's default class."""
        return self.ingress_class or (TRAEFIK_CLASS if self.install.traefik else None)

    @property
    def on_the_internet(self) -> bool:
        """Whether the internet may reach it: not at a private address, and not at a name that is never public.

        Of an ingress class that is there already the address is not known.
        """
        address = self.install.traefik.load_balancer_ip if self.install.traefik else None
        if address is not None:
            return not ipaddress.ip_address(address).is_private
        return self.domain is not None and private_top_level(self.domain) is None

    @rule
    def _domain_of_an_ingress(self, facts: Facts) -> Findings:
        if self.access == "ingress" and self.domain is None:
            yield ("domain",), "is missing: an Ingress needs names, which are below the domain"

    @rule
    def _nothing_for_port_forward(self, facts: Facts) -> Findings:
        if self.access == "ingress":
            return
        unused = {
            ("domain",): self.domain is not None,
            ("ingressClass",): self.ingress_class is not None,
            ("annotations",): bool(self.annotations),
            ("certificate",): self.certificate is not None,
            ("install", "traefik"): self.install.traefik is not None,
            ("install", "certManager"): self.install.cert_manager is not None,
        }
        for path in (path for path, given in unused.items() if given):
            yield path, "is for access ingress: leave it out, or set access"

    @rule
    def _one_certificate(self, facts: Facts) -> Findings:
        manager = self.install.cert_manager
        if self.access != "ingress":
            return
        if self.certificate is None and manager is None:
            yield (
                ("certificate",),
                "is missing: people sign in by HTTPS only. Name a secret with your certificate, or an issuer of the "
                "cluster's cert-manager, or let the stack install one (ingress.install.certManager)",
            )
        if self.certificate is not None and manager is not None:
            yield (
                ("certificate",),
                "is a second one: install.certManager issues a certificate. Leave one of both out",
            )

    @rule
    def _name_that_lets_encrypt_certifies(self, facts: Facts) -> Findings:
        end = private_top_level(self.domain) if self.domain and self.install.cert_manager else None
        if end:
            yield (
                ("domain",),
                f"ends in .{end}, which only your network knows, and Let's Encrypt certifies names of public DNS: take "
                "a domain of yours with install.certManager.dns01, or a certificate of your own (certificate.secret)",
            )
