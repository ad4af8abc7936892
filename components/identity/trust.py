"""The certificate authorities that Keycloak trusts in addition to public ones, as files in its pods."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

if TYPE_CHECKING:
    from settings.language.secret_reference import SecretReference
    from settings.people.trust import Trust

SECRET = "keycloak-trust"  # noqa: S105 (a Secret's name)
FOLDER = "/run/trust"
_VOLUME = "trust"
_OF_SECRET = "secret.pem"  # noqa: S105 (a file's name)
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----")
_VERSION = 0xA0  # the tag of a certificate's version, in DER
CHECKSUM = "gpulab.dev/trust"
"""The pods' annotation that restarts them when a certificate changes: Keycloak reads certificates only at its start."""


@dataclass(frozen=True, kw_only=True)
class TrustedCertificates:
    """`sources` are those of a projected volume, `files` are the file names in it. `checksum` changes with them."""

    sources: Sequence[Any]
    files: Sequence[str]
    checksum: pulumi.Input[str]


def trusted_certificates(
    name: str,
    trust: Trust,
    namespace: pulumi.Input[str],
    fetched: pulumi.Output[str] | None,
    opts: pulumi.ResourceOptions,
) -> TrustedCertificates:
    """Makes the Secret with the files and with `fetched`, the value of a secret in Secrets Manager."""
    texts: dict[str, pulumi.Input[str]] = {f"{number}.pem": pem_of(path) for number, path in enumerate(trust.files)}
    if fetched is not None:
        texts[_OF_SECRET] = fetched.apply(
            lambda text: certificates_in(text.encode(), "gpulab:identity.trust.secret: the secret")
        )
    sources: list[Any] = []
    if texts:
        made = kubernetes.core.v1.Secret(
            name, metadata={"name": SECRET, "namespace": namespace}, string_data=texts, opts=opts
        )
        sources.append({"secret": {"name": made.metadata.name}})
    if trust.secret is not None and fetched is None:
        sources.append(_source(trust.secret))
    of_secret = [_OF_SECRET] if trust.secret else []
    files = sorted({*texts.keys(), *of_secret})
    checksum = pulumi.Output.unsecret(pulumi.Output.all(**texts).apply(_checksum))
    return TrustedCertificates(sources=sources, files=files, checksum=checksum)


def pem_of(path: str) -> str:
    """The certificates in a file. Raises pulumi.RunError, with what to do, if it has none."""
    key = f"gpulab:identity.trust.files: {path}"
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise pulumi.RunError(
            f"{key} can't be read ({error.strerror}): give the path of a PEM file, from the project's folder"
        ) from None
    return certificates_in(content, key)


def certificates_in(content: bytes, key: str) -> str:
    """The authorities' certificates in PEM, without the text around them.

    A server's own certificate is accepted if it is self-signed: Java then trusts it too. Raises pulumi.RunError, whose
    message begins with `key`.
    """
    if b"PRIVATE KEY" in content:
        raise pulumi.RunError(f"{key} holds a private key: give only the authority's certificates")
    found = [block.decode() for block in _PEM.findall(content)]
    try:
        certificates = [ssl.PEM_cert_to_DER_cert(block) for block in found]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        for certificate in certificates:
            context.load_verify_locations(cadata=certificate)
    except (ssl.SSLError, ValueError):
        raise pulumi.RunError(f"{key} holds a certificate that cannot be read: export it anew as PEM") from None
    if not certificates:
        raise pulumi.RunError(f"{key} holds no certificate in PEM (-----BEGIN CERTIFICATE-----): give one")
    if not context.get_ca_certs() and not any(map(_is_self_signed, certificates)):
        raise pulumi.RunError(
            f"{key} holds no certificate of an authority: give the one that signed the server's certificate"
        )
    return "\n".join([*found, ""])


def _is_self_signed(certificate: bytes) -> bool:
    """Whether a certificate's issuer is its subject (RFC 5280, 4.1). OpenSSL has read it, so its DER is valid."""
    _, outer, _ = next(_items(certificate))
    _, signed, _ = next(_items(outer))
    # Version 1 certificates lack the version, which is otherwise the first item, with a context-specific tag.
    fields = [(tag, whole) for tag, _, whole in _items(signed) if tag != _VERSION]
    (_, _, (_, issuer), _, (_, subject)) = fields[:5]
    return issuer == subject


def _items(der: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """The tag, the content and all bytes of each item in DER (X.690, 8.1 and 10.1)."""
    while der:
        length, start = der[1], 2
        if length & 0x80:
            start += length & 0x7F
            length = int.from_bytes(der[2:start])
        yield der[0], der[start : start + length], der[: start + length]
        der = der[start + length :]


def pod_volumes(trusted: TrustedCertificates) -> dict[str, Any]:
    """The values of the chart `keycloakx` that mount the files. Both are text that contains list items."""
    volume = {"name": _VOLUME, "projected": {"sources": list(trusted.sources)}}
    mount = {"name": _VOLUME, "mountPath": FOLDER, "readOnly": True}
    return {
        "extraVolumes": pulumi.Output.concat("- ", pulumi.Output.json_dumps(volume)),
        "extraVolumeMounts": f"- {json.dumps(mount)}",
    }


def pod_annotations(trusted: TrustedCertificates) -> dict[str, Any]:
    """The pods' annotations that change with the files."""
    return {CHECKSUM: trusted.checksum}


def environment(trusted: TrustedCertificates) -> dict[str, Any]:
    """The variable with the files' paths.

    With their folder, Keycloak would read each twice, because Kubernetes links them.
    """
    return {"name": "KC_TRUSTSTORE_PATHS", "value": ",".join(f"{FOLDER}/{file}" for file in trusted.files)}


def _source(reference: SecretReference) -> Any:
    return {"secret": {"name": reference.kubernetes_secret, "items": [{"key": reference.key, "path": _OF_SECRET}]}}


def _checksum(texts: dict[str, str]) -> str:
    return hashlib.sha256(json.dumps(texts, sort_keys=True).encode()).hexdigest()[:16]
