"""The realm: no secret in it, nobody let in by the way, and everybody in the groups that the stack file says."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import settings
from components.realm import REALM, Addresses, password_policy, realm, realm_secrets
from components.realm_flows import BROWSER_FLOW
from components.realm_people import initial_password, people
from settings import Identity
from settings.identity_values import ROLES

PROJECT = Path(__file__).parents[2]
TODAY = datetime.date(2026, 6, 1)
STACKS = {
    "dev": PROJECT / "Pulumi.dev.yaml",
    "prod": PROJECT / "Pulumi.prod.yaml",
    "everything": PROJECT / "tests" / "stacks" / "everything.happy.yaml",
}
PLACEHOLDER = re.compile(r"\$\(file:UTF-8:/run/secrets/keycloak-realm/([A-Z][A-Z0-9_]*)\)")
SECRET_FIELDS = {"secret", "clientSecret", "bindCredential", "password"}


def identity_of(stack: str) -> Identity:
    found = settings.check_stack_file(STACKS[stack], "lab", TODAY).identity
    assert found is not None
    return found


def domain_of(stack: str) -> str | None:
    return settings.check_stack_file(STACKS[stack], "lab", TODAY).ingress.domain


def realm_of(identity: Identity, *teams: str, domain: str | None = None) -> dict[str, Any]:
    return realm(identity, Addresses.of(domain), teams)


def minimal(**sections: Any) -> Identity:
    return Identity.model_validate({"administrators": ["ada@example.com"], **sections})


def values_of(document: Any, names: set[str]) -> list[Any]:
    """What stands under these names, anywhere."""
    if isinstance(document, list):
        return [found for item in document for found in values_of(item, names)]
    if not isinstance(document, dict):
        return []
    here = [value for name, value in document.items() if name in names]
    return here + [found for value in document.values() for found in values_of(value, names)]


@pytest.fixture(params=STACKS)
def stack(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def identity(stack: str) -> Identity:
    return identity_of(stack)


def test_every_placeholder_has_a_secret_and_every_secret_a_placeholder(identity: Identity) -> None:
    assert set(PLACEHOLDER.findall(json.dumps(realm_of(identity)))) == realm_secrets(identity).keys()


def test_where_a_secret_belongs_there_is_a_placeholder(identity: Identity) -> None:
    document = realm_of(identity)
    credentials = [credential["value"] for person in document["users"] for credential in person["credentials"]]
    found = [*values_of(document, SECRET_FIELDS), *credentials]
    assert found
    for value in found:
        assert PLACEHOLDER.fullmatch(value[0] if isinstance(value, list) else value)


def test_every_client_takes_codes_with_pkce_to_exact_addresses_of_the_domain(stack: str) -> None:
    domain = domain_of(stack)
    platform = urlsplit(Addresses.of(domain).platform).hostname or ""
    for client in realm_of(identity_of(stack), domain=domain)["clients"]:
        if client["clientId"] == "admin-cli":
            continue
        assert client["attributes"]["pkce.code.challenge.method"] == "S256"
        assert (client["standardFlowEnabled"], client["directAccessGrantsEnabled"]) == (True, False)
        assert client["publicClient"] is ("secret" not in client)
        for uri in client["redirectUris"]:
            host = urlsplit(uri).hostname or ""
            assert host == platform or host.endswith(f".{domain}")
            assert "*" not in uri


def test_no_token_of_a_tool_has_a_role_of_keycloaks_own(identity: Identity) -> None:
    document = realm_of(identity)
    for client in document["clients"]:
        assert client.get("fullScopeAllowed", False) is False
    for mapping in document["scopeMappings"]:
        assert set(mapping["roles"]) <= set(ROLES)
    read_token = [(one["client"], one["roles"]) for one in document["clientScopeMappings"].get("broker", [])]
    from_github = any(provider.kind == "github" for provider in identity.providers.values())
    assert read_token == ([("jupyterhub", ["read-token"])] if from_github else [])
    assert document["clientScopeMappings"].keys() <= {"broker"}


def test_nobody_registers_and_no_email_that_anybody_may_claim_opens_an_account(identity: Identity) -> None:
    document = realm_of(identity)
    assert document["registrationAllowed"] is False
    assert document["bruteForceProtected"] is True
    for provider in document["identityProviders"]:
        given = identity.providers[provider["alias"]]
        assert provider["trustEmail"] is (given.kind == "google" or given.trust_email)
        assert provider["storeToken"] is (given.kind == "github")


def test_a_team_has_a_group_for_each_role() -> None:
    teams = {group["name"]: group for group in realm_of(minimal(), "vision", "speech")["groups"]}
    assert teams.keys() == {"vision", "speech"}
    for name, team in teams.items():
        assert [group["path"] for group in team["subGroups"]] == [f"/{name}/{role}" for role in ROLES]
        for group in team["subGroups"]:
            assert group["realmRoles"] == ([group["name"]] if group["name"] != "administrator" else [])


def test_groups_that_the_section_names_are_there_without_their_team_being_given(identity: Identity) -> None:
    document = realm_of(identity, "another")
    paths = {group["path"] for team in document["groups"] for group in team["subGroups"]}
    named = {
        *(group for person in document["users"] for group in person.get("groups", [])),
        *(mapper["config"]["group"] for mapper in document["identityProviderMappers"]),
        *(path for paths in values_of(document["components"], {"groups.path"}) for path in paths),
    }
    assert named <= paths
    assert "/another/developer" in paths


def test_the_group_of_a_directory_lies_where_its_mapper_looks() -> None:
    document = realm_of(identity_of("everything"))
    (directory,) = document["components"]["org.keycloak.storage.UserStorageProvider"]
    (mapper,) = directory["subComponents"]["org.keycloak.storage.ldap.mappers.LDAPStorageMapper"]
    assert directory["config"]["editMode"] == mapper["config"]["mode"] == ["READ_ONLY"]
    assert all(url.startswith("ldaps://") for url in directory["config"]["connectionUrl"][0].split())
    (scientists,) = [
        group
        for team in document["groups"]
        for group in team["subGroups"]
        if group["path"] == mapper["config"]["groups.path"][0]
    ]
    assert mapper["config"]["groups.ldap.filter"] == [f"(cn={scientists['subGroups'][0]['name']})"]


def test_administrators_alone_administer_the_realm(identity: Identity) -> None:
    with_power = {person["email"] for person in people(identity) if person.get("clientRoles")}
    assert with_power == set(identity.administrators)


def test_first_passwords_are_for_one_use_and_never_set_again() -> None:
    document = realm_of(identity_of("dev"))
    assert len(document["users"]) == 3
    for person in document["users"]:
        (credential,) = person["credentials"]
        assert credential["temporary"] is True
        # keycloak-config-cli leaves the credential with this label alone once the account exists.
        assert credential["userLabel"] == "initial"
        assert "requiredActions" not in person


def test_names_with_the_same_letters_have_passwords_of_their_own() -> None:
    names = ["a.b", "a_b", "a-b", "a@b", "ab"]
    assert len({initial_password(name) for name in names}) == len(names)
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", initial_password(name)) for name in names)


@pytest.mark.parametrize("totp", ["optional", "required"])
def test_one_time_codes_are_asked_of_all_or_of_who_has_set_them_up(totp: str) -> None:
    document = realm_of(minimal(totp=totp))
    flows = {flow["alias"]: flow for flow in document["authenticationFlows"]}
    top = flows[document["browserFlow"]]
    (forms,) = [step["flowAlias"] for step in top["authenticationExecutions"] if step["authenticatorFlow"]]
    steps = {
        step.get("authenticator") or step.get("flowAlias"): step["requirement"]
        for step in flows[forms]["authenticationExecutions"]
    }
    assert steps.pop("auth-username-password-form") == "REQUIRED"
    if totp == "required":
        assert steps == {"auth-otp-form": "REQUIRED"}
    else:
        ((subflow, requirement),) = steps.items()
        assert requirement == "CONDITIONAL"
        assert [step["authenticator"] for step in flows[subflow]["authenticationExecutions"]] == [
            "conditional-user-configured",
            "auth-otp-form",
        ]


def test_a_flow_in_use_keeps_its_name_whatever_is_asked_for() -> None:
    flows = [realm_of(one) for one in (minimal(), minimal(totp="required"), minimal(sessions={"perPerson": 2}))]
    assert {document["browserFlow"] for document in flows} == {BROWSER_FLOW}
    limited = flows[2]
    (config,) = limited["authenticatorConfig"]
    assert config["config"]["userRealmLimit"] == "2"
    asked = [
        step.get("authenticatorConfig")
        for flow in limited["authenticationFlows"]
        for step in flow["authenticationExecutions"]
    ]
    assert config["alias"] in asked


def test_a_password_policy_says_what_the_section_does() -> None:
    everything = password_policy(identity_of("everything").password_policy)
    assert "length(8)" in everything
    assert "specialChars(2)" in everything
    assert "forceExpiredPasswordChange(365)" in everything
    for absent in ("upperCase", "digits", "passwordHistory"):
        assert absent not in everything
    for always in ("notUsername", "notContainsUsername", "notEmail"):
        assert always in everything


def test_without_a_mail_server_nobody_waits_for_a_mail() -> None:
    without, with_one = realm_of(minimal()), realm_of(identity_of("prod"))
    assert (without["resetPasswordAllowed"], without["verifyEmail"], without["smtpServer"]) == (False, False, {})
    assert (with_one["resetPasswordAllowed"], with_one["verifyEmail"]) == (True, True)
    assert with_one["smtpServer"]["starttls"] == "true"


def test_a_saml_provider_knows_the_realm_by_its_own_address() -> None:
    document = realm_of(identity_of("everything"), domain="lab.example.com")
    (partner,) = [one for one in document["identityProviders"] if one["providerId"] == "saml"]
    assert partner["config"]["entityId"] == f"https://auth.lab.example.com/realms/{REALM}"
    assert partner["config"]["wantAssertionsSigned"] == partner["config"]["validateSignature"] == "true"


def test_the_secrets_that_lie_elsewhere_are_those_of_the_stack_file() -> None:
    elsewhere = {name: reference for name, reference in realm_secrets(identity_of("prod")).items() if reference}
    assert elsewhere.keys() == {
        "PROVIDER_GOOGLE_SECRET",
        "PROVIDER_GITHUB_SECRET",
        "LDAP_BIND_PASSWORD",
        "MAIL_PASSWORD",
    }
    assert elsewhere["LDAP_BIND_PASSWORD"].key == "password"
