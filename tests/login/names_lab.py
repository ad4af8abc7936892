"""For notebooks with their own host names: browsers with real rules for cookies, and notebooks' servers.

Every name leads to this machine. The hub's table of routes says by host and path which server gets a request, as in the
proxy; the hub gets the rest. A notebook's server identifies people with JupyterHub's own library, like Jupyter's.
"""

from __future__ import annotations

import asyncio
import html
import json
import re
import threading
import urllib.request
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from types import SimpleNamespace
from typing import Any
from urllib.parse import urljoin, urlsplit

import jupyterhub
from browser import Answer, page_text, request
from hub_lab import HubLab
from jupyterhub.services.auth import HubOAuth, HubOAuthCallbackHandler, HubOAuthenticated
from notebook_server import Notebook
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler, authenticated

_PREFIX = r"/jupyter/user/([^/]+)"


class _Rules(DefaultCookiePolicy):
    """Like browsers: only its host gets a cookie without a domain, and a cookie `__Host-…` must not have one.

    RFC 6265bis, 4.1.3.2. The lab has no TLS, so the attribute `Secure`, which these cookies need, is ignored.
    """

    def __init__(self) -> None:
        super().__init__(strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain, secure_protocols=("http", "https"))

    def set_ok(self, cookie: Cookie, request: urllib.request.Request) -> bool:
        if cookie.name.startswith("__Host-") and (cookie.domain_specified or cookie.path != "/"):
            return False
        return super().set_ok(cookie, request)


class Window:
    """Somebody's browser; `at` is the address that it shows."""

    def __init__(self, lab: HubLab) -> None:
        self._lab = lab
        self.cookies = CookieJar(_Rules())
        self.at = ""

    def go(self, url: str, data: Any = None) -> Answer:
        """Opens an address, or sends a form to it, and follows redirects."""
        while True:
            answer = self.ask(url, data)
            self.at = url
            if answer.status not in (302, 303):
                return answer
            url, data = urljoin(url, answer.location), None

    def ask(self, url: str, data: Any = None, **headers: str) -> Answer:
        """One request, as a page may make it in the background."""
        asked, parts = urllib.request.Request(url), urlsplit(url)
        self.cookies.add_cookie_header(asked)
        if cookie := asked.get_header("Cookie"):
            headers["Cookie"] = cookie
        server = self._server(parts.netloc, parts.path)
        path = url.partition("//")[2].partition("/")[2]
        method = "GET" if data is None else "POST"
        answer, set_cookies = request(method, f"{server}/{path}", data=data, headers={"Host": parts.netloc, **headers})
        message = Message()
        for one in set_cookies:
            message["Set-Cookie"] = one
        answered: Any = SimpleNamespace(info=lambda: message)
        self.cookies.extract_cookies(answered, asked)
        return answer

    def submit(self, page: Answer, **fields: str) -> Answer:
        """Fills in the form of a page, and sends it."""
        action, hidden = page.form
        return self.go(urljoin(self.at, action), {**hidden, **fields})

    def authorize(self, page: Answer) -> Answer:
        """Confirms the page on which the hub asks whether this notebook may know who the person is."""
        assert "Authorize access" in page_text(page.text), page_text(page.text)
        fields = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page.text)
        return self.go(self.at, [(name, html.unescape(value)) for name, value in fields])

    def sign_in(self, name: str, password: str) -> Answer:
        """Fills in Keycloak's form, to which the hub leads, and comes back."""
        page = self.go(f"{self._lab.url}/hub/home")
        assert page.asks_for("username"), page_text(page.text)
        return self.submit(page, username=name, password=password)

    def cookie(self, ending: str) -> str:
        """The value of the cookie whose name ends like this, without quotes."""
        (found,) = [one for one in self.cookies if one.name.endswith(ending)]
        return (found.value or "").strip('"')

    def _server(self, netloc: str, path: str) -> str:
        if netloc == urlsplit(self._lab.keycloak.public).netloc:
            return self._lab.keycloak.public
        asked = f"{netloc.partition(':')[0]}{path}/"
        routes = [one for one in self._lab.routes if one != "/" and asked.startswith(one)]
        if routes:
            return self._lab.routes[max(routes, key=len)].rstrip("/")
        return f"http://localhost:{urlsplit(self._lab.url).port}"


class Pages:
    """The servers of notebooks, all at one port; `known` has how each knows people, by its person's name."""

    def __init__(self) -> None:
        self.known: dict[str, HubOAuth] = {}
        self.planted: tuple[str, ...] = ()
        """The cookies that a notebook's page `plant` sets, as values of Set-Cookie."""

    def serve(self, lab: HubLab, variables: dict[str, str]) -> None:
        """Runs a notebook's server with its container's environment."""
        self.known[variables["JUPYTERHUB_USER"]] = HubOAuth(
            api_token=variables["JUPYTERHUB_API_TOKEN"],
            api_url=lab.here(variables["JUPYTERHUB_API_URL"]),
            hub_host=variables["JUPYTERHUB_HOST"],
            hub_prefix=f"{variables['JUPYTERHUB_BASE_URL']}hub/",
            base_url=variables["JUPYTERHUB_SERVICE_PREFIX"],
            oauth_client_id=variables["JUPYTERHUB_CLIENT_ID"],
            oauth_redirect_uri=variables["JUPYTERHUB_OAUTH_CALLBACK_URL"],
            access_scopes=set(json.loads(variables["JUPYTERHUB_OAUTH_ACCESS_SCOPES"])),
            cookie_host_prefix_enabled=variables["JUPYTERHUB_COOKIE_HOST_PREFIX_ENABLED"] == "1",
        )

    @contextmanager
    def listening(self, notebooks: defaultdict[str, Notebook]) -> Iterator[int]:
        """Answers at a port, which it yields, until the block ends."""
        handlers: list[Any] = [
            (rf"{_PREFIX}/api(?:/(\w+))?", _Api, {"notebooks": notebooks}),
            (rf"{_PREFIX}/lab", _Page, {"pages": self}),
            (rf"{_PREFIX}/plant", _Planting, {"pages": self}),
            (rf"{_PREFIX}/oauth_callback", _Callback, {"pages": self}),
        ]
        sockets = bind_sockets(0, "127.0.0.1")
        loop, stopped = asyncio.new_event_loop(), asyncio.Event()

        async def serve() -> None:
            server = HTTPServer(Application(handlers, cookie_secret="of notebooks"))
            server.add_sockets(sockets)
            await stopped.wait()
            server.stop()
            await server.close_all_connections()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
        thread.start()
        try:
            yield sockets[0].getsockname()[1]
        finally:
            loop.call_soon_threadsafe(stopped.set)
            thread.join()
            loop.close()


class _OfPerson:
    """A page of somebody's notebook."""

    settings: Any
    path_args: list[str]

    def initialize(self, pages: Pages) -> None:
        self._pages = pages

    @property
    def hub_auth(self) -> HubOAuth:
        return self._pages.known[self.path_args[0]]


class _Page(_OfPerson, HubOAuthenticated, RequestHandler):
    """Shows who opened it, and everything that its server learns about them."""

    @authenticated
    def get(self, person: str) -> None:
        user: Any = self.current_user
        sent = {name: one.value for name, one in self.request.cookies.items()}
        self.finish({"person": user["name"], "cookies": sent, "token": self.hub_auth._get_token_cookie(self)})


class _Planting(_OfPerson, RequestHandler):
    def get(self, person: str) -> None:
        for cookie in self._pages.planted:
            self.add_header("Set-Cookie", cookie)


class _Callback(_OfPerson, HubOAuthCallbackHandler):
    async def get(self, person: str) -> None:
        await super().get()


class _Api(RequestHandler):
    """What hub and culler ask."""

    def initialize(self, notebooks: defaultdict[str, Notebook]) -> None:
        self._notebooks = notebooks

    def get(self, person: str, question: str | None) -> None:
        self.set_header("X-JupyterHub-Version", jupyterhub.__version__)
        self.finish(json.dumps(self._notebooks[f"{person}/"].answer(question or "", "")))
