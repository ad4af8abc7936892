"""A company with accounts of its own, by which people sign in: another realm of the site's Keycloak."""

from __future__ import annotations

import base64
import contextlib
import re
from collections.abc import Iterator
from html import unescape

from components.identity.keycloak import NAMESPACE, SERVER_PORT, SERVICE, SERVICE_PORT
from components.ingress.traefik import RELEASE as INGRESS_CLASS
from rehearsal.controllers.world import place

from .site import URLS, Site
from .stack import COMPANY, COMPANY_CLIENT, DOMAIN, SECRETS_NAMESPACE
from .visitor import Page, Visitor

PASSWORD = "Password-At-The-Company-1"
_INGRESS = place("/apis/networking.k8s.io/v1/ingresses", COMPANY, NAMESPACE)


@contextlib.contextmanager
def running(site: Site) -> Iterator[None]:
    """The company's sign-in is there during the block, and the platform's Keycloak reaches it."""
    secret = site.kubernetes.request("GET", place("/api/v1/secrets", COMPANY, SECRETS_NAMESPACE))
    client = {
        "clientId": COMPANY_CLIENT,
        "secret": base64.b64decode(secret["data"]["secret"]).decode(),
        "redirectUris": [f"{URLS.sign_in}/*"],
        "enabled": True,
    }
    provider = f"/identity-provider/instances/{COMPANY}"
    before = site.keycloak.call("GET", provider)
    # From within its own pod, where neither the public name nor the certificate's authority is known.
    own = f"http://localhost:{SERVER_PORT}/realms/{COMPANY}/protocol/openid-connect"
    inside = {"tokenUrl": f"{own}/token", "jwksUrl": f"{own}/certs"}
    site.keycloak.admin("POST", "", {"realm": COMPANY, "enabled": True, "clients": [client]})
    site.kubernetes.create(_INGRESS, _published())
    try:
        site.keycloak.call("PUT", provider, {**before, "config": {**before["config"], **inside}})
        yield
    finally:
        site.keycloak.call("PUT", provider, before)
        site.kubernetes.delete(_INGRESS)
        site.keycloak.admin("DELETE", f"/{COMPANY}")


def employ(site: Site, name: str) -> None:
    """Makes an account at the company."""
    account = {
        "username": name,
        "email": f"{name}@example.com",
        "emailVerified": True,
        "firstName": name.capitalize(),
        "lastName": "Employee",
        "enabled": True,
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }
    site.keycloak.call("POST", "/users", account, realm=COMPANY)


def disable(site: Site, name: str) -> None:
    """Disables an account at the company; the platform's own is left as it is."""
    (found,) = site.keycloak.call("GET", f"/users?username={name}&exact=true", realm=COMPANY)
    site.keycloak.call("PUT", f"/users/{found['id']}", {**found, "enabled": False}, realm=COMPANY)


def sign_in(visitor: Visitor, name: str) -> Page:
    """Somebody signs in by the company, from the platform's sign-in page."""
    page = visitor.open("/hub/home")
    link = re.search(rf'href="([^"]*/broker/{COMPANY}/login[^"]*)"', page.text)
    assert link, f"no way to the company: {page.words[:500]}"
    at_company = visitor.open(f"{URLS.sign_in}{unescape(link[1])}")
    return visitor.submit(at_company, username=name, password=PASSWORD)


def _published() -> dict[str, object]:
    """The platform publishes only its own realm."""
    service = {"name": SERVICE, "port": {"number": SERVICE_PORT}}
    path = {"path": f"/realms/{COMPANY}/", "pathType": "Prefix", "backend": {"service": service}}
    rule = {"host": f"auth.{DOMAIN}", "http": {"paths": [path]}}
    return {
        "metadata": {"name": COMPANY, "namespace": NAMESPACE},
        "spec": {"ingressClassName": INGRESS_CLASS, "rules": [rule]},
    }
