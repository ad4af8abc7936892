"""People from another realm: those who are disabled there can't sign in, with that provider or with a password."""

from __future__ import annotations

import asyncio
import dataclasses
import html
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from browser import Answer, Browser, Tool, page_text
from keycloak_lab import COMPANY, PROJECT, TODAY, KeycloakLab
from traitlets.config import Config

import settings
from components.hub.catalogue_from_settings import catalogue
from components.hub.inside.authenticator import KeycloakAuthenticator
from components.hub.inside.config import configure
from components.identity.realm.people import initial_password
from components.identity.realm.realm import REALM
from components.platform_urls import PlatformUrls
from settings import Identity
from settings.people.providers import Provider

PASSWORD = "Correct-Horse-7-Battery"
OF_COMPANY = "Password-At-The-Company-1"
PLATFORM = "http://localhost:8000"
SECRET = "Generated-PROVIDER_COMPANY_SECRET-1"


def provider(keycloak: KeycloakLab) -> Provider:
    """The company's realm; here without TLS, which a stack file would not accept."""
    given = {
        "kind": "oidc",
        "clientId": "gpulab",
        "clientSecret": {"kubernetesSecret": "company", "key": "secret"},
        "trustEmail": True,
        "groups": ["/research/developer"],
        **dict.fromkeys(("issuer", "authorizationUrl", "tokenUrl", "keysUrl"), "https://company.example.com/"),
    }
    public, inside = (f"{url}/realms/{COMPANY}" for url in (keycloak.public, keycloak.url))
    endpoints = {
        "issuer": public,
        "authorization_url": f"{public}/protocol/openid-connect/auth",
        "token_url": f"{inside}/protocol/openid-connect/token",
        "keys_url": f"{inside}/protocol/openid-connect/certs",
    }
    return Provider.model_validate(given).model_copy(update=endpoints)


@pytest.fixture(scope="module")
def company(keycloak: KeycloakLab) -> Iterator[None]:
    """The other realm, whose people are made by each test."""
    client = {"clientId": "gpulab", "secret": SECRET, "redirectUris": [f"{keycloak.public}/*"], "enabled": True}
    keycloak.admin("POST", "", {"realm": COMPANY, "enabled": True, "clients": [client]})
    keycloak._asked = 0
    yield
    keycloak.admin("DELETE", f"/{COMPANY}")


@pytest.fixture(scope="module")
def stack(keycloak: KeycloakLab) -> settings.EksSettings:
    """dev, where the company vouches for people."""
    found = settings.on_eks(settings.check_stack_file(PROJECT / "Pulumi.dev.yaml", "dev", TODAY))
    assert found.identity
    identity = found.identity.model_copy(update={"providers": {COMPANY: provider(keycloak)}})
    return dataclasses.replace(found, identity=identity)


@pytest.fixture(scope="module")
def secrets(keycloak: KeycloakLab, company: None, stack: settings.EksSettings) -> dict[str, str]:
    keycloak.forget()
    return keycloak.apply(identity_of(stack), PlatformUrls(keycloak.public, PLATFORM), tuple(stack.teams))


def identity_of(stack: settings.EksSettings) -> Identity:
    assert stack.identity
    return stack.identity


@pytest.fixture
def tool(keycloak: KeycloakLab, secrets: dict[str, str]) -> Tool:
    callback = f"{PLATFORM}/jupyter/hub/oauth_callback"
    return Tool(keycloak.realm_url, "jupyterhub", secrets["CLIENT_JUPYTERHUB_SECRET"], callback)


@dataclass
class Hub:
    """The hub's check of a person, without the rest of the hub."""

    authenticator: KeycloakAuthenticator
    runner: asyncio.Runner
    tool: Tool

    def signed_in(self, answer: Answer) -> dict[str, Any]:
        """Who comes back from Keycloak with a code."""
        tokens = self.tool.redeem(answer.parameters["code"], code_verifier=self.tool.verifier).json
        model = self.runner.run(self.authenticator._token_to_auth_model(tokens))
        assert self.runner.run(self.authenticator.check_allowed(model["name"], model))
        return model

    def lets_in(self, model: dict[str, Any]) -> bool:
        """What it finds when `refreshGroups` is over."""

        async def state() -> dict[str, Any]:
            return model["auth_state"]

        user: Any = SimpleNamespace(name=model["name"], get_auth_state=state)
        return self.runner.run(self.authenticator.refresh_user(user)) is not False


@pytest.fixture
def hub(keycloak: KeycloakLab, stack: settings.EksSettings, tool: Tool, tmp_path: Path) -> Iterator[Hub]:
    document: Any = catalogue(stack)
    document["hub"] |= {
        "platformUrl": PLATFORM,
        "realmUrl": keycloak.realm_url,
        "realmUrlInside": f"{keycloak.url}/realms/{REALM}",
    }
    (tmp_path / "catalogue.json").write_text(json.dumps(document), encoding="utf-8")
    config = Config()
    configure(config, tmp_path / "catalogue.json")
    config.KeycloakAuthenticator.client_secret = tool.secret
    with asyncio.Runner() as runner:
        yield Hub(KeycloakAuthenticator(config=config), runner, tool)


@pytest.fixture
def employee(keycloak: KeycloakLab, secrets: dict[str, str], request: pytest.FixtureRequest) -> str:
    """A person of the company, for only this test."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[-40:].strip("-")
    account = {
        "username": name,
        "email": f"{name}@example.com",
        "emailVerified": True,
        "firstName": "Some",
        "lastName": "One",
        "enabled": True,
        "credentials": [{"type": "password", "value": OF_COMPANY, "temporary": False}],
    }
    keycloak.admin("POST", f"/{COMPANY}/users", account)
    return name


@pytest.fixture
def disable(keycloak: KeycloakLab) -> Callable[[str], None]:
    """Disables somebody at the company."""

    def at_the_company(name: str) -> None:
        (found,) = keycloak.admin("GET", f"/{COMPANY}/users?username={name}&exact=true")
        keycloak.admin("PUT", f"/{COMPANY}/users/{found['id']}", {**found, "enabled": False})

    return at_the_company


def to_the_company(browser: Browser, page: Answer) -> Answer:
    """The company's page, to which a link of Keycloak's leads."""
    link = re.search(rf'href="([^"]*/broker/{COMPANY}/login[^"]*)"', page.text)
    assert link, page_text(page.text)
    return browser.go(f"{browser.home}{html.unescape(link[1])}")


def sign_in_at_the_company(browser: Browser, tool: Tool, name: str) -> Answer:
    page = to_the_company(browser, browser.go(tool.address()))
    return browser.submit(page, username=name, password=OF_COMPANY)


def let_in(answer: Answer, tool: Tool) -> bool:
    return answer.location.startswith(f"{tool.redirect_uri}?") and "code" in answer.parameters


def test_who_is_disabled_at_the_provider_is_out_at_the_hubs_next_question(
    keycloak: KeycloakLab, tool: Tool, hub: Hub, employee: str, disable: Callable[[str], None]
) -> None:
    browser = Browser(keycloak.public)
    answer = sign_in_at_the_company(browser, tool, employee)
    assert let_in(answer, tool), page_text(answer.text)
    model = hub.signed_in(answer)
    assert model["groups"] == ["/research/developer"]
    assert hub.lets_in(model)
    assert hub.lets_in(model), "asked twice, the provider had forgotten them"

    disable(employee)
    assert not hub.lets_in(model)
    # The session is over: the next sign-in is one at the provider.
    page = browser.go(tool.address())
    assert page.asks_for("username"), page.location
    refused = sign_in_at_the_company(browser, tool, employee)
    assert not let_in(refused, tool)


def test_whose_session_at_the_provider_is_over_comes_back_by_signing_in_there_again(
    keycloak: KeycloakLab, tool: Tool, hub: Hub, employee: str
) -> None:
    browser = Browser(keycloak.public)
    model = hub.signed_in(sign_in_at_the_company(browser, tool, employee))
    (found,) = keycloak.admin("GET", f"/{COMPANY}/users?username={employee}&exact=true")
    keycloak.admin("POST", f"/{COMPANY}/users/{found['id']}/logout")
    assert not hub.lets_in(model)
    answer = sign_in_at_the_company(browser, tool, employee)
    assert let_in(answer, tool), page_text(answer.text)
    assert hub.lets_in(hub.signed_in(answer))


def test_a_password_lets_nobody_in_who_has_come_by_a_provider(
    keycloak: KeycloakLab, tool: Tool, employee: str, disable: Callable[[str], None]
) -> None:
    browser = Browser(keycloak.public)
    assert let_in(sign_in_at_the_company(browser, tool, employee), tool)
    # Their own page offers to set one. That it is taken changes nothing.
    page = browser.go(tool.address(kc_action="UPDATE_PASSWORD"))
    if page.asks_for("password-new"):
        browser.submit(page, **{"password-new": PASSWORD, "password-confirm": PASSWORD})
    path = f"/{REALM}/users/{keycloak.person(employee)['id']}/reset-password"
    keycloak.admin("PUT", path, {"type": "password", "value": f"{PASSWORD}2", "temporary": False})
    disable(employee)

    other = Browser(keycloak.public)
    for password in (PASSWORD, f"{PASSWORD}2"):
        answer = other.submit(other.go(tool.address()), username=employee, password=password)
        assert not let_in(answer, tool)
    assert "choose another way to sign in" in page_text(answer.text)


def test_nobody_gets_a_password_by_having_forgotten_it(keycloak: KeycloakLab, tool: Tool) -> None:
    assert keycloak.ask("")["resetPasswordAllowed"] is False
    browser = Browser(keycloak.public)
    assert "reset-credentials" not in browser.go(tool.address()).text


def test_seed_users_and_administrators_have_a_password_beside_the_provider(
    keycloak: KeycloakLab, tool: Tool, stack: settings.EksSettings, secrets: dict[str, str]
) -> None:
    for name in (identity_of(stack).administrators[0], next(iter(identity_of(stack).seed_users))):
        browser = Browser(keycloak.public)
        first = secrets[initial_password(name)]
        page = browser.submit(browser.go(tool.address()), username=name, password=first)
        assert page.asks_for("password-new"), page_text(page.text)
        done = browser.submit(page, **{"password-new": PASSWORD, "password-confirm": PASSWORD})
        if done.asks_for("firstName"):
            done = browser.submit(done, firstName="Some", lastName="One", email=name)
        assert let_in(done, tool), page_text(done.text)
