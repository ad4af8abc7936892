"""The hub without Keycloak: it is never open, and who gets in by GitHub itself, and as whom."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hub_without_keycloak import MEMBERS, RESEARCH, configured
from oauthenticator.github import GitHubOAuthenticator
from tornado.httpclient import HTTPClientError
from traitlets.config import Config

from components.hub.inside import sign_in
from components.hub.inside.authenticator import ReportHandler
from components.hub.inside.catalogue import CatalogueError
from components.hub.inside.people import ADMINISTRATORS
from components.hub.inside.sign_in_by_github import GithubAuthenticator
from components.hub.inside.sign_in_by_token import TokenAuthenticator


class GitHub:
    """GitHub's API: who somebody is, with which state in which organisation and team."""

    def __init__(self, login: str = "Ada", *, memberships: Mapping[str, Any], teams: tuple[str, ...] = ()) -> None:
        self.login, self.teams = login, teams
        self.memberships = memberships
        self.asked: list[str] = []

    async def __call__(self, url: str, *_: Any, parse_json: bool = True, **__: Any) -> Any:
        self.asked.append(url)
        path = url.removeprefix("https://api.github.com").partition("?")[0]
        teams = [{"organization": {"login": one.split("/")[0]}, "slug": one.split("/")[1]} for one in self.teams]
        answers = {"/user": {"login": self.login, "email": None}, "/user/teams": teams, **self.memberships}
        answer = answers.get(path, 404)
        code, body = (answer, b"") if isinstance(answer, int) else (200, json.dumps(answer).encode())
        if parse_json:
            return answer

        def rethrow() -> None:
            if code >= 400:
                raise HTTPClientError(code)

        return SimpleNamespace(code=code, body=body, headers={}, rethrow=rethrow)


ACTIVE = {"state": "active"}
OF_EXAMPLE = {"/user/memberships/orgs/example": ACTIVE}


def by_github(folder: Path, answers: GitHub, **given: Any) -> GithubAuthenticator:
    made = GithubAuthenticator(config=configured(folder, **given))
    made.httpfetch = answers  # type: ignore[method-assign]
    return made


def comes_by_github(made: GithubAuthenticator) -> dict[str, Any] | None:
    """What the hub notes about the person, as at a sign-in; None for somebody whom it does not admit."""
    made.build_access_tokens_request_params = lambda *_: {}  # type: ignore[method-assign]

    async def token_info(*_: Any) -> dict[str, str]:
        return {"access_token": "of-github", "token_type": "bearer", "scope": "read:org"}

    made.get_token_info = token_info  # type: ignore[method-assign]
    return asyncio.run(made.get_authenticated_user(SimpleNamespace(), {}))


@pytest.mark.parametrize("kind", ["keycloak", "github", "token"])
def test_nothing_that_others_set_opens_the_hub_to_anybody(tmp_path: Path, kind: str) -> None:
    """Whatever the catalogue says, and whatever the chart's configuration has set before of any class above."""
    classes = {"github": GithubAuthenticator, "token": TokenAuthenticator}
    parents = ("Authenticator", "OAuthenticator", "GitHubOAuthenticator", "SharedPasswordAuthenticator")
    for members, everybody, administrators in itertools.product([{}, MEMBERS], [(), (RESEARCH,)], [True, False]):
        before = Config()
        for parent in (*parents, "GenericOAuthenticator"):
            before[parent].allow_all = True
            before[parent].allow_existing_users = True
        given: dict[str, Any] = {"before": before, "administratorAccess": administrators}
        if kind == "keycloak":
            realm = {"realmUrl": "https://auth/realms/x", "realmUrlInside": "http://inside", "signIn": None}
            found = configured(tmp_path, **realm, **given)
        else:
            found = configured(tmp_path, kind, members=members, everybody=everybody, **given)
        made = found.JupyterHub.authenticator_class(config=found)
        assert isinstance(made, classes.get(kind, object))
        assert not made.allow_all
        assert not made.allow_existing_users
        stranger = {"name": "eve", "admin": False, "groups": [], "auth_state": {"access_token": "x", "oauth_user": {}}}
        assert not asyncio.run(_awaited(made.check_allowed("eve", stranger)))


async def _awaited(found: Any) -> Any:
    return await found if asyncio.iscoroutine(found) else found


@pytest.mark.parametrize(
    ("kind", "hub", "words"),
    [
        ("github", {"github": None}, "anybody could sign in"),
        ("github", {"github": {"organizations": [], "teams": []}}, "anybody could sign in"),
        ("dummy", {}, "dummy"),
        ("keycloak", {}, "neither a realm nor another way"),
        ("github", {"signIn": None}, "neither a realm nor another way"),
    ],
)
def test_a_hub_that_does_not_know_who_may_sign_in_does_not_start(
    tmp_path: Path, kind: str, hub: dict[str, Any], words: str
) -> None:
    with pytest.raises(CatalogueError, match=words):
        configured(tmp_path, kind, **hub)


def test_people_of_github_have_the_groups_of_their_login_and_of_their_teams(tmp_path: Path) -> None:
    found = comes_by_github(by_github(tmp_path, GitHub("Grace", memberships=OF_EXAMPLE, teams=("Example/research",))))
    assert found
    assert (found["name"], found["groups"]) == ("grace", [RESEARCH, "/vision/developer", ADMINISTRATORS])


@pytest.mark.parametrize(
    ("memberships", "lets_in"),
    [
        (OF_EXAMPLE, True),
        ({"/user/memberships/orgs/example": {"state": "pending"}}, False),
        ({"/orgs/other/teams/readers/memberships/Ada": ACTIVE}, True),
        ({"/user/memberships/orgs/other": ACTIVE}, False),
        ({}, False),
    ],
)
def test_a_name_in_the_stack_file_is_nobodys_without_the_organisation(
    tmp_path: Path, memberships: dict[str, Any], lets_in: bool
) -> None:
    assert bool(comes_by_github(by_github(tmp_path, GitHub(memberships=memberships)))) is lets_in
    administrator = by_github(tmp_path, GitHub("Grace", memberships=memberships), administratorAccess=True)
    also_by_name = {path.replace("Ada", "Grace"): state for path, state in memberships.items()}
    administrator.httpfetch.memberships = also_by_name  # type: ignore[attr-defined]
    assert bool(comes_by_github(administrator)) is lets_in, "not even an administrator's"


def test_the_organisation_alone_is_not_enough_where_members_are_named(tmp_path: Path) -> None:
    eve = GitHub("eve", memberships=OF_EXAMPLE)
    assert comes_by_github(by_github(tmp_path, eve)) is None
    found = comes_by_github(by_github(tmp_path, eve, members={}, everybody=(RESEARCH,)))
    assert found
    assert found["groups"] == [RESEARCH]


@pytest.mark.parametrize("access", [True, False])
def test_administrators_of_a_hub_by_github(tmp_path: Path, access: bool) -> None:
    grace = GitHub("grace", memberships=OF_EXAMPLE)
    found = comes_by_github(by_github(tmp_path, grace, administratorAccess=access))
    assert found
    assert found["admin"] is access
    assert ADMINISTRATORS in found["groups"]
    ada = comes_by_github(by_github(tmp_path, GitHub("ada", memberships=OF_EXAMPLE), administratorAccess=access))
    assert ada
    assert ada["admin"] is False, "and not as JupyterHub noted before"


def test_the_app_at_github_is_asked_for_teams_and_sends_people_back_to_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of the Secret", encoding="utf-8")
    monkeypatch.setattr(sign_in, "CLIENT_SECRET", secret)
    made = by_github(tmp_path, GitHub(memberships={}), platformUrl="https://platform.lab.example.com")
    assert isinstance(made, GitHubOAuthenticator)
    assert (made.client_id, made.client_secret) == ("of-the-app", "of the Secret")
    assert made.oauth_callback_url == "https://platform.lab.example.com/jupyter/hub/oauth_callback"
    assert made.scope == ["read:org"]
    assert made.populate_teams_in_auth_state
    handlers = dict(made.get_handlers(SimpleNamespace()))  # type: ignore[arg-type]
    assert handlers[r"/api/users/([^/]+)/activity"] is ReportHandler


def known_user(made: GithubAuthenticator, name: str = "ada") -> Any:
    async def state() -> dict[str, Any]:
        response = {"access_token": "of-github", "token_type": "bearer"}
        return {"access_token": "of-github", "token_response": response}

    return SimpleNamespace(name=name, get_auth_state=state)


@pytest.mark.parametrize(
    ("memberships", "stays"), [(OF_EXAMPLE, True), ({}, False), ({"/user/memberships/orgs/example": 502}, True)]
)
def test_who_has_left_the_organisation_must_sign_in_again_and_github_away_is_no_leaving(
    tmp_path: Path, memberships: dict[str, Any], stays: bool
) -> None:
    made = by_github(tmp_path, GitHub(memberships=memberships))
    assert bool(asyncio.run(made.refresh_user(known_user(made)))) is stays
