"""The names under which the realm's secrets lie as files in the container of what applies it."""

from __future__ import annotations

FOLDER = "/run/secrets/keycloak-realm"
"""Where the files are. Of a file, unlike of a variable, nothing is in the environment of every process that starts."""


def placeholder(name: str) -> str:
    """What keycloak-config-cli replaces by the content of a file ("Variable Substitution" in its README)."""
    return f"$(file:UTF-8:{FOLDER}/{name})"


def client_secret(client_id: str) -> str:
    """The file with the secret of a client."""
    return f"CLIENT_{_upper(client_id)}_SECRET"


def provider_secret(name: str) -> str:
    """The file with the secret of our client at an identity provider."""
    return f"PROVIDER_{_upper(name)}_SECRET"


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
