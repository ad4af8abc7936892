"""`gpulab:identity.trust`: the certificate authorities that Keycloak trusts beside the public ones."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.language.secret_reference import Secret
from settings.language.section import Facts, Findings, Section, rule
from settings.language.values import DISTINCT, matching

PemFile = Annotated[str, matching(r"[^\x00-\x1f$-][^\x00-\x1f$]{0,254}", "the path of a PEM file")]


class Trust(Section):
    """Your own certificate authorities, for a directory, a provider or a mail server."""

    files: Annotated[tuple[PemFile, ...], DISTINCT] = Field(
        default=(), description="PEM files with authorities' certificates, as paths relative to the project's folder."
    )
    secret: Secret | None = Field(
        default=None,
        description="Where such certificates are, as PEM text. Restart Keycloak after a change in a Kubernetes Secret.",
    )

    @rule
    def _something(self, facts: Facts) -> Findings:
        if not self.files and self.secret is None:
            yield (), "names no certificate: set files or secret, or leave it out"
