"""Who administers the realm, and its first accounts: administrators, and the seed users of a lab."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from settings import Identity

ADMINISTRATORS_GROUP = "platform administrators"
"""The realm's group of administrators. No team can have this name, because it contains a space."""

REALM_ADMINISTRATOR = "realm-administrator"
"""The role that opens the realm's admin console, which is reachable only from inside the cluster."""

LOCAL_PASSWORD = "local-password"  # noqa: S105 (a role's name)
"""The role that people need to sign in with a password of the realm, if there are identity providers."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account that is made if no account has its user name or e-mail address.

    An existing account gets `roles` and `groups` too, whoever made it, if its address is verified or from a directory.
    """

    username: str
    email: str
    first_name: str = ""
    last_name: str = ""
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


def initial_password(username: str) -> str:
    """The variable with an account's first password.

    It is a hash, because user names have characters that variables can't have.
    """
    return f"PASSWORD_{hashlib.sha256(username.encode()).hexdigest()[:12].upper()}"


def administrator_roles(identity: Identity) -> tuple[str, ...]:
    """The realm roles of the group of administrators, who may also have a password of the realm."""
    return ("administrator", REALM_ADMINISTRATOR, *local_password(identity))


def local_password(identity: Identity) -> tuple[str, ...]:
    """The role that lets people have a password of the realm. Empty without identity providers: then everybody may."""
    return (LOCAL_PASSWORD,) if identity.providers else ()


def people(identity: Identity) -> list[Account]:
    """The accounts, administrators first. Each gets a first password that must be changed at its first use."""
    administrators = [
        Account(username=email.lower(), email=email, groups=(f"/{ADMINISTRATORS_GROUP}",))
        for email in identity.administrator_emails
    ]
    seeds = [
        Account(
            username=name,
            email=user.email,
            first_name=user.first_name,
            last_name=user.last_name,
            roles=(*user.roles, *local_password(identity)),
            groups=user.groups,
        )
        for name, user in identity.seed_users.items()
    ]
    return [*administrators, *seeds]
