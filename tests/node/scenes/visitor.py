"""A person with an HTTP client: a browser without JavaScript, for what needs no pictures, or many people at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from .keycloak import PASSWORD
from .notebook import Notebook
from .site import HUB_URL, URLS
from .waiting import until

_SECONDS = 120
START_SECONDS = 180


class _Form(HTMLParser):
    """The first form of a page that is sent by POST: where it goes, and its hidden fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.hidden: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form" and self.action is None and found.get("method", "").lower() == "post":
            self.action = found.get("action", "")
        if tag == "input" and found.get("type") == "hidden" and "name" in found:
            self.hidden[found["name"]] = found.get("value", "")


@dataclass(frozen=True)
class Page:
    """A page that a visitor has opened, after all redirects."""

    status: int
    url: str
    text: str

    @property
    def words(self) -> str:
        """What people read on it."""
        return _words(self.text)

    @property
    def refusal(self) -> str:
        """What the form says of a notebook that can't start; empty if it says nothing."""
        found = re.search(r'<p class="spawn-error-msg.*?</p>', self.text, flags=re.DOTALL)
        return _words(found[0]) if found else ""

    @property
    def is_keycloaks(self) -> bool:
        """Whether Keycloak shows it."""
        return self.url.startswith(URLS.sign_in)

    def asks_for(self, field: str) -> bool:
        """Whether it has a field of that name."""
        return f'name="{field}"' in self.text

    @property
    def profiles(self) -> set[str]:
        """The choices of the form that starts a notebook."""
        return set(re.findall(r'name="profile"\s+id="[^"]*"\s+value="([^"]+)"', self.text))


class Visitor:
    """Somebody's cookies, and the pages that they open."""

    def __init__(self) -> None:
        self.session = requests.Session()
        self.session.verify = False  # the certificate is of an authority of the rehearsal
        self.session.trust_env = False

    def open(self, path: str, data: dict[str, str] | None = None) -> Page:
        """Opens a page of the hub, or of an absolute address; with `data` it sends a form."""
        url = path if "://" in path else f"{HUB_URL}{path}"
        answer = self.session.request("GET" if data is None else "POST", url, data=data, timeout=_SECONDS)
        return Page(answer.status_code, answer.url, answer.text)

    def submit(self, page: Page, **fields: str) -> Page:
        """Fills in the form of a page, and sends it."""
        form = _Form(page.text)
        assert form.action is not None, f"no form in {page.url} ({page.status}): {page.words[:500]}"
        return self.open(urljoin(page.url, form.action), {**form.hidden, **fields})

    def sign_in(self, name: str, password: str = PASSWORD) -> Page:
        """Signs in at Keycloak's page, to which the hub leads, and comes back if that succeeds."""
        page = self.open("/hub/home")
        assert page.asks_for("username"), f"no form of Keycloak ({page.status}): {page.words[:500]}"
        return self.submit(page, username=name, password=password)

    def start(self, profile: str, *, options: dict[str, str] | None = None) -> Page:
        """Sends the form that starts a notebook, such as vision_python. The page that follows may be a refusal."""
        chosen = {f"profile-option-{profile}--{name}": value for name, value in (options or {}).items()}
        return self.submit(self.open("/hub/spawn"), profile=profile, **chosen)

    def started(self, profile: str, *, seconds: float = START_SECONDS) -> Notebook:
        """Starts a notebook and waits until it answers. Fails with what the hub says of a refusal or failure."""
        page = self.start(profile)
        assert not page.refusal, f"{profile} was refused: {page.refusal}"
        assert page.status < 400, f"{profile} was refused: {page.words}"
        return self.notebook(seconds=seconds)

    def notebook(self, *, seconds: float = START_SECONDS) -> Notebook:
        """The person's notebook, once it answers. Fails with what the hub says of a failed start."""
        return until(self._running_notebook, "the notebook answers", seconds=seconds, every=1)

    def failure(self, *, seconds: float = START_SECONDS) -> str:
        """What the hub says of a start, once it has failed."""

        def said() -> str | None:
            page = self.open(f"/hub/spawn-pending/{self.name}")
            return page.words if page.status >= 400 and "Spawn failed" in page.words else None

        return until(said, "the start fails", seconds=seconds, every=1)

    def stop(self) -> None:
        """Stops the person's notebook, and waits until it has ended."""
        self.api("DELETE", f"/users/{self.name}/server")
        until(lambda: not self.api("GET", f"/users/{self.name}")["servers"], "the notebook stops")

    @property
    def name(self) -> str:
        """The person's name at the hub."""
        return self.api("GET", "/user")["name"]

    def api(self, method: str, path: str, content: Any = None) -> Any:
        """Calls the hub's API as the pages of the hub do. Raises requests.HTTPError."""
        headers = {"X-XSRFToken": self.cookie("_xsrf", "/jupyter/hub/")}
        url = f"{HUB_URL}/hub/api{path}"
        answer = self.session.request(method, url, json=content, headers=headers, timeout=_SECONDS)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def cookie(self, name: str, below: str) -> str:
        """The value of a cookie of a path; empty if there is none."""
        found = [one.value or "" for one in self.session.cookies if one.name == name and one.path.startswith(below)]
        return found[-1] if found else ""

    def _running_notebook(self) -> Notebook | None:
        page = self.open(f"/hub/spawn-pending/{self.name}")
        assert page.status < 400, f"the start failed: {page.words}"
        parts = urlsplit(page.url)
        if "/user/" not in parts.path:
            return None
        url = page.url.partition("/lab")[0]
        return Notebook(self.session, url.rstrip("/"), self.cookie("_xsrf", "/jupyter/user/"))


def _words(markup: str) -> str:
    body = re.sub(r"<(script|style).*?</\1>", " ", markup, flags=re.DOTALL | re.IGNORECASE)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())
