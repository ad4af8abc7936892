"""The names of the realm's secrets as files in the container that applies the realm."""

from __future__ import annotations

FOLDER = "/run/secrets/keycloak-realm"
"""The files' folder. Environment variables would be visible in every process that starts; files are not."""


def placeholder(name: str) -> str:
    """The text that keycloak-config-cli replaces with a file's content ("Variable Substitution" in its README)."""
    return f"$(file:UTF-8:{FOLDER}/{name})"


def client_secret(client_id: str) -> str:
    """The file with the secret of a client."""
    return f"CLIENT_{_upper(client_id)}_SECRET"


def provider_secret(name: str) -> str:
    """The file with the secret of our client at an identity provider."""
    return f"PROVIDER_{_upper(name)}_SECRET"


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
