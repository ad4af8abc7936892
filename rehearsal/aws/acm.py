"""What moto's ACM leaves out: a certificate is issued once public DNS has its record, and not before."""

from __future__ import annotations

from typing import Any

from moto.acm import urls
from moto.acm.models import CertBundle
from moto.acm.responses import AWSCertificateManagerResponse
from moto.core.exceptions import AWSError
from moto.elbv2.models import elbv2_backends

from rehearsal.aws import public_dns

_PENDING, _ISSUED = "PENDING_VALIDATION", "ISSUED"


class InUse(AWSError):
    """A certificate that something uses."""

    TYPE = "ResourceInUseException"


class Response(AWSCertificateManagerResponse):
    """moto's ACM; whoever asks for a certificate has its validation looked at first."""

    def describe_certificate(self) -> Any:
        """Issues it if its records are there."""
        self._validate()
        return super().describe_certificate()

    def list_certificates(self) -> Any:
        """Issues all whose records are there."""
        self._validate()
        return super().list_certificates()

    def delete_certificate(self) -> Any:
        """Refuses one that a listener has."""
        arn = self._get_param("CertificateArn")
        balancers = elbv2_backends[self.current_account][self.region].load_balancers.values()
        users = [
            one.arn for one in balancers if any(arn in listener.certificates for listener in one.listeners.values())
        ]
        if users:
            raise InUse(f"Certificate {arn} in account {self.current_account} is in use.")
        return super().delete_certificate()

    def _validate(self) -> None:
        for certificate in self.acm_backend._certificates.values():
            if certificate.status == _PENDING and _is_validated(certificate):
                certificate.status = _ISSUED


def _is_validated(certificate: CertBundle) -> bool:
    """Whether public DNS has the record of every name."""
    options = certificate.describe()["Certificate"]["DomainValidationOptions"]
    records = {(one["ResourceRecord"]["Name"], one["ResourceRecord"]["Value"]) for one in options}
    return all(value.rstrip(".") in _values(name) for name, value in records)


def _values(name: str) -> set[str]:
    return {value.rstrip(".") for value in public_dns.lookup(name, "CNAME").records}


def install() -> None:
    """Puts these operations in the place of moto's."""
    urls.url_paths = {"{0}/$": Response.dispatch}
