"""What moto's ACM lacks: a certificate is issued only when public DNS has its validation record."""

from __future__ import annotations

from typing import Any

from moto.acm import urls
from moto.acm.models import CertBundle
from moto.acm.responses import AWSCertificateManagerResponse
from moto.core.exceptions import AWSError
from moto.elbv2.models import elbv2_backends

from rehearsal.cloud import public_dns

_PENDING, _ISSUED = "PENDING_VALIDATION", "ISSUED"


class InUse(AWSError):
    """Something uses the certificate."""

    TYPE = "ResourceInUseException"


class Response(AWSCertificateManagerResponse):
    """moto's ACM; it checks validations before it answers about certificates."""

    def describe_certificate(self) -> Any:
        """Issues the certificate if its records exist."""
        self._validate()
        return super().describe_certificate()

    def list_certificates(self) -> Any:
        """Issues all certificates whose records exist."""
        self._validate()
        return super().list_certificates()

    def delete_certificate(self) -> Any:
        """Refuses to delete a certificate that a listener uses."""
        arn = self._get_param("CertificateArn")
        balancers = elbv2_backends[self.current_account][self.region].load_balancers.values()
        users = [
            balancer.arn
            for balancer in balancers
            if any(arn in listener.certificates for listener in balancer.listeners.values())
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
    records = {(option["ResourceRecord"]["Name"], option["ResourceRecord"]["Value"]) for option in options}
    return all(value.rstrip(".") in _values(name) for name, value in records)


def _values(name: str) -> set[str]:
    return {value.rstrip(".") for value in public_dns.lookup(name, "CNAME").records}


def install() -> None:
    """Replaces moto's operations with these."""
    urls.url_paths = {"{0}/$": Response.dispatch}
