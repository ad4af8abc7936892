"""Signing in to the lab `dev` through the load balancer: what a real Keycloak lets in, and what it refuses."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable
from urllib.error import HTTPError
from urllib.parse import urlsplit

import pytest
from browser import Answer, Browser, Tool, claims, page_text, request
from keycloak_lab import KeycloakLab, addresses_of, identity_of

from components.identity.keycloak import DISCOVERY_PATHS
from components.identity.realm.people import initial_password
from components.identity.realm.realm import REALM
from settings import Identity
from settings.people.identity import BruteForce

ADDRESSES = addresses_of("dev")
CHOSEN = "Correct-Horse-7-Battery"
LOCK_SECONDS = 30
WAIT_SECONDS = 240


@pytest.fixture(scope="module")
def identity() -> Identity:
    """That of dev, with locks that are over sooner."""
    locks = BruteForce(maxFailures=3, lockSeconds=LOCK_SECONDS, maxLockSeconds=LOCK_SECONDS)  # type: ignore[call-arg]
    return identity_of("dev").model_copy(update={"brute_force": locks})


@pytest.fixture(scope="module")
def applied_secrets(keycloak: KeycloakLab, identity: Identity) -> dict[str, str]:
    """The realm's secrets, after it was applied to an empty server."""
    keycloak.forget()
    return keycloak.apply(identity, ADDRESSES)


@pytest.fixture
def hub(keycloak: KeycloakLab, applied_secrets: dict[str, str]) -> Tool:
    """The hub, as the realm's client."""
    callback = f"{ADDRESSES.platform}/jupyter/hub/oauth_callback"
    return Tool(keycloak.realm_url, "jupyterhub", applied_secrets["CLIENT_JUPYTERHUB_SECRET"], callback)


@pytest.fixture
def person(keycloak: KeycloakLab, applied_secrets: dict[str, str], request: pytest.FixtureRequest) -> str:
    """A person for only this test, with a password."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[-50:].strip("-")
    account = {
        "username": name,
        "email": f"{name}@example.com",
        "emailVerified": True,
        "firstName": "Some",
        "lastName": "One",
        "enabled": True,
        "groups": ["/research/developer"],
        "credentials": [{"type": "password", "value": CHOSEN, "temporary": False}],
    }
    keycloak.admin("POST", f"/{REALM}/users", account)
    return name


def sign_in(tool: Tool, name: str, password: str) -> Answer:
    browser = Browser(tool.realm_url.partition("/realms/")[0])
    return browser.submit(browser.go(tool.address()), username=name, password=password)


def let_in(answer: Answer, tool: Tool) -> bool:
    return answer.location.startswith(f"{tool.redirect_uri}?") and "code" in answer.parameters


def until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def test_a_person_gets_tokens_with_groups_and_roles(hub: Tool, person: str) -> None:
    answer = sign_in(hub, person, CHOSEN)
    assert let_in(answer, hub), page_text(answer.text)
    tokens = hub.redeem(answer.parameters["code"], code_verifier=hub.verifier)
    assert tokens.status == 200, tokens.text
    said = claims(tokens.json["id_token"])
    assert said["iss"] == hub.realm_url
    assert said["groups"] == ["/research/developer"]
    assert said["roles"] == ["developer"]


def test_a_first_password_is_changed_at_once_and_no_later_change_of_the_realm_resets_it(
    keycloak: KeycloakLab, hub: Tool, identity: Identity, applied_secrets: dict[str, str]
) -> None:
    first = applied_secrets[initial_password("ada")]
    browser = Browser(keycloak.public)
    page = browser.submit(browser.go(hub.address()), username="ada", password=first)
    assert page.asks_for("password-new"), page_text(page.text)

    weak = browser.submit(page, **{"password-new": "weak", "password-confirm": "weak"})
    assert weak.asks_for("password-new")
    assert "Invalid password" in page_text(weak.text)

    done = browser.submit(weak, **{"password-new": CHOSEN, "password-confirm": CHOSEN})
    assert let_in(done, hub), page_text(done.text)

    keycloak.apply(identity.model_copy(update={"totp": "optional"}), ADDRESSES, teams=("another",))
    assert "/another/developer" in keycloak.all_groups()
    assert let_in(sign_in(hub, "ada", CHOSEN), hub)
    assert not let_in(sign_in(hub, "ada", first), hub)


def test_administrators_tokens_for_a_tool_open_nothing_of_the_admin_api(
    keycloak: KeycloakLab, hub: Tool, person: str
) -> None:
    id = keycloak.person(person)["id"]
    management = keycloak.ask("/clients?clientId=realm-management")[0]["id"]
    role = keycloak.ask(f"/clients/{management}/roles/realm-admin")
    keycloak.admin("POST", f"/{REALM}/users/{id}/role-mappings/clients/{management}", [role])
    code = sign_in(hub, person, CHOSEN).parameters["code"]
    token = hub.redeem(code, code_verifier=hub.verifier).json["access_token"]
    refused, _ = request(
        "GET", f"{keycloak.url}/admin/realms/{REALM}/users", headers={"Authorization": f"Bearer {token}"}
    )
    assert refused.status == 403


def test_a_code_without_its_verifier_is_refused(hub: Tool, person: str) -> None:
    for parameters in ({}, {"code_verifier": "x" * 64}):
        code = sign_in(hub, person, CHOSEN).parameters["code"]
        refused = hub.redeem(code, **parameters)
        assert refused.status == 400
        assert refused.json["error"] == "invalid_grant"
        assert "PKCE" in refused.json["error_description"] or "Code mismatch" in refused.json["error_description"]


def test_a_sign_in_without_a_challenge_is_refused(keycloak: KeycloakLab, hub: Tool) -> None:
    for changes in (
        {"code_challenge": None, "code_challenge_method": None},
        {"code_challenge": hub.verifier, "code_challenge_method": "plain"},
    ):
        refused = Browser(keycloak.public).go(hub.address(**changes))
        assert refused.parameters["error"] == "invalid_request"
        assert "code" not in refused.parameters


@pytest.mark.parametrize(
    "change", [lambda uri: uri[:-1], lambda uri: f"{uri}/", lambda uri: uri.replace("8000", "8001")]
)
def test_a_redirect_uri_that_is_off_by_one_character_is_refused(
    keycloak: KeycloakLab, hub: Tool, change: Callable[[str], str]
) -> None:
    refused = Browser(keycloak.public).go(hub.address(redirect_uri=change(hub.redirect_uri)))
    assert refused.status == 400
    assert refused.location == ""
    assert "redirect_uri" in page_text(refused.text)


@pytest.mark.parametrize("client_id", ["jupyterhub", "grafana", "admin-cli", "account"])
def test_a_password_is_taken_by_no_client_directly(
    keycloak: KeycloakLab, applied_secrets: dict[str, str], person: str, client_id: str
) -> None:
    secret = applied_secrets.get(f"CLIENT_{client_id.upper()}_SECRET", "")
    tool = Tool(keycloak.realm_url, client_id, secret, "")
    refused = tool.token(grant_type="password", username=person, password=CHOSEN)
    assert refused.status in (400, 401)
    assert refused.json["error"] == "unauthorized_client"


@pytest.mark.parametrize("password", ["Short1a", "alllowercase123", "NODIGITSatall", "{name}-A1", "{email}"])
def test_a_weak_password_is_refused(keycloak: KeycloakLab, person: str, password: str) -> None:
    account = keycloak.person(person)
    weak = password.format(name=account["username"], email=account["email"])
    with pytest.raises(HTTPError) as refused:
        keycloak.admin(
            "PUT",
            f"/{REALM}/users/{account['id']}/reset-password",
            {"type": "password", "value": weak, "temporary": False},
        )
    assert refused.value.code == 400


def test_nobody_registers_themselves(keycloak: KeycloakLab, hub: Tool) -> None:
    address = hub.address().replace("openid-connect/auth?", "openid-connect/registrations?")
    answer = Browser(keycloak.public).go(address)
    assert answer.status >= 400 or not answer.asks_for("password-confirm")


INSIDE = [
    "/admin/realms",
    f"/admin/realms/{REALM}/users",
    "/realms/master/protocol/openid-connect/token",
    "/metrics",
    "/health",
    "/admin/",
]
DETOURS = [
    "/realms/{realm}/../../admin/realms",
    "/realms/{realm}/../master/.well-known/openid-configuration",
    "/realms/{realm}/%2e%2e/%2e%2e/admin/realms",
    "/realms/{realm}/..%2f..%2fadmin/realms",
    "/realms/{realm}/..;/..;/admin/realms",
    "/resources/../admin/realms",
    "/resources/..%2fadmin%2frealms",
    "/.well-known/../admin/realms",
    "//admin/realms",
]


@pytest.mark.parametrize("path", INSIDE)
def test_what_is_inside_is_not_passed_on(keycloak: KeycloakLab, applied_secrets: dict[str, str], path: str) -> None:
    bearer = {"Authorization": f"Bearer {keycloak.token()}"}
    refused, _ = request("GET", f"{keycloak.public}{path}", headers=bearer)
    assert refused.status == 404
    assert refused.text == "fixed response"


@pytest.mark.parametrize("path", DETOURS)
def test_no_detour_leads_through_a_public_path_to_what_is_inside(
    keycloak: KeycloakLab, applied_secrets: dict[str, str], path: str
) -> None:
    bearer = {"Authorization": f"Bearer {keycloak.token()}"}
    assert request("GET", f"{keycloak.url}/admin/realms", headers=bearer)[0].status == 200
    answer, _ = request("GET", f"{keycloak.public}{path.format(realm=REALM)}", headers=bearer)
    assert answer.status >= 400, answer.text[:200]
    assert '"realm"' not in answer.text
    assert "authorization_endpoint" not in answer.text


def test_tools_in_the_cluster_reach_the_same_issuer_by_the_service(
    keycloak: KeycloakLab, hub: Tool, person: str
) -> None:
    inside, _ = request("GET", f"{keycloak.url}/realms/{REALM}/.well-known/openid-configuration")
    assert inside.json["issuer"] == keycloak.realm_url
    assert inside.json["token_endpoint"].startswith(keycloak.url)
    assert inside.json["authorization_endpoint"].startswith(keycloak.public)
    # All that the internet reads of the realm where EKS takes its tokens.
    assert urlsplit(inside.json["jwks_uri"]).path == DISCOVERY_PATHS[1]
    backchannel = dataclasses.replace(hub, realm_url=f"{keycloak.url}/realms/{REALM}")
    code = sign_in(hub, person, CHOSEN).parameters["code"]
    assert backchannel.redeem(code, code_verifier=hub.verifier).status == 200
