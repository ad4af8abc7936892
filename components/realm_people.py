"""The accounts that the realm begins with: its administrators, and the seed users of a lab."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from components.realm_secrets import placeholder

if TYPE_CHECKING:
    from settings import Identity


def initial_password(username: str) -> str:
    """The variable with the first password of an account. User names have signs that variables have not."""
    return f"PASSWORD_{hashlib.sha256(username.encode()).hexdigest()[:12].upper()}"


def people(identity: Identity) -> list[dict[str, Any]]:
    """The accounts, each with a first password that has to be changed when it is used.

    The label `initial` keeps keycloak-config-cli from setting the password of an account that exists. Administrators
    administer the realm as well; that takes Keycloak's admin console, which is reached from inside the cluster alone.
    """
    administrators = [
        {
            **_account(email.lower(), email),
            "realmRoles": ["administrator"],
            "clientRoles": {"realm-management": ["realm-admin"]},
        }
        for email in identity.administrators
    ]
    seeds = [
        {
            **_account(name, user.email),
            "firstName": user.first_name,
            "lastName": user.last_name,
            "realmRoles": list(user.roles),
            "groups": list(user.groups),
        }
        for name, user in identity.seed_users.items()
    ]
    return [*administrators, *seeds]


def _account(username: str, email: str) -> dict[str, Any]:
    first_password = {
        "type": "password",
        "value": placeholder(initial_password(username)),
        "userLabel": "initial",
        "temporary": True,
    }
    return {
        "username": username,
        "email": email,
        "emailVerified": True,
        "enabled": True,
        "credentials": [first_password],
    }
