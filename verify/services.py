"""Checks of what people sign in to and open: Keycloak, the hub, the proxy, their names and certificates."""

from __future__ import annotations

import json
import socket
import ssl
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

from components.hub.inside.sections import Section
from components.identity.keycloak import NAMESPACE as IDENTITY_NAMESPACE
from components.identity.keycloak import SERVER_PORT
from components.identity.realm.clients import HUB_BASE_URL
from components.identity.realm.realm import REALM
from components.platform_urls import PlatformUrls
from components.teams.names import HUB_NAMESPACE, HUB_PORT
from settings import Settings
from verify.checks import Check, Failed, Skipped, Steps, checks_of
from verify.cluster_api import ClusterApi
from verify.hub_access import PROXY_PORT

GROUP = "services"
FEWEST_DAYS = 14
"""A certificate that is not renewed by then will hardly be."""
_HTTPS = 443
_SECONDS = 10


def checks(api: ClusterApi, settings: Settings) -> list[Check]:
    """From within the cluster first, then as people find them."""
    urls = PlatformUrls.of(settings.ingress.domain)
    steps: Steps = {
        "Keycloak serves the realm": (lambda: keycloak_serves(api, settings, urls), Section.SIGN_IN),
        "the hub answers": (lambda: hub_answers(api, settings), Section.LOGS),
        "the proxy leads to the hub": (lambda: proxy_leads(api, settings), Section.LOGS),
        "names lead somewhere": (lambda: names_lead(settings, urls), Section.CERTIFICATES),
        "certificates are valid": (lambda: certificates_are_valid(settings, urls), Section.CERTIFICATES),
    }
    return checks_of(GROUP, steps)


def keycloak_serves(api: ClusterApi, settings: Settings, urls: PlatformUrls) -> str:
    """The realm is there, and its tokens name the address at which people sign in."""
    if settings.identity is None:
        raise Skipped("the stack has no Keycloak")
    path = f"/realms/{REALM}/.well-known/openid-configuration"
    labels = {"app.kubernetes.io/name": "keycloakx"}
    status, text = api.http_get(IDENTITY_NAMESPACE, labels, SERVER_PORT, path)
    _needs_ok(status, text, f"Keycloak answers {status} for the realm {REALM}", Section.SIGN_IN)
    issuer = json.loads(text)["issuer"]
    wanted = f"{urls.sign_in}/realms/{REALM}"
    if issuer != wanted:
        raise Failed(f"the realm calls itself {issuer}; the stack file makes it {wanted}", Section.SIGN_IN)
    return issuer


def hub_answers(api: ClusterApi, settings: Settings) -> str:
    """The hub is up, by its own report."""
    status, text = _of_hub(api, settings, "hub", HUB_PORT, "/hub/api/")
    _needs_ok(status, text, f"the hub answers {status}", Section.LOGS)
    return f"JupyterHub {json.loads(text)['version']}"


def proxy_leads(api: ClusterApi, settings: Settings) -> str:
    """The proxy passes people's requests to the hub."""
    status, text = _of_hub(api, settings, "proxy", PROXY_PORT, "/hub/health")
    _needs_ok(status, text, f"the proxy answers {status} for the hub's pages", Section.LOGS)
    return f"{HUB_BASE_URL}/hub/health"


def names_lead(settings: Settings, urls: PlatformUrls) -> str:
    """The names of sign-in and platform are known here."""
    found = []
    for host in _hosts(settings, urls):
        try:
            address = socket.getaddrinfo(host, _HTTPS, proto=socket.IPPROTO_TCP)[0][4][0]
        except OSError as error:
            raise Failed(f"{host} leads nowhere from here", Section.CERTIFICATES, str(error)) from error
        found.append(f"{host}: {address}")
    return ", ".join(found)


def certificates_are_valid(settings: Settings, urls: PlatformUrls) -> str:
    """The certificates of both are trusted here, and so for two weeks at least."""
    found = []
    for host in _hosts(settings, urls):
        try:
            days = days_left(host)
        except ssl.SSLError as error:
            raise Failed(f"the certificate of {host} is not valid", Section.CERTIFICATES, str(error)) from error
        if days < FEWEST_DAYS:
            text = f"the certificate of {host} ends in {days} days; it should have been renewed by now"
            raise Failed(text, Section.CERTIFICATES)
        found.append(f"{host}: {days} days left")
    return ", ".join(found)


def days_left(host: str, port: int = _HTTPS) -> int:
    """The days until a server's certificate ends. Raises ssl.SSLError if it is not trusted, OSError if none answers."""
    with (
        socket.create_connection((host, port), timeout=_SECONDS) as connection,
        ssl.create_default_context().wrap_socket(connection, server_hostname=host) as secure,
    ):
        certificate = secure.getpeercert() or {}
    end = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    return (end - datetime.now(UTC)).days


def _of_hub(api: ClusterApi, settings: Settings, component: str, port: int, path: str) -> tuple[int, str]:
    """The status and the text with which a component of the hub's chart answers. Raises Skipped without a hub."""
    if settings.running_hub is None:
        raise Skipped("the stack has no hub")
    labels = {"app": "jupyterhub", "component": component}
    return api.http_get(HUB_NAMESPACE, labels, port, f"{HUB_BASE_URL}{path}")


def _needs_ok(status: int, text: str, what: str, section: Section) -> None:
    if status != HTTPStatus.OK:
        raise Failed(what, section, text[:500])


def _hosts(settings: Settings, urls: PlatformUrls) -> list[str]:
    """The hosts that people open. Raises Skipped where the stack has no domain."""
    if settings.ingress.domain is None:
        raise Skipped("the stack has no domain: people use kubectl port-forward")
    addresses = [urls.platform, *([urls.sign_in] if settings.identity else [])]
    return [host for url in addresses if (host := urlsplit(url).hostname)]
