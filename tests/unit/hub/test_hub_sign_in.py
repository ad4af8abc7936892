"""What the hub's configuration says of sign-in, and whom of GitHub's people it lets in."""

from __future__ import annotations

import asyncio
import datetime
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from hub_catalogue import FILE, document
from oauthenticator.generic import GenericOAuthenticator
from tornado.httpclient import HTTPClientError
from traitlets.config import Config

import settings
from components.hub import config as hub_config
from components.hub import github
from components.hub.authenticator import KeycloakAuthenticator, ReportHandler
from components.hub.config import configure
from components.jupyterhub_values import CLIENT_SECRET_KEY
from components.realm import Addresses, realm
from settings.identity import OWN_CLIENTS

FIRST_OF_SEPTEMBER = datetime.date(2026, 9, 1)
ACCESS = {"providers": ["github"], "organizations": ["example"], "teams": ["other/readers"]}


def configured(folder: Path, **hub: Any) -> Config:
    changed = document()
    changed["hub"] |= hub
    file = folder / "catalogue.json"
    file.write_text(json.dumps(changed), encoding="utf-8")
    found = Config()
    configure(found, file)
    return found


def authenticator(folder: Path, **hub: Any) -> KeycloakAuthenticator:
    return KeycloakAuthenticator(config=configured(folder, **hub))


def test_keycloak_is_the_only_way_in_and_the_groups_decide(tmp_path: Path) -> None:
    found = authenticator(tmp_path)
    assert configured(tmp_path).JupyterHub.authenticator_class is KeycloakAuthenticator
    assert found.enable_pkce
    assert found.auto_login
    assert found.manage_groups
    assert found.enable_auth_state
    assert not found.allow_all
    assert not found.allow_existing_users
    assert not found.allowed_users
    assert not found.admin_users
    assert "/research/developer" in found.allowed_groups
    assert found.auth_refresh_age == document()["hub"]["refreshGroupsSeconds"]
    assert found.refresh_pre_spawn


def test_the_addresses_are_those_that_the_realms_client_has() -> None:
    stack = settings.check_stack_file(FILE.parents[3] / "Pulumi.dev.yaml", "dev", FIRST_OF_SEPTEMBER)
    assert stack.identity
    (client,) = [
        one
        for one in realm(stack.identity, Addresses.of(stack.ingress.domain), tuple(stack.teams))["clients"]
        if one["clientId"] == OWN_CLIENTS[0]
    ]
    config = Config()
    configure(config, FILE)
    found = KeycloakAuthenticator(config=config)
    assert found.client_id == client["clientId"]
    assert [found.oauth_callback_url] == client["redirectUris"]
    asked = parse_qs(urlsplit(found.sign_out_url("the-token")).query)
    assert asked["post_logout_redirect_uri"] == [client["attributes"]["post.logout.redirect.uris"]]
    assert asked["id_token_hint"] == ["the-token"]
    assert "id_token_hint" not in found.sign_out_url(None)


def test_browsers_go_to_the_public_name_and_the_hub_stays_inside(tmp_path: Path) -> None:
    found = authenticator(tmp_path, realmUrl="https://auth.example.com/realms/gpulab", realmUrlInside="http://inside")
    for public in (found.authorize_url, found.sign_out_url(None)):
        assert public.startswith("https://auth.example.com/realms/gpulab/")
    for inside in (found.token_url, found.userdata_url, found.broker_url):
        assert inside.startswith("http://inside/")


def test_the_clients_secret_is_the_file_that_the_chart_mounts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_config.CLIENT_SECRET.name == CLIENT_SECRET_KEY
    file = tmp_path / CLIENT_SECRET_KEY
    file.write_text("of the Secret", encoding="utf-8")
    monkeypatch.setattr(hub_config, "CLIENT_SECRET", file)
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "of the environment")
    assert authenticator(tmp_path).client_secret == "of the Secret"
    file.unlink()
    assert authenticator(tmp_path).client_secret == "of the environment"


def test_what_the_chart_has_set_stays(tmp_path: Path) -> None:
    config = Config()
    config.JupyterHub.services = [{"name": "of the chart"}]
    config.JupyterHub.load_roles = [{"name": "of the chart"}]
    configure(config, FILE)
    assert len(config.JupyterHub.services) == len(config.JupyterHub.load_roles) == 2
    (role,) = [one for one in config.JupyterHub.load_roles if one["name"] != "of the chart"]
    assert set(role["scopes"]) == {"delete:servers"}


class Answers:
    """Keycloak and GitHub as far as they are asked: paths and what they answer, a status or a document."""

    def __init__(self, **by_path: Any) -> None:
        self.by_path = by_path
        self.asked: list[str] = []

    async def __call__(self, url: str, *_: Any, **kwargs: Any) -> Any:
        self.asked.append(url)
        answer = next((one for path, one in self.by_path.items() if url.endswith(path)), 404)
        code, body = (answer, b"") if isinstance(answer, int) else (200, json.dumps(answer).encode())

        def rethrow() -> None:
            if code >= 400:
                raise HTTPClientError(code)

        return SimpleNamespace(code=code, body=body, rethrow=rethrow)


KEYCLOAK = {"/broker/github/token": {"access_token": "of-github"}}
ACTIVE = {"state": "active"}


def admitted(
    folder: Path, answers: dict[str, Any], *, alias: str | None = "github", linked: bool = True, **hub: Any
) -> tuple[bool, Answers]:
    """Whether somebody of a team gets in who has come by that provider now, or whose account is linked to it."""
    made = authenticator(folder, **{"github": ACCESS, **hub})
    fetched = Answers(**answers)
    made.httpfetch = fetched  # type: ignore[method-assign]
    roles = {"resource_access": {"broker": {"roles": ["read-token"]}}} if linked else {}
    user = {"preferred_username": "ada", **({"identity_provider": alias} if alias else {})}
    state = {"access_token": jwt.encode(roles, "key" * 12, algorithm="HS256"), "oauth_user": user}
    model = {"name": "ada", "admin": False, "groups": ["/research/developer"], "auth_state": state}
    return asyncio.run(made.check_allowed("ada", model)), fetched


@pytest.mark.parametrize(
    ("answers", "lets_in"),
    [
        ({"/user/memberships/orgs/example": ACTIVE}, True),
        ({"/user/memberships/orgs/example": {"state": "pending"}}, False),
        ({"/user/memberships/orgs/example": 403}, False),
        ({"/user": {"login": "ada"}, "/orgs/other/teams/readers/memberships/ada": ACTIVE}, True),
        ({"/user": {"login": "ada"}, "/orgs/other/teams/readers/memberships/grace": ACTIVE}, False),
        ({"/user": {"login": "ada"}}, False),
    ],
)
def test_githubs_people_are_asked_for_organisation_and_team(
    tmp_path: Path, answers: dict[str, Any], lets_in: bool
) -> None:
    found, _ = admitted(tmp_path, {**KEYCLOAK, **answers})
    assert found == lets_in


def test_a_password_that_was_set_later_is_no_way_around(tmp_path: Path) -> None:
    """The account came by GitHub; this time its owner has typed a password of Keycloak's."""
    outside, asked = admitted(tmp_path, KEYCLOAK, alias=None)
    assert not outside
    assert asked.asked
    inside, _ = admitted(tmp_path, {**KEYCLOAK, "/user/memberships/orgs/example": ACTIVE}, alias=None)
    assert inside


def test_others_are_not_asked_for_github(tmp_path: Path) -> None:
    for alias in (None, "company"):
        found, asked = admitted(tmp_path, {}, alias=alias, linked=False)
        assert found
        assert not asked.asked


def test_without_a_token_of_githubs_nobody_gets_in(tmp_path: Path) -> None:
    for answer in (400, 403, 404):
        assert not admitted(tmp_path, {"/broker/github/token": answer})[0]
    assert not admitted(tmp_path, {}, github=None)[0], "linked, and nothing says who is let in"


def test_github_out_of_reach_is_no_membership(tmp_path: Path) -> None:
    with pytest.raises(HTTPClientError):
        admitted(tmp_path, {**KEYCLOAK, "/user/memberships/orgs/example": 502})


@pytest.mark.parametrize("answer", ['{"access_token": "x"}', "access_token=x&scope=read%3Aorg&token_type=bearer"])
def test_the_token_is_found_in_either_notation(answer: str) -> None:
    assert github.token_in(answer) == "x"
    assert github.token_in("error=none") is None
    assert github.token_in("{}") is None


@pytest.mark.parametrize("error", [HTTPClientError(599), HTTPClientError(503), OSError("no route")])
def test_while_keycloak_is_away_people_stay_who_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(GenericOAuthenticator, "refresh_user", away)
    user: Any = SimpleNamespace(name="ada")
    assert asyncio.run(authenticator(tmp_path).refresh_user(user)) is True


@pytest.mark.parametrize(
    ("groups", "refreshed"), [(["/research/developer"], True), (["/gone/developer"], False), ([], False)]
)
def test_who_is_in_no_team_any_more_has_to_sign_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: list[str], refreshed: bool
) -> None:
    state = {"access_token": jwt.encode({}, "key" * 12, algorithm="HS256"), "oauth_user": {}}
    model = {"name": "ada", "admin": False, "groups": groups, "auth_state": state}

    async def asked_anew(*_: Any, **__: Any) -> dict[str, Any]:
        return model

    monkeypatch.setattr(GenericOAuthenticator, "refresh_user", asked_anew)
    user: Any = SimpleNamespace(name="ada")
    assert asyncio.run(authenticator(tmp_path).refresh_user(user)) == (model if refreshed else False)


def test_notebooks_reports_are_handled_before_the_hubs_own_handler(tmp_path: Path) -> None:
    app: Any = SimpleNamespace()
    handlers = dict(authenticator(tmp_path).get_handlers(app))
    assert handlers[r"/api/users/([^/]+)/activity"] is ReportHandler
