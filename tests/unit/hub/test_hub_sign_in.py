"""The hub's configuration of sign-in, and which GitHub users it admits."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hub_catalogue import document, file, stack
from jupyterhub.roles import get_default_roles
from jupyterhub.scopes import expand_scopes
from oauthenticator.generic import GenericOAuthenticator
from tornado.httpclient import HTTPClientError
from traitlets.config import Config

from components.hub.inside import culling, github
from components.hub.inside import sign_in as hub_sign_in
from components.hub.inside.authenticator import KeycloakAuthenticator, ReportHandler
from components.hub.inside.config import configure
from components.hub.inside.people import ADMINISTRATORS
from components.hub.inside.refused import Refused
from components.hub.values import CLIENT_SECRET_KEY
from components.identity.realm.realm import realm
from components.platform_urls import PlatformUrls
from settings.people.identity import OWN_CLIENTS

ACCESS = {"organizations": ["example"], "teams": ["other/readers"]}
PROVIDERS = {"github": "github", "company": "oidc", "partner": "saml"}


def configured(folder: Path, **hub: Any) -> Config:
    changed = document()
    changed["hub"] |= hub
    written = folder / "catalogue.json"
    written.write_text(json.dumps(changed), encoding="utf-8")
    found = Config()
    configure(found, written)
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


@pytest.mark.parametrize("access", [True, False])
def test_administrators_are_jupyterhubs_only_where_they_may_enter_notebooks(tmp_path: Path, access: bool) -> None:
    """JupyterHub's own role `admin` cannot be restricted, so people are removed from it."""
    found = authenticator(tmp_path, administratorAccess=access)
    groups = ["administrator"]
    claims = {found.user_auth_state_key: {"roles": groups}}
    model = asyncio.run(found.update_auth_model({"name": "ada", "admin": None, "auth_state": claims}))
    assert asyncio.run(found._apply_managed_groups(model))["admin"] is access
    assert model["groups"] == [ADMINISTRATORS]
    assert ADMINISTRATORS in found.allowed_groups


def test_administrators_who_may_not_enter_notebooks_may_nothing_that_leads_there(tmp_path: Path) -> None:
    roles = configured(tmp_path, administratorAccess=False).JupyterHub.load_roles
    (role,) = [one for one in roles if one.get("groups") == [ADMINISTRATORS]]
    scopes = expand_scopes(role["scopes"])
    assert {"admin-ui", "list:users", "servers", "delete:servers"} <= scopes
    # Entering, sharing with oneself, tokens of others', their tokens at Keycloak, another place for the proxy to be.
    leading_there = ("access:servers", "shares", "tokens", "admin:auth_state", "admin:users", "groups", "proxy")
    assert not scopes & {*leading_there, *(f"admin:{one}" for one in ("servers", "groups"))}
    own = next(one for one in get_default_roles() if one["name"] == "admin")["scopes"]
    assert scopes < expand_scopes(own), "no more than administrators of JupyterHub"
    assert not [one for one in configured(tmp_path, administratorAccess=True).JupyterHub.load_roles if "groups" in one]


def test_the_addresses_are_those_that_the_realms_client_has() -> None:
    dev = stack()
    assert dev.identity
    (client,) = [
        one
        for one in realm(dev.identity, PlatformUrls.of(dev.ingress.domain), tuple(dev.teams))["clients"]
        if one["clientId"] == OWN_CLIENTS[0]
    ]
    config = Config()
    configure(config, file())
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
    assert hub_sign_in.CLIENT_SECRET.name == CLIENT_SECRET_KEY
    secret = tmp_path / CLIENT_SECRET_KEY
    secret.write_text("of the Secret", encoding="utf-8")
    monkeypatch.setattr(hub_sign_in, "CLIENT_SECRET", secret)
    monkeypatch.setenv("OAUTH_CLIENT_SECRET", "of the environment")
    assert authenticator(tmp_path).client_secret == "of the Secret"
    secret.unlink()
    assert authenticator(tmp_path).client_secret == "of the environment"


def test_what_the_chart_has_set_stays(tmp_path: Path) -> None:
    config = Config()
    config.JupyterHub.services = [{"name": "of the chart"}]
    config.JupyterHub.load_roles = [{"name": "of the chart"}]
    configure(config, file())
    assert len(config.JupyterHub.services) == 2
    assert {"of the chart", culling.SERVICE} <= {one["name"] for one in config.JupyterHub.load_roles}
    (role,) = [one for one in config.JupyterHub.load_roles if one["name"] == culling.SERVICE]
    assert set(role["scopes"]) == {"delete:servers"}


class Answers:
    """Fakes of Keycloak and GitHub: each path with its answer, a status or a document."""

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
LOGOUT = "/protocol/openid-connect/logout"


def admitted(folder: Path, answers: dict[str, Any], **hub: Any) -> tuple[bool, bool]:
    """Whether a team member who used that provider is admitted, and whether Keycloak's session was ended."""
    why, ended = refusal(folder, answers, **hub)
    return why is None, ended


def refusal(
    folder: Path, answers: dict[str, Any], *, alias: str | None = "github", **hub: Any
) -> tuple[str | None, bool]:
    """What a team member reads who used that provider, if it is a refusal; whether Keycloak's session was ended."""
    made = authenticator(folder, **{"github": ACCESS, "providers": PROVIDERS, **hub})
    fetched = Answers(**answers)
    made.httpfetch = fetched  # type: ignore[method-assign]
    user = {"preferred_username": "ada", **({"identity_provider": alias} if alias else {})}
    state = {"access_token": "of-keycloak", "refresh_token": "of-keycloak-too", "oauth_user": user}
    model = {"name": "ada", "admin": False, "groups": ["/research/developer"], "auth_state": state}
    why = None
    try:
        assert asyncio.run(made.check_allowed("ada", model))
    except Refused as refused:
        why = str(refused) if refused.status_code == 403 else None
    return why, any(url.endswith(LOGOUT) for url in fetched.asked)


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
    found, ended = admitted(tmp_path, {**KEYCLOAK, **answers})
    assert found == lets_in
    assert ended is not lets_in


@pytest.mark.parametrize(
    ("answer", "lets_in"), [({"access_token": "fresh"}, True), (502, False), (400, False), (403, False), (404, False)]
)
def test_whom_the_provider_vouches_for_no_more_is_out_and_so_is_the_session(
    tmp_path: Path, answer: Any, lets_in: bool
) -> None:
    """Keycloak answers 502 if the provider does not refresh the token or does not answer."""
    assert admitted(tmp_path, {"/broker/company/token": answer}, alias="company") == (lets_in, not lets_in)


def test_whom_a_provider_keeps_out_reads_so_and_not_that_they_are_in_no_team(tmp_path: Path) -> None:
    why, _ = refusal(tmp_path, KEYCLOAK)
    assert why
    assert "GitHub does not show that you are an active member" in why
    why, _ = refusal(tmp_path, {"/broker/company/token": 502}, alias="company")
    assert why
    assert "company, with which you came, no longer knows you" in why


def test_requests_at_the_same_time_ask_a_provider_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a provider's refresh tokens can be used once, Keycloak's second request at the same time fails with 502."""
    made = authenticator(tmp_path, providers=PROVIDERS)
    asked = Answers()

    async def fetched(url: str, *_: Any, **kwargs: Any) -> Any:
        asked.by_path = {"/broker/company/token": 502 if asked.asked else {"access_token": "fresh"}}
        found = await asked(url)
        await asyncio.sleep(0)
        return found

    made.httpfetch = fetched  # type: ignore[method-assign]
    state = {"access_token": "a", "refresh_token": "b", "oauth_user": {"identity_provider": "company"}}
    model = {"name": "ada", "admin": False, "groups": ["/research/developer"], "auth_state": state}

    async def asked_anew(*_: Any, **__: Any) -> dict[str, Any]:
        return model

    monkeypatch.setattr(GenericOAuthenticator, "refresh_user", asked_anew)
    user: Any = SimpleNamespace(name="ada")

    async def together() -> list[Any]:
        # The last one is a sign-in at another browser.
        asked_together = (made.refresh_user(user), made.refresh_user(user), made.check_allowed("ada", model))
        return list(await asyncio.gather(*asked_together))

    assert asyncio.run(together()) == [model, model, True]
    assert len(asked.asked) == 1
    # Later it is asked again.
    assert asyncio.run(made.refresh_user(user)) is False


def test_a_provider_that_the_stack_file_has_no_more_vouches_for_nobody(tmp_path: Path) -> None:
    assert admitted(tmp_path, {"/broker/gone/token": {"access_token": "x"}}, alias="gone") == (False, True)


def test_who_has_come_by_a_password_or_by_saml_is_asked_for_nowhere(tmp_path: Path) -> None:
    for alias in (None, "partner"):
        assert admitted(tmp_path, {}, alias=alias) == (True, False)


@pytest.mark.parametrize("code", [500, 503, 599])
def test_keycloak_out_of_reach_says_nothing_of_a_provider(tmp_path: Path, code: int) -> None:
    with pytest.raises(HTTPClientError):
        admitted(tmp_path, {"/broker/company/token": code}, alias="company")


def test_without_a_token_of_githubs_nobody_gets_in(tmp_path: Path) -> None:
    for answer in (400, 403, 404):
        assert not admitted(tmp_path, {"/broker/github/token": answer})[0]
    assert not admitted(tmp_path, KEYCLOAK, github=None)[0], "nothing says who is let in"


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


@pytest.mark.parametrize("known", [True, False])
def test_whom_keycloak_no_longer_knows_is_out_such_as_people_whom_a_directory_has_disabled(
    tmp_path: Path, known: bool
) -> None:
    """Keycloak checks the directory itself; it then refuses its earlier tokens and does not refresh them."""
    made = authenticator(tmp_path)

    async def fetched(url: str, *_: Any, **__: Any) -> Any:
        if not known:
            raise HTTPClientError(400 if url == made.token_url else 401)
        return {"preferred_username": "ada", "groups": ["/research/developer"]}

    made.httpfetch = fetched  # type: ignore[method-assign]

    async def state() -> dict[str, Any]:
        token = {"access_token": "a", "refresh_token": "b", "token_type": "Bearer"}
        return {**token, "token_response": token}

    user: Any = SimpleNamespace(name="ada", get_auth_state=state)
    assert bool(asyncio.run(made.refresh_user(user))) is known


@pytest.mark.parametrize(
    ("groups", "refreshed"), [(["/research/developer"], True), (["/gone/developer"], False), ([], False)]
)
def test_who_is_in_no_team_any_more_has_to_sign_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, groups: list[str], refreshed: bool
) -> None:
    state = {"access_token": "of-keycloak", "oauth_user": {}}
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
