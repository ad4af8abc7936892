"""Signing in to a hub without Keycloak: with the token, and by GitHub, in whose place a small server answers.

No notebook starts here, so there is no API server either.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from browser import Answer, Browser, page_text
from hub_lab import started_hub, until
from keycloak_lab import settings_of

from components.hub.catalogue_from_settings import catalogue
from components.hub.inside.people import ROLES
from components.hub.inside.verify_account import API_PATH
from components.hub.inside.verify_account import NAME as VERIFY
from components.hub.inside.verify_client import Hub, HubRefused
from rehearsal.machine.processes import free_ports

pytestmark = pytest.mark.seconds(120)

TOKEN, VERIFY_TOKEN = "0123456789abcdef" * 4, "fedcba9876543210" * 4
DATA_SCIENTISTS, DEVELOPERS = "/research/data-scientist", "/research/developer"
NOWHERE = """
apiVersion: v1
kind: Config
current-context: nowhere
contexts: [{name: nowhere, context: {cluster: nowhere, user: nobody}}]
clusters: [{name: nowhere, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: nobody, user: {}}]
"""


@contextmanager
def hub(folder: Path, sign_in: Mapping[str, Any], variables: Mapping[str, str], **settings: Any) -> Iterator[str]:
    """The address of dev's hub, whose people sign in like this."""
    (port,) = free_ports(1)
    platform = f"http://localhost:{port}"
    document: Any = catalogue(settings_of("dev"))
    document["hub"] |= {
        "platformUrl": platform,
        "realmUrl": None,
        "realmUrlInside": None,
        "refreshGroupsSeconds": 1,
        "signIn": {"clientId": None, "everybody": [], **sign_in},
        **settings,
    }
    (folder / "kubeconfig").write_text(NOWHERE, encoding="utf-8")
    given = {"KUBECONFIG": str(folder / "kubeconfig"), **variables}
    with started_hub(folder, port=port, document=document, by_chart={}, notebook_port=9, variables=given):
        yield f"{platform}/jupyter"


class Person:
    """A browser at the hub, and at GitHub where that leads there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._browsers: dict[str, Browser] = {}

    def open(self, address: str, data: dict[str, str] | None = None) -> Answer:
        """A page of the hub by its path, or any address; follows redirects everywhere."""
        url = address if "://" in address else f"{self.url}{address}"
        while True:
            parts = urlsplit(url)
            home = f"{parts.scheme}://{parts.netloc}"
            answer = self._browsers.setdefault(home, Browser(home)).go(url, data)
            if answer.status not in (302, 303):
                return answer
            url, data = answer.location if "://" in answer.location else f"{home}{answer.location}", None

    def with_token(self, name: str, token: str) -> Answer:
        """Fills in the hub's form."""
        page = self.open("/hub/login")
        action, hidden = page.form
        home = self.url.removesuffix("/jupyter")
        return self.open(f"{home}{action}", {**hidden, "username": name, "password": token})


@pytest.fixture(scope="module")
def hub_by_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    members = {DATA_SCIENTISTS: ["ada"], DEVELOPERS: ["grace", VERIFY], "administrators": ["grace"]}
    folder = tmp_path_factory.mktemp("hub-by-token")
    variables = {"SIGN_IN_TOKEN": TOKEN, "VERIFY_TOKEN": VERIFY_TOKEN}
    with hub(folder, {"kind": "token", "members": members}, variables) as url:
        yield url


def test_who_has_the_token_sees_the_profiles_of_the_name_that_they_gave(hub_by_token: str) -> None:
    person = Person(hub_by_token)
    assert person.with_token("ada", TOKEN).status == 200
    page = page_text(person.open("/hub/spawn").text)
    assert "Fine-tuning" in page
    assert person.open("/hub/admin").status == 403
    person.open("/hub/logout")
    assert person.open("/hub/home").asks_for("password")


def test_an_administrator_by_name_sees_the_admin_page(hub_by_token: str) -> None:
    person = Person(hub_by_token)
    person.with_token("grace", TOKEN)
    assert person.open("/hub/admin").status == 200
    assert "Fine-tuning" not in page_text(person.open("/hub/spawn").text), "it is for data scientists"


@pytest.mark.parametrize(("name", "token"), [("ada", "wrong"), ("eve", TOKEN), ("ada", ""), (VERIFY, TOKEN)])
def test_nobody_gets_in_with_another_token_or_name(hub_by_token: str, name: str, token: str) -> None:
    person = Person(hub_by_token)
    answer = person.with_token(name, token)
    assert answer.status == 403
    assert answer.asks_for("password"), "again the form"
    assert person.open("/hub/home").asks_for("password")


def test_the_form_asks_for_the_token(hub_by_token: str) -> None:
    page = Person(hub_by_token).open("/hub/login")
    assert "Token:" in page_text(page.text)
    assert "Password:" not in page_text(page.text)
    assert 'value=""' in page.text, "several people may have it"


def test_the_service_for_verify_begins_a_run_and_may_nothing_else(hub_by_token: str) -> None:
    Person(hub_by_token).with_token("ada", TOKEN)
    service = _at(hub_by_token, VERIFY_TOKEN)
    run = asyncio.run(service.begin(60))
    # The hub has asked the authenticator meanwhile, as it does before each start.
    known = asyncio.run(run.api("GET", f"users/{VERIFY}"))
    assert set(known["groups"]) == {f"/{team}/{role}" for team in settings_of("dev").teams for role in ROLES}
    assert not known["admin"]
    refused = [
        (_at(hub_by_token, "of-nobody"), "POST", API_PATH, {"seconds": 60}),
        (run, "POST", API_PATH, {"seconds": 60}),
        (run, "POST", f"users/{VERIFY}/tokens", {}),
        *((hub, "GET", "users/ada", None) for hub in (run, service)),
        *((hub, "POST", "users/ada/server", {}) for hub in (run, service)),
        *((hub, "POST", "users/ada/tokens", {}) for hub in (run, service)),
        *((hub, "DELETE", "users/ada", None) for hub in (run, service)),
        *((hub, "PATCH", f"users/{VERIFY}", {"admin": True}) for hub in (run, service)),
        *((hub, "GET", "groups", None) for hub in (run, service)),
    ]
    for asking, method, path, content in refused:
        with pytest.raises(HubRefused) as answer:
            asyncio.run(asking.api(method, path, content))
        assert answer.value.status in (403, 404), (method, path)

    asyncio.run(service.end())
    with pytest.raises(HubRefused, match=r"credentials|Forbidden") as over:
        asyncio.run(run.api("GET", f"users/{VERIFY}"))
    assert over.value.status == 403
    asyncio.run(service.end())


def test_a_runs_token_ends_by_itself_and_with_the_next_run(hub_by_token: str) -> None:
    service = _at(hub_by_token, VERIFY_TOKEN)
    short, long = asyncio.run(service.begin(1)), asyncio.run(service.begin(60))
    until(lambda: _status(short) == 403, "the token ends")
    assert _status(long) == 200
    again = asyncio.run(service.begin(60))
    assert (_status(long), _status(again)) == (403, 200)
    with pytest.raises(HubRefused, match="seconds must be a number from 1 to 86400"):
        asyncio.run(service.begin(0))
    asyncio.run(service.end())


def _at(url: str, token: str) -> Hub:
    parts = urlsplit(url)
    return Hub(f"{parts.scheme}://{parts.netloc}", parts.netloc, parts.path, token)


def _status(hub: Hub) -> int:
    try:
        asyncio.run(hub.api("GET", f"users/{VERIFY}"))
    except HubRefused as refused:
        return refused.status
    return 200


class GitHub:
    """Answers as GitHub does for one person, who agrees to everything; `state` is theirs in the organisation."""

    def __init__(self) -> None:
        self.login, self.state, self.teams = "Ada", "active", ["example/research"]
        self.asked_for: set[str] = set()

    def page(self, path: str, query: Mapping[str, str]) -> tuple[int, Any]:
        """The status, with the document or with where the browser goes."""
        match path:
            case "/login/oauth/authorize":
                self.asked_for = {*query["scope"].split()}
                back = {"code": "the-code", "state": query["state"]}
                return 302, f"{query['redirect_uri']}?{urlencode(back)}"
            case "/login/oauth/access_token":
                return 200, {"access_token": "of-github", "token_type": "bearer", "scope": "read:org"}
            case "/api/v3/user":
                return 200, {"login": self.login, "email": None}
            case "/api/v3/user/teams":
                names = (team.split("/") for team in self.teams)
                return 200, [{"organization": {"login": login}, "slug": slug} for login, slug in names]
            case "/api/v3/user/memberships/orgs/example" if self.state:
                return 200, {"state": self.state}
        return 404, {"message": "Not Found"}

    @contextmanager
    def listening(self) -> Iterator[str]:
        """Its address, until the block ends."""
        github = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                status, content = github.page(parts.path, query)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", content)
                body = b"" if status == 302 else json.dumps(content).encode()
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, format: str, *args: object) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


@pytest.fixture(scope="module")
def hub_by_github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, GitHub]]:
    members = {DATA_SCIENTISTS: ["example/research"], DEVELOPERS: ["grace"]}
    sign_in = {"kind": "github", "clientId": "of-the-app", "members": members}
    github = GitHub()
    with github.listening() as address:
        variables = {"GITHUB_URL": address, "OAUTH_CLIENT_SECRET": "of-the-app"}
        access = {"organizations": ["example"], "teams": []}
        folder = tmp_path_factory.mktemp("hub-by-github")
        with hub(folder, sign_in, variables, github=access) as url:
            yield url, github


@pytest.fixture
def at_github(hub_by_github: tuple[str, GitHub]) -> tuple[str, GitHub]:
    """GitHub with its person as at the beginning."""
    url, github = hub_by_github
    vars(github).update(vars(GitHub()))
    return url, github


def test_who_is_in_the_organisation_and_a_team_gets_in(at_github: tuple[str, GitHub]) -> None:
    url, github = at_github
    person = Person(url)
    assert "Sign in with GitHub" in page_text(person.open("/hub/login").text)
    assert person.open("/hub/oauth_login").status == 200
    assert github.asked_for == {"read:org"}
    assert "Fine-tuning" in page_text(person.open("/hub/spawn").text)


@pytest.mark.parametrize(
    ("login", "state", "teams"),
    [("grace", "", []), ("grace", "pending", []), ("eve", "active", []), ("eve", "", ["example/research"])],
)
def test_who_is_in_only_one_of_both_does_not(
    at_github: tuple[str, GitHub], login: str, state: str, teams: list[str]
) -> None:
    url, github = at_github
    github.login, github.state, github.teams = login, state, teams
    person = Person(url)
    answer = person.open("/hub/oauth_login")
    assert answer.status == 403
    assert "organisation or team" in page_text(answer.text)
    assert "Sign in" in page_text(person.open("/hub/home").text)


def test_who_leaves_the_organisation_is_out_at_the_next_look(at_github: tuple[str, GitHub]) -> None:
    url, github = at_github
    person = Person(url)
    person.open("/hub/oauth_login")
    assert "Fine-tuning" in page_text(person.open("/hub/spawn").text)
    github.state = ""
    until(lambda: "Fine-tuning" not in page_text(person.open("/hub/spawn").text), "the hub asks GitHub again")
    assert "Sign in with GitHub" in page_text(person.open("/hub/home").text)
