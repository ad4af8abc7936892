"""Certificates that Keycloak shall trust: what is used of a file or a secret, and what is refused."""

from __future__ import annotations

import re

import pulumi
import pytest
from authorities import Authority, certificate_of_an_authority, self_signed_certificate
from identity_lab import MAIL_ARN, args, deploy, identity, secret_of

from components.identity.trust import certificates_in, pem_of

SIGNED = Authority().signed()
BROKEN = f"{certificate_of_an_authority()}{SIGNED[:28]}AAAA{SIGNED[-27:]}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "can't be read (No such file or directory)"),
        ("what is this", "holds no certificate in PEM"),
        ("\0\x82", "holds no certificate in PEM"),
        ("-----BEGIN PRIVATE KEY-----", "holds a private key"),
        (BROKEN, "holds a certificate that cannot be read"),
        (SIGNED, "holds no certificate of an authority"),
    ],
    ids=["missing", "text", "binary", "key", "broken", "server"],
)
def test_a_file_without_an_authoritys_certificate_is_refused_by_its_path(tmp_path, content, reason):
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content, encoding="latin-1")
    with pytest.raises(pulumi.RunError, match=re.escape(f"gpulab:identity.trust.files: {file} {reason}")):
        pem_of(str(file))


@pytest.mark.parametrize("before", [b"", "# Főtanúsítvány\n".encode(), "\ufeff".encode(), "Größe\n".encode("latin-1")])
def test_what_stands_around_a_certificate_is_left_out(tmp_path, before):
    """Java also trusts a server's own certificate if it is self-signed."""
    file = tmp_path / "ca.pem"
    for certificate in (certificate_of_an_authority(), self_signed_certificate()):
        file.write_bytes(before + certificate.replace("\n", "\r\n").encode())
        assert pem_of(str(file)).replace("\r", "") == certificate


def test_a_secret_without_a_certificate_is_refused_without_its_text():
    with pytest.raises(pulumi.RunError, match="the secret holds no certificate") as refusal:
        certificates_in(b"hunter2", "the secret")
    assert "hunter2" not in str(refusal.value)


def test_an_authority_in_secrets_manager_is_fetched_and_checked(mocks):
    ca, version = certificate_of_an_authority(), "aws:secretsmanager/getSecretVersion:getSecretVersion"
    mocks.invokes[version] = {"secretString": f"# Főtanúsítvány\n{ca}"}
    deploy(mocks, args(identity(trust={"secret": {"secretsManager": MAIL_ARN}})))
    assert list(secret_of(mocks, "keycloak-trust").values()) == [ca]
