"""The parts of a browser that a sign-in needs: cookies, redirects on the same server, forms.

And a tool's side of it.
"""

from __future__ import annotations

import base64
import hashlib
import html
import http.client
import json
import re
import secrets
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    location: str
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the address to which it redirects the browser."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.location).query).items()}

    @property
    def form(self) -> tuple[str, dict[str, str]]:
        """Where the page's form goes, and its hidden fields."""
        action = re.search(r'<form[^>]*\baction="([^"]+)"', self.text)
        assert action, f"no form in the page ({self.status}): {page_text(self.text)}"
        inputs = re.findall(r'<input[^>]*type="hidden"[^>]*>', self.text)
        fields = {
            name[1]: html.unescape(value[1] if value else "")
            for one in inputs
            if (name := re.search(r'name="([^"]*)"', one))
            for value in [re.search(r'value="([^"]*)"', one)]
        }
        return html.unescape(action[1]), fields

    def asks_for(self, field_name: str) -> bool:
        """Whether the page has a field of that name."""
        return f'name="{field_name}"' in self.text


def page_text(page: str) -> str:
    """The text of a page, without its markup."""
    body = re.sub(r"<(script|style).*?</\1>", " ", page, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def request(
    method: str, url: str, *, data: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> tuple[Answer, list[str]]:
    """Sends a request with its path unchanged. Returns the answer and the cookies that it sets."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    body = urlencode(data) if data is not None else None
    form = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
    path = url.partition("//")[2].partition("/")[2].partition("#")[0]
    try:
        connection.request(method, f"/{path}", body=body, headers={**form, **(headers or {})})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        cookies = [value for name, value in answer.getheaders() if name.lower() == "set-cookie"]
        return Answer(answer.status, answer.getheader("Location") or "", text), cookies
    finally:
        connection.close()


@dataclass
class Browser:
    """It follows addresses at `home`, and stops at a redirect to elsewhere."""

    home: str
    cookies: dict[tuple[str, str], str] = field(default_factory=dict)
    """By path and name."""

    def go(self, url: str, data: dict[str, str] | None = None) -> Answer:
        """Opens an address, or sends a form to it, and follows redirects as long as they stay at home."""
        method = "GET" if data is None else "POST"
        while True:
            path = f"{urlsplit(url).path}/"
            sent = [f"{name}={value}" for (below, name), value in self.cookies.items() if path.startswith(below)]
            headers = {"Cookie": "; ".join(sent)}
            answer, cookies = request(method, url, data=data, headers=headers)
            for cookie in cookies:
                name, _, value = cookie.partition(";")[0].partition("=")
                below = re.search(r";\s*path=([^;]*)", cookie, re.IGNORECASE)
                self.cookies[below[1] if below else "/", name] = value
            if answer.status not in (302, 303) or not answer.location.startswith(self.home):
                return answer
            method, url, data = "GET", answer.location, None

    def submit(self, page: Answer, **fields: str) -> Answer:
        """Fills in the form of a page, and sends it."""
        action, hidden = page.form
        return self.go(action, {**hidden, **fields})


@dataclass(frozen=True)
class Tool:
    """A client of the realm in the role of its tool: it begins a sign-in and redeems the code."""

    realm_url: str
    client_id: str
    secret: str
    redirect_uri: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    def address(self, **changes: str | None) -> str:
        """Where it sends the browser to sign in; None leaves a parameter out."""
        parameters: dict[str, str | None] = {
            "client_id": self.client_id,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "scope": "openid",
            "state": "some-state",
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
            **changes,
        }
        known = {name: value for name, value in parameters.items() if value is not None}
        return f"{self.realm_url}/protocol/openid-connect/auth?{urlencode(known)}"

    def token(self, **parameters: str) -> Answer:
        """Asks for tokens, as the client."""
        answer, _ = request(
            "POST",
            f"{self.realm_url}/protocol/openid-connect/token",
            data={"client_id": self.client_id, "client_secret": self.secret, **parameters},
        )
        return answer

    def redeem(self, code: str, **parameters: str) -> Answer:
        """Exchanges a code for tokens."""
        return self.token(grant_type="authorization_code", code=code, redirect_uri=self.redirect_uri, **parameters)


def claims(token: str) -> dict[str, Any]:
    """The claims of a token."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
