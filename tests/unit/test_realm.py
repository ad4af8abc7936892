"""The realm: it contains no secrets, admits nobody by accident, and has the groups that the stack file names."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import settings
from components.identity.realm.accounts import accounts_plan
from components.identity.realm.flows import BROWSER_FLOW
from components.identity.realm.people import (
    ADMINISTRATORS_GROUP,
    LOCAL_PASSWORD,
    REALM_ADMINISTRATOR,
    administrator_roles,
    initial_password,
    people,
)
from components.identity.realm.realm import REALM, password_policy, realm, realm_secrets
from components.platform_urls import PlatformUrls
from settings import Identity
from settings.people.values import ROLES

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
    found = settings.on_eks(settings.check_stack_file(STACKS[stack], "lab", TODAY)).identity
    assert found is not None
    return found


def domain_of(stack: str) -> str | None:
    return settings.on_eks(settings.check_stack_file(STACKS[stack], "lab", TODAY)).ingress.domain


def realm_of(identity: Identity, *teams: str, domain: str | None = None) -> dict[str, Any]:
    return realm(identity, PlatformUrls.of(domain), teams)


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
    document = realm_of(identity)
    passwords = {initial_password(person.username) for person in people(identity)}
    assert {person["file"] for person in accounts_plan(identity, document["groups"])["people"]} == passwords
    assert set(PLACEHOLDER.findall(json.dumps(document))) | passwords == realm_secrets(identity).keys()


def test_where_a_secret_belongs_there_is_a_placeholder(identity: Identity) -> None:
    document = realm_of(identity)
    found = values_of(document, SECRET_FIELDS)
    assert found
    for value in found:
        assert PLACEHOLDER.fullmatch(value[0] if isinstance(value, list) else value)


def test_every_client_takes_codes_with_pkce_to_exact_addresses_of_the_domain(stack: str) -> None:
    domain = domain_of(stack)
    platform = urlsplit(PlatformUrls.of(domain).platform).hostname or ""
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
    have_tokens = any(provider.kind != "saml" for provider in identity.providers.values())
    assert read_token == ([("jupyterhub", ["read-token"])] if have_tokens else [])
    assert document["clientScopeMappings"].keys() <= {"broker"}


def test_nobody_registers_and_no_email_that_anybody_may_claim_opens_an_account(identity: Identity) -> None:
    document = realm_of(identity)
    assert document["registrationAllowed"] is False
    assert document["bruteForceProtected"] is True
    for provider in document["identityProviders"]:
        given = identity.providers[provider["alias"]]
        assert provider["trustEmail"] is (given.kind == "google" or given.trust_email)
        assert provider["storeToken"] is (given.kind != "saml")


def test_a_team_has_a_group_for_each_role() -> None:
    teams = {group["name"]: group for group in realm_of(minimal(), "vision", "speech")["groups"]}
    teams.pop(ADMINISTRATORS_GROUP)
    assert teams.keys() == {"vision", "speech"}
    for name, team in teams.items():
        assert [group["path"] for group in team["subGroups"]] == [f"/{name}/{role}" for role in ROLES]
        for group in team["subGroups"]:
            assert group["realmRoles"] == ([group["name"]] if group["name"] != "administrator" else [])


def test_groups_that_the_section_names_are_there_without_their_team_being_given(identity: Identity) -> None:
    document = realm_of(identity, "another")
    paths = {
        path for team in document["groups"] for path in (team["path"], *(one["path"] for one in team["subGroups"]))
    }
    named = {
        *(group for person in people(identity) for group in person.groups),
        *(mapper["config"].get("group", "/another/developer") for mapper in document["identityProviderMappers"]),
        *(path for paths in values_of(document["components"], {"groups.path"}) for path in paths),
    }
    assert named <= paths
    assert "/another/developer" in paths


def test_the_group_of_a_directory_lies_where_its_mapper_looks() -> None:
    document = realm_of(identity_of("everything"))
    (directory,) = document["components"]["org.keycloak.storage.UserStorageProvider"]
    mappers = directory["subComponents"]["org.keycloak.storage.ldap.mappers.LDAPStorageMapper"]
    (mapper,) = [one for one in mappers if one["name"] == "group ML Research"]
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
    with_power = {person.email for person in people(identity) if f"/{ADMINISTRATORS_GROUP}" in person.groups}
    assert with_power == set(identity.administrator_emails)
    roles = {role["name"]: role for role in realm_of(identity)["roles"]["realm"]}
    powerful = {name for name, role in roles.items() if "composites" in role}
    assert powerful == {REALM_ADMINISTRATOR}
    assert not any(powerful & {*person.roles} for person in people(identity))
    assert powerful < {*administrator_roles(identity)} <= roles.keys()


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


def test_where_providers_vouch_for_people_a_password_is_for_those_who_have_the_role_alone() -> None:
    """With the mail server of prod, through which they could get a password."""
    identity = identity_of("prod")
    document = realm_of(identity)
    assert identity.mail
    assert document["resetPasswordAllowed"] is False
    steps = [step for flow in document["authenticationFlows"] for step in flow["authenticationExecutions"]]
    configs = {config["alias"]: config["config"] for config in document["authenticatorConfig"]}
    (condition,) = [step for step in steps if step.get("authenticator") == "conditional-user-role"]
    assert configs[condition["authenticatorConfig"]] == {"condUserRole": LOCAL_PASSWORD, "negate": "true"}
    assert LOCAL_PASSWORD in administrator_roles(identity)
    # A directory checks its people's passwords itself.
    (directory,) = document["components"]["org.keycloak.storage.UserStorageProvider"]
    mappers = directory["subComponents"]["org.keycloak.storage.ldap.mappers.LDAPStorageMapper"]
    assert {"role": [LOCAL_PASSWORD]} in [mapper["config"] for mapper in mappers]

    alone = realm_of(minimal())
    assert LOCAL_PASSWORD not in json.dumps(alone)


def test_a_provider_is_asked_anew_each_time_and_a_directory_within_a_minute() -> None:
    document = realm_of(identity_of("everything"))
    for provider in document["identityProviders"]:
        if provider["providerId"] in ("google", "oidc"):
            assert provider["storeToken"]
            # More than a token of any provider is good for.
            assert int(provider["config"]["minValidityToken"]) > 2 * 86400
            (reads,) = [
                mapper["config"]
                for mapper in document["identityProviderMappers"]
                if mapper["identityProviderAlias"] == provider["alias"] and "role" in mapper["config"]
            ]
            assert reads == {"syncMode": "FORCE", "role": "broker.read-token"}
    (directory,) = document["components"]["org.keycloak.storage.UserStorageProvider"]
    assert int(directory["config"]["maxLifespan"][0]) <= 60_000


def test_administrators_are_people_groups_and_groups_of_a_directory() -> None:
    directory = identity_of("everything").ldap
    assert directory
    assert directory.groups
    groups = directory.groups.model_copy(update={"administrators": ("platform admins",)})
    identity = Identity.model_validate({"administrators": ["grace", "/ops/administrator"]}).model_copy(
        update={"ldap": directory.model_copy(update={"groups": groups})}
    )
    document = realm_of(identity)
    by_name = {group["name"]: group for group in document["groups"]}
    (team,) = [group for group in by_name["ops"]["subGroups"] if group["name"] == "administrator"]
    assert {"administrator", REALM_ADMINISTRATOR} == {*team["realmRoles"]}
    assert [one["name"] for one in by_name[ADMINISTRATORS_GROUP]["subGroups"]] == ["platform admins"]
    (component,) = document["components"]["org.keycloak.storage.UserStorageProvider"]
    mappers = component["subComponents"]["org.keycloak.storage.ldap.mappers.LDAPStorageMapper"]
    assert [f"/{ADMINISTRATORS_GROUP}"] in [mapper["config"]["groups.path"] for mapper in mappers]
    plan = accounts_plan(identity, document["groups"])
    assert plan["administrators"]["names"] == ["grace"]
    assert plan["people"] == []
    assert f"/{ADMINISTRATORS_GROUP}/platform admins" in plan["groups"]


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
    without = realm_of(minimal())
    with_one = realm_of(identity_of("prod").model_copy(update={"providers": {}}))
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
