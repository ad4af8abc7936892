"""How the first people get in: what `pulumi stack output hub` says to whoever has just made a stack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.identity import FIRST_PASSWORDS
from components.keycloak import ADMIN_ADDRESS, NAMESPACE, SERVICE, SERVICE_PORT
from components.realm import REALM, Addresses
from components.realm_clients import HUB_BASE_URL

if TYPE_CHECKING:
    from settings import Identity, Settings


def hub_output(settings: Settings) -> dict[str, Any]:
    """Where the hub is, where people sign in and change their password, the teams, and how to sign in first."""
    addresses = Addresses.of(settings.ingress.domain)
    return {
        "url": f"{addresses.platform}{HUB_BASE_URL}/",
        "signIn": f"{addresses.sign_in}/realms/{REALM}/account",
        "teams": list(settings.teams),
        "firstSignIn": first_steps(settings.identity, addresses) if settings.identity else [],
    }


def first_steps(identity: Identity, addresses: Addresses) -> list[str]:
    """What to do, one thing a line."""
    console = f"{ADMIN_ADDRESS}/admin/{REALM}/console"
    port = ADMIN_ADDRESS.rpartition(":")[2]
    names = [*identity.administrators, *identity.seed_users]
    others = [*identity.providers, *(["the directory"] if identity.ldap else [])]
    steps = [
        f"The first password of {', '.join(names)}, for one use: kubectl -n {NAMESPACE} get secret {FIRST_PASSWORDS} "
        "-o jsonpath='{.data.passwords}' | base64 -d",
        f"Open {addresses.platform}{HUB_BASE_URL}/ and sign in with it; Keycloak asks for one of your own.",
    ]
    if others:
        steps.append(f"Everybody else signs in by {', '.join(others)}.")
    steps.append(
        "Who is in no team starts no notebook. An administrator puts people into groups, /TEAM/ROLE, at "
        f"{console} (kubectl -n {NAMESPACE} port-forward svc/{SERVICE} {port}:{SERVICE_PORT})."
    )
    return steps
