"""How the first people sign in: what `pulumi stack output hub` shows after a stack is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.hub.catalogue_from_settings import hub_of, sign_in
from components.hub.values import SECRETS, TOKEN_KEY
from components.identity.identity import FIRST_PASSWORDS
from components.identity.keycloak import ADMIN_ADDRESS, NAMESPACE, SERVICE, SERVICE_PORT
from components.identity.realm.clients import HUB_BASE_URL
from components.identity.realm.people import people
from components.identity.realm.realm import REALM
from components.platform_urls import PlatformUrls
from components.teams.names import HUB_NAMESPACE

if TYPE_CHECKING:
    from settings import Identity, Settings


def hub_output(settings: Settings) -> dict[str, Any]:
    """Where the hub is, where people sign in and change their password, the teams, and how to sign in first."""
    urls, identity = PlatformUrls.of(settings.ingress.domain), settings.identity
    account = {"signIn": f"{urls.sign_in}/realms/{REALM}/account"} if identity else {}
    return {
        "url": f"{urls.platform}{HUB_BASE_URL}/",
        **account,
        "teams": list(settings.teams),
        "firstSignIn": first_steps(identity, urls, settings.kubectl) if identity else _without_keycloak(settings, urls),
    }


def _without_keycloak(settings: Settings, urls: PlatformUrls) -> list[str]:
    page = f"{urls.platform}{HUB_BASE_URL}/"
    if hub_of(settings).sign_in == "github":
        return [
            f"The callback URL of the OAuth app at GitHub must be {page}hub/oauth_callback.",
            f"Open {page} and sign in with GitHub.",
        ]
    names = sorted({name for members in sign_in(settings).members.values() for name in members})
    return [
        f"The token: {settings.kubectl} -n {HUB_NAMESPACE} get secret {SECRETS} "
        f"-o jsonpath='{{.data.{TOKEN_KEY}}}' | base64 -d",
        f"Open {page} and sign in with it as {' or '.join(names)}.",
    ]


def first_steps(identity: Identity, urls: PlatformUrls, kubectl: str) -> list[str]:
    """What to do, one thing a line. `kubectl` is how that begins."""
    console = f"{ADMIN_ADDRESS}/admin/{REALM}/console"
    port = ADMIN_ADDRESS.rpartition(":")[2]
    names = [person.username for person in people(identity)]
    others = [*identity.providers, *(["the directory"] if identity.ldap else [])]
    steps = []
    if names:
        steps = [
            f"The first password of {', '.join(names)}, for one use, if they had no account before: {kubectl} "
            f"-n {NAMESPACE} get secret {FIRST_PASSWORDS} -o jsonpath='{{.data.passwords}}' | base64 -d",
            f"Open {urls.platform}{HUB_BASE_URL}/ and sign in with it; Keycloak asks for one of your own.",
        ]
    if others:
        steps.append(f"Everybody else signs in with {', '.join(others)}.")
    steps.append(
        "People without a team can't start notebooks. An administrator adds people to groups (/TEAM/ROLE) at "
        f"{console} ({kubectl} -n {NAMESPACE} port-forward svc/{SERVICE} {port}:{SERVICE_PORT})."
    )
    return steps
