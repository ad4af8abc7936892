"""A directory with a certificate of a private authority: Keycloak uses it if it trusts the authority."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import HTTPError

import pytest
from authorities import Authority
from keycloak_lab import KeycloakLab

# LDAP's answer to the first message, which binds: success (RFC 4511, 4.2.2).
_BOUND = bytes.fromhex("300c02010161070a010004000400")


@contextmanager
def directory(context: ssl.SSLContext) -> Iterator[str]:
    """A server that accepts every LDAP bind, and supports nothing else; yields its address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(4096)
                secured.sendall(_BOUND)
                secured.recv(4096)

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    try:
        yield f"ldaps://localhost:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def connects(keycloak: KeycloakLab, url: str) -> bool:
    """Whether Keycloak reaches a directory, with the same request as its console."""
    question = {
        "action": "testConnection",
        "connectionUrl": url,
        "useTruststoreSpi": "always",
        "authType": "none",
        "startTls": "false",
        "connectionTimeout": "5000",
    }
    try:
        keycloak.admin("POST", "/master/testLDAPConnection", question)
    except HTTPError as error:
        if error.code != 400:
            raise
        return False
    return True


@pytest.mark.parametrize("known", [True, False])
def test_a_directory_is_asked_whose_authority_is_trusted_and_no_other(
    keycloak: KeycloakLab, tmp_path: Path, known: bool
) -> None:
    authority = keycloak.authority if known else Authority()
    with directory(authority.server_context(tmp_path)) as url:
        assert connects(keycloak, url) is known
