"""An authority for certificates of a rehearsal: of servers that people reach, and of clients that kubelets know."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_NAME = "an authority of the rehearsal"
_DAYS = 365


@dataclass(frozen=True)
class Signed:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str


class Authority:
    """Its key is nowhere but in this process."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = _pem(_certificate(_NAME, self._key, self._key, names=(), authority=True))
        """Its own, as PEM."""

    def signed(self, subject: str, names: Sequence[str] = (), *, group: str = "") -> Signed:
        """A new certificate for a client, which may be of a `group`, or, with `names`, a server of that name."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(subject, key, self._key, names=names, authority=False, group=group)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Signed(_pem(certificate), private.decode())


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _certificate(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    *,
    names: Sequence[str],
    authority: bool,
    group: str = "",
) -> x509.Certificate:
    def named(common: str, organization: str = "") -> x509.Name:
        found = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)] if organization else []
        return x509.Name([*found, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject, group))
        .issuer_name(named(_NAME))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=_DAYS))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        builder = builder.add_extension(alternatives, critical=False)
    return builder.sign(by, hashes.SHA256())
