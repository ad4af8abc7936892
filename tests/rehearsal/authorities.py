"""Private certificate authorities, as companies have for their directories."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def certificate_of_an_authority() -> str:
    """That of a new authority, as PEM."""
    return Authority().pem


def self_signed_certificate() -> str:
    """The certificate of a server that no authority has signed, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _pem(_signed("localhost", key, "localhost", key, authority=False))


@dataclass
class Authority:
    """It signs certificates of servers on this machine."""

    _key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    _certificate: x509.Certificate = field(init=False)

    def __post_init__(self) -> None:
        self._certificate = _signed("authority", self._key, "authority", self._key, authority=True)

    @property
    def pem(self) -> str:
        """Its certificate."""
        return _pem(self._certificate)

    def signed(self) -> str:
        """The certificate of a server that it has signed."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _pem(_signed("localhost", key, "authority", self._key, authority=False))

    def server_context(self, folder: Path) -> ssl.SSLContext:
        """TLS for a server named localhost, with a certificate that the authority has signed."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _signed("localhost", key, "authority", self._key, authority=False)
        file = folder / "server.pem"
        unencrypted = serialization.NoEncryption()
        private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
        file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _signed(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, *, authority: bool
) -> x509.Certificate:
    def named(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(by, hashes.SHA256())
    )
