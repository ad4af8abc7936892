"""The names under which the realm's secrets stand in the environment of what applies it."""

from __future__ import annotations


def placeholder(variable: str) -> str:
    """What keycloak-config-cli replaces by the value of a variable of its environment."""
    return f"$(env:{variable})"


def client_secret(client_id: str) -> str:
    """The variable with the secret of a client."""
    return f"CLIENT_{_upper(client_id)}_SECRET"


def provider_secret(name: str) -> str:
    """The variable with the secret of our client at an identity provider."""
    return f"PROVIDER_{_upper(name)}_SECRET"


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
