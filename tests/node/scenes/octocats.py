"""GitHub as far as Keycloak and the hub ask it: accounts, an organisation, and OAuth for one application.

It serves plain HTTP at a public address of the site's machine: pods reach it as they would reach the internet.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape, unescape
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from rehearsal.controllers.world import place

from . import hub_changes
from .site import URLS, Site
from .stack import GITHUB, GITHUB_CLIENT, ORGANISATION, SECRETS_NAMESPACE
from .visitor import Page, Visitor

# One of GitHub's own (api.github.com/meta), so that what keeps pods from private addresses lets it through.
_ADDRESS, _PORT = "140.82.112.5", 80
_URL = f"http://{_ADDRESS}"
_TOKEN, _MEMBERSHIP = "gho_", f"/user/memberships/orgs/{ORGANISATION}"


@dataclass
class Accounts:
    """Who has an account at GitHub, and who of them is in the organisation."""

    logins: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)


@contextlib.contextmanager
def running(site: Site) -> Iterator[Accounts]:
    """GitHub answers during the block, and the platform's Keycloak and hub ask it."""
    secret = site.kubernetes.request("GET", place("/api/v1/secrets", GITHUB, SECRETS_NAMESPACE))
    accounts = Accounts()
    site.machine.run("ip", "address", "add", f"{_ADDRESS}/32", "dev", "lo")
    of_app = {"accounts": accounts, "secret": base64.b64decode(secret["data"]["secret"])}
    server = ThreadingHTTPServer((_ADDRESS, _PORT), type("Github", (_Github,), of_app))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    provider = f"/identity-provider/instances/{GITHUB}"
    before = site.keycloak.call("GET", provider)
    try:
        urls = {"baseUrl": _URL, "apiUrl": _URL}
        site.keycloak.call("PUT", provider, {**before, "config": {**before["config"], **urls}})
        with hub_changes.changed(site, "github.py", r'API = "https://api.github.com"', f'API = "{_URL}"'):
            yield accounts
    finally:
        site.keycloak.call("PUT", provider, before)
        server.shutdown()
        server.server_close()
        site.machine.run("ip", "address", "del", f"{_ADDRESS}/32", "dev", "lo")


def sign_in(visitor: Visitor, login: str) -> Page:
    """Somebody signs in by GitHub, from the platform's sign-in page."""
    page = visitor.open("/hub/home")
    link = re.search(rf'href="([^"]*/broker/{GITHUB}/login[^"]*)"', page.text)
    assert link, f"no way to GitHub: {page.words[:500]}"
    at_github = visitor.open(f"{URLS.sign_in}{unescape(link[1])}")
    chosen = re.search(rf'href="([^"]+)">{login}<', at_github.text)
    assert chosen, f"GitHub knows no {login}: {at_github.words[:500]}"
    return visitor.open(unescape(chosen[1]))


class _Github(BaseHTTPRequestHandler):
    """Answers for the accounts and with the application's secret that a subclass has."""

    accounts: Accounts
    secret: bytes

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        if address.path == "/login/oauth/authorize":
            self._answer(HTTPStatus.OK, "text/html", _consent(self.accounts, parse_qs(address.query)))
            return
        login = self.headers.get("Authorization", "").partition(" ")[2].removeprefix(_TOKEN)
        if login not in self.accounts.logins:
            self._json(HTTPStatus.UNAUTHORIZED, {"message": "Bad credentials"})
            return
        known: dict[str, Any] = {
            "/user": {
                "login": login,
                "id": sum(login.encode()),
                "name": f"{login.capitalize()} Octocat",
                "email": None,
            },
            "/user/emails": [{"email": f"{login}@example.org", "primary": True, "verified": True}],
        }
        if login in self.accounts.members:
            known[_MEMBERSHIP] = {"state": "active"}
        found = known.get(address.path)
        self._json(HTTPStatus.OK if found else HTTPStatus.NOT_FOUND, found or {"message": "Not Found"})

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        given = {name: values[0] for name, values in form.items()}
        if (given.get("client_id"), given.get("client_secret", "").encode()) != (GITHUB_CLIENT, self.secret):
            self._json(HTTPStatus.OK, {"error": "incorrect_client_credentials"})
            return
        token = {"access_token": f"{_TOKEN}{given['code']}", "token_type": "bearer", "scope": "read:org,user:email"}
        self._json(HTTPStatus.OK, token)

    def _json(self, status: HTTPStatus, content: Any) -> None:
        self._answer(status, "application/json", json.dumps(content))

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def _consent(accounts: Accounts, asked: dict[str, list[str]]) -> str:
    """A page with a link for each account; the code that comes back is its login."""
    back, state = asked["redirect_uri"][0], asked["state"][0]
    addresses = {login: f"{back}?{urlencode({'code': login, 'state': state})}" for login in sorted(accounts.logins)}
    links = (f'<li><a href="{escape(address)}">{login}</a></li>' for login, address in addresses.items())
    return f"<!doctype html><title>GitHub</title><h1>Sign in as</h1><ul>{''.join(links)}</ul>"
