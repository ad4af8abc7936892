"""The realms of dev and prod in a real Keycloak: as intended, and unchanged when applied again."""

from __future__ import annotations

import subprocess
from typing import NamedTuple

import pytest
from browser import Answer, Browser, Tool
from keycloak_lab import PROJECT, TODAY, KeycloakLab, addresses_of, identity_of

import settings
from components.identity.realm.accounts import MARK, accounts_plan
from components.identity.realm.apply_accounts import NO_ACCOUNT
from components.identity.realm.people import REALM_ADMINISTRATOR
from components.identity.realm.realm import REALM, password_policy, realm
from components.platform_urls import PlatformUrls
from settings import Identity
from settings.people.identity import BruteForce
from settings.people.values import ROLES

EVERYTHING = PROJECT / "tests" / "stacks" / "everything.happy.yaml"


class Applied(NamedTuple):
    """What was applied, with the secrets that the realm has, and where people find the platform."""

    identity: Identity
    secrets: dict[str, str]
    urls: PlatformUrls


@pytest.fixture(scope="module", params=["dev", "prod"])
def applied(request: pytest.FixtureRequest, keycloak: KeycloakLab) -> Applied:
    """A stack's identity section, applied to an empty server with a team."""
    identity, urls = identity_of(request.param), addresses_of(request.param)
    keycloak.forget()
    return Applied(identity, keycloak.apply(identity, urls, teams=("vision",)), urls)


def clients(keycloak: KeycloakLab) -> dict[str, dict]:
    return {client["clientId"]: client for client in keycloak.ask("/clients")}


def test_clients_take_codes_with_pkce_alone(keycloak: KeycloakLab, applied: Applied) -> None:
    identity, secrets, urls = applied
    found = clients(keycloak)
    for name in ("jupyterhub", "grafana", *identity.clients):
        client = found[name]
        assert client["standardFlowEnabled"]
        assert not client["directAccessGrantsEnabled"]
        assert not client["implicitFlowEnabled"]
        assert not client["serviceAccountsEnabled"]
        assert not client["publicClient"]
        assert not client["fullScopeAllowed"]
        assert client["attributes"]["pkce.code.challenge.method"] == "S256"
        assert not any("*" in uri for uri in client["redirectUris"])
        assert "offline_access" not in client["optionalClientScopes"] + client["defaultClientScopes"]
        assert (
            keycloak.ask(f"/clients/{client['id']}/client-secret")["value"] == secrets[f"CLIENT_{name.upper()}_SECRET"]
        )
    platform = urls.platform
    assert found["jupyterhub"]["redirectUris"] == [f"{platform}/jupyter/hub/oauth_callback"]
    assert found["jupyterhub"]["attributes"]["post.logout.redirect.uris"] == f"{platform}/jupyter/"


def test_no_client_at_all_takes_passwords(keycloak: KeycloakLab, applied: Applied) -> None:
    assert [name for name, client in clients(keycloak).items() if client["directAccessGrantsEnabled"]] == []


def test_roles_and_groups_are_there(keycloak: KeycloakLab, applied: Applied) -> None:
    assert set(ROLES) <= {role["name"] for role in keycloak.ask("/roles")}
    assert {f"/{team}/{role}" for team in ("research", "vision") for role in ROLES} <= keycloak.all_groups()
    scientists = keycloak.ask("/group-by-path/vision/data-scientist")
    assert [role["name"] for role in keycloak.ask(f"/groups/{scientists['id']}/role-mappings/realm")] == [
        "data-scientist"
    ]


def test_a_teams_administrator_is_not_the_platforms(keycloak: KeycloakLab, applied: Applied) -> None:
    group = keycloak.ask("/group-by-path/vision/administrator")
    assert keycloak.ask(f"/groups/{group['id']}/role-mappings") == {}


def test_administrators_administer_the_realm(keycloak: KeycloakLab, applied: Applied) -> None:
    identity = applied.identity
    for email in identity.administrators:
        person = keycloak.person(email)
        assert person["requiredActions"] == ["UPDATE_PASSWORD"]
        assert "administrator" in roles_of(keycloak, email)
        management = keycloak.ask("/clients?clientId=realm-management")[0]["id"]
        able = keycloak.ask(f"/users/{person['id']}/role-mappings/clients/{management}/composite")
        assert "realm-admin" in [role["name"] for role in able]


def test_policies_are_as_meant(keycloak: KeycloakLab, applied: Applied) -> None:
    identity = applied.identity
    realm = keycloak.ask("")
    assert realm["registrationAllowed"] is False
    assert realm["passwordPolicy"] == password_policy(identity.password_policy)
    assert realm["bruteForceProtected"] is True
    assert realm["failureFactor"] == identity.brute_force.max_failures
    assert realm["ssoSessionIdleTimeout"] == identity.sessions.idle_minutes * 60
    assert realm["ssoSessionMaxLifespan"] == identity.sessions.max_hours * 3600
    assert realm["eventsEnabled"]
    assert realm["adminEventsEnabled"]
    assert realm["eventsExpiration"] == identity.events.retention_days * 86400
    assert realm["attributes"]["adminEventsExpiration"] == str(identity.events.retention_days * 86400)
    assert realm.get("smtpServer", {}).get("host") == (identity.mail.host if identity.mail else None)


def test_providers_and_directory_are_as_meant(keycloak: KeycloakLab, applied: Applied) -> None:
    identity = applied.identity
    found = {one["alias"]: one for one in keycloak.ask("/identity-provider/instances")}
    assert found.keys() == identity.providers.keys()
    for name, provider in identity.providers.items():
        assert found[name]["providerId"] == provider.kind
        if provider.hosted_domain:
            assert found[name]["config"]["hostedDomain"] == provider.hosted_domain
    directories = keycloak.ask("/components?type=org.keycloak.storage.UserStorageProvider")
    assert len(directories) == (1 if identity.ldap else 0)
    for directory in directories:
        assert directory["config"]["editMode"] == ["READ_ONLY"]
        mappers = {one["name"]: one for one in keycloak.ask(f"/components?parent={directory['id']}")}
        assert "username" in mappers, "Keycloak's own mappers are gone"
        assert mappers["group ml-research"]["config"]["groups.path"] == ["/research/data-scientist"]
        assert "/research/data-scientist/ml-research" in keycloak.all_groups()


def test_browser_flow_asks_for_a_code_where_it_is_required(keycloak: KeycloakLab, applied: Applied) -> None:
    page = first_page_after_password(keycloak, applied, Browser(keycloak.public))
    assert page.asks_for("totpSecret") is (applied.identity.totp == "required")
    assert page.asks_for("password-new") is (applied.identity.totp != "required")


def first_page_after_password(keycloak: KeycloakLab, applied: Applied, browser: Browser) -> Answer:
    identity, secrets, urls = applied
    callback = f"{urls.platform}/jupyter/hub/oauth_callback"
    tool = Tool(keycloak.realm_url, "jupyterhub", secrets["CLIENT_JUPYTERHUB_SECRET"], callback)
    email = identity.administrators[0]
    first_password = secrets[next(name for name in secrets if name.startswith("PASSWORD_"))]
    return browser.submit(browser.go(tool.address()), username=email, password=first_password)


def test_applied_twice_changes_nothing(keycloak: KeycloakLab, applied: Applied) -> None:
    identity, _, urls = applied
    before = keycloak.everything()
    keycloak.apply(identity, urls, teams=("vision",))
    assert keycloak.everything() == before


# What changes a realm does so alike for all stacks, and takes a while.
of_one_stack = pytest.mark.parametrize("applied", ["dev"], indirect=True)


class Changed(NamedTuple):
    """What existed before a change, and what was changed."""

    applied: Applied
    administrator: str
    people: set[str]


OTHERS = ("came-before", "named")
IN_CHARGE = {"administrator", REALM_ADMINISTRATOR}


@pytest.fixture(scope="module")
def changed(keycloak: KeycloakLab, applied: Applied) -> Changed:
    """Another team, other locks and more administrators, after people have worked with the realm."""
    identity, _, urls = applied
    for number, group in enumerate(("/vision/developer", "/research/developer")):
        keycloak.admin("POST", f"/{REALM}/users", {"username": f"member-{number}", "enabled": True, "groups": [group]})
    keycloak.admin("POST", f"/{REALM}/groups", {"name": "made-by-hand"})
    parent = keycloak.ask("/group-by-path/research/developer")
    keycloak.admin("POST", f"/{REALM}/groups/{parent['id']}/children", {"name": "night shift"})
    at_night = {"username": "at-night", "enabled": True, "groups": ["/research/developer/night shift"]}
    keycloak.admin("POST", f"/{REALM}/users", at_night)
    gone = {"name": "gone", "attributes": {MARK[0]: [MARK[1]]}}
    keycloak.admin("POST", f"/{REALM}/groups/{parent['id']}/children", gone)
    # People who came another way: one has the e-mail address of an administrator, another is named.
    for name in OTHERS:
        account = {"username": name, "email": f"{name}@example.com", "emailVerified": True, "enabled": True}
        keycloak.admin("POST", f"/{REALM}/users", account)
    administrator = identity.administrators[0]
    person = keycloak.person(administrator)
    keycloak.admin("PUT", f"/{REALM}/users/{person['id']}", {**person, "firstName": "Chosen", "requiredActions": []})
    people = {one["id"] for one in keycloak.ask("/users")}

    more = (*identity.administrators, "Came-Before@example.com", "named", "/research/administrator")
    locks = BruteForce(maxFailures=7)  # type: ignore[call-arg]
    identity = identity.model_copy(update={"brute_force": locks, "administrators": more})
    keycloak.apply(identity, urls, teams=("speech",))
    return Changed(applied, administrator, people)


@of_one_stack
def test_a_change_removes_the_group_of_a_team_that_is_gone_and_leaves_people_alone(
    keycloak: KeycloakLab, changed: Changed
) -> None:
    assert keycloak.ask("")["failureFactor"] == 7
    assert {path.split("/")[1] for path in keycloak.all_groups()} >= {"research", "speech", "made-by-hand"}
    assert not any(path.startswith("/vision") for path in keycloak.all_groups())
    assert keycloak.groups_of("member-0") == set()
    assert keycloak.groups_of("member-1") == {"/research/developer"}
    assert {one["id"] for one in keycloak.ask("/users")} == changed.people
    after = keycloak.person(changed.administrator)
    assert after["firstName"] == "Chosen"
    assert after["requiredActions"] == []


@of_one_stack
def test_what_was_made_by_hand_within_a_team_stays_and_what_was_the_stacks_goes(
    keycloak: KeycloakLab, changed: Changed
) -> None:
    assert keycloak.groups_of("at-night") == {"/research/developer/night shift"}
    assert "/research/developer/gone" not in keycloak.all_groups()


@of_one_stack
def test_administrators_are_the_accounts_that_exist_as_long_as_they_are_named(
    keycloak: KeycloakLab, changed: Changed
) -> None:
    for name in OTHERS:
        assert roles_of(keycloak, name) >= IN_CHARGE
    group = keycloak.ask("/group-by-path/research/administrator")
    assert {role["name"] for role in keycloak.ask(f"/groups/{group['id']}/role-mappings/realm")} == IN_CHARGE

    keycloak.apply(changed.applied.identity, changed.applied.urls, teams=("speech",))

    for name in OTHERS:
        assert not roles_of(keycloak, name) & IN_CHARGE
    assert keycloak.ask(f"/groups/{group['id']}/role-mappings") == {}
    assert roles_of(keycloak, changed.administrator) >= IN_CHARGE


@of_one_stack
def test_an_administrator_whom_nobody_vouches_for_ends_the_job_with_a_reason_and_the_next_one_goes_on(
    keycloak: KeycloakLab, changed: Changed
) -> None:
    def apply_to(administrator: str) -> subprocess.CompletedProcess[str]:
        identity = changed.applied.identity.model_copy(update={"administrators": (administrator,)})
        groups = realm(identity, changed.applied.urls, ("speech",))["groups"]
        return keycloak.apply_accounts(accounts_plan(identity, groups))

    done = apply_to("nobody-of-this-name")
    assert done.returncode == NO_ACCOUNT
    assert "neither the realm nor a directory has an account named nobody-of-this-name" in done.stderr

    claimed = {"username": "claims", "email": "late@example.com", "emailVerified": False, "enabled": True}
    keycloak.admin("POST", f"/{REALM}/users", claimed)
    done = apply_to("late@example.com")
    assert done.returncode == NO_ACCOUNT
    assert "the account claims has the e-mail address late@example.com, which is not verified" in done.stderr
    assert not roles_of(keycloak, "claims") & IN_CHARGE

    person = keycloak.person("claims")
    keycloak.admin("PUT", f"/{REALM}/users/{person['id']}", {**person, "emailVerified": True})
    done = apply_to("late@example.com")
    assert done.returncode == 0, done.stderr
    assert roles_of(keycloak, "claims") >= IN_CHARGE


def roles_of(keycloak: KeycloakLab, name: str) -> set[str]:
    """All that somebody has, by groups too."""
    path = f"/users/{keycloak.person(name)['id']}/role-mappings/realm/composite"
    return {role["name"] for role in keycloak.ask(path)}


def test_every_kind_of_provider_and_client_is_taken(keycloak: KeycloakLab) -> None:
    stack = settings.on_eks(settings.check_stack_file(EVERYTHING, "lab", TODAY))
    everything = stack.identity
    assert everything is not None
    keycloak.forget()
    keycloak.apply(everything, PlatformUrls.of(stack.ingress.domain))
    found = clients(keycloak)
    assert found["page"]["publicClient"]
    assert found["page"]["attributes"]["pkce.code.challenge.method"] == "S256"
    kinds = {one["alias"]: one["providerId"] for one in keycloak.ask("/identity-provider/instances")}
    assert kinds == {name: provider.kind for name, provider in everything.providers.items()}
    for name, provider in everything.providers.items():
        mappers = keycloak.ask(f"/identity-provider/instances/{name}/mappers")
        in_groups = [mapper["config"]["group"] for mapper in mappers if "group" in mapper["config"]]
        assert set(in_groups) == set(provider.all_groups)
        assert set(provider.all_groups) <= keycloak.all_groups()
    assert keycloak.ask("/clients?clientId=mlflow")[0]["redirectUris"] == ["https://mlflow.lab.example.com/callback"]
