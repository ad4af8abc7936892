"""`gpulab:ingress` on an existing cluster: its ingress class with a domain, or port forwarding."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from settings.ingress import Domain
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import matching


class SiteIngress(Section):
    """How users reach the platform: by an ingress class of the cluster with a domain, or by kubectl port-forward."""

    access: Literal["port-forward", "ingress"] = Field(
        default="port-forward",
        description="port-forward: services at localhost by `kubectl port-forward`. ingress: Ingresses of a class.",
    )
    domain: Domain | None = Field(
        default=None,
        description="The platform's domain; its services are at names below it, such as platform.DOMAIN.",
    )
    ingress_class: Annotated[str, matching(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", "an ingress class")] | None = Field(
        default=None, description="Ingress class, such as traefik or nginx; the cluster's default class by default."
    )

    @rule
    def _domain_of_an_ingress(self, facts: Facts) -> Findings:
        if self.access == "ingress" and self.domain is None:
            yield ("domain",), "is missing: an Ingress needs names, which are below the domain"
        if self.access == "port-forward" and self.domain is not None:
            yield ("domain",), "is for access ingress: leave it out, or set access"
