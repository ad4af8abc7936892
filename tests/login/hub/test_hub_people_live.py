"""Signing in to the hub of the lab `dev`: what each person sees there, and who is not let in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from browser import page_text, request
from hub_lab import PASSWORD, HubLab, until

from components.identity.realm.realm import REALM

pytestmark = pytest.mark.seconds(250)


def leave(hub: HubLab, name: str, group: str) -> None:
    id = hub.keycloak.person(name)["id"]
    (found,) = [one for one in hub.keycloak.ask(f"/users/{id}/groups") if one["path"] == group]
    hub.keycloak.admin("DELETE", f"/{REALM}/users/{id}/groups/{found['id']}")


def test_a_person_sees_the_profiles_of_their_role_in_each_of_their_teams(
    hub: HubLab, account: Callable[..., str]
) -> None:
    name = account("/research/data-scientist", "/data-platform/developer")
    person = hub.person()
    assert person.sign_in(name, PASSWORD).status == 200
    page = page_text(person.open("/hub/spawn").text)
    assert "research: Fine-tuning" in page
    assert "data-platform: Spark" in page
    assert "vision:" not in page

    developer = hub.person()
    developer.sign_in(account("/research/developer"), PASSWORD)
    page = page_text(developer.open("/hub/spawn").text)
    assert "PyTorch" in page
    assert "Fine-tuning" not in page, "it is for data scientists"
    assert "research:" not in page, "with one team, its name is left out"


def test_who_is_in_no_team_is_not_let_in(hub: HubLab, account: Callable[..., str]) -> None:
    person = hub.person()
    refused = person.sign_in(account(), PASSWORD)
    assert refused.status == 403
    assert "you are not in a team" in page_text(refused.text)
    assert person.open("/hub/home").asks_for("username") or person.open("/hub/home").status == 403


def test_nobody_gets_in_by_another_way(hub: HubLab) -> None:
    person = hub.person()
    page = person.open("/hub/login")
    assert page.asks_for("password"), "that of Keycloak"
    assert hub.keycloak.public in page.form[0]
    for path in ("/hub/login", "/hub/signup"):
        answer, cookies = request("POST", f"{hub.url}{path}", data={"username": "admin", "password": "admin"})
        assert answer.status in (403, 404, 405), (path, answer.status)
        assert not any("login" in one for one in cookies)
    assert request("GET", f"{hub.url}/hub/api/users")[0].status == 403


def test_the_platforms_administrators_are_the_hubs_and_a_teams_are_not(
    hub: HubLab, account: Callable[..., str]
) -> None:
    person = hub.person()
    person.sign_in(account(roles=("administrator",)), PASSWORD)
    assert "/hub/admin" in person.open("/hub/home").text
    assert person.open("/hub/admin").status == 200
    assert person.api("/users").status == 200
    # The notebooks are of one origin with the hub, as there is no domain: one that an administrator opens acts as they.
    scopes = person.api("/user").json["scopes"]
    assert "servers" in scopes
    assert "access:servers" not in scopes
    of_team = hub.person()
    of_team.sign_in(account("/research/administrator"), PASSWORD)
    assert of_team.open("/hub/home").status == 200
    assert of_team.open("/hub/admin").status == 403


def test_who_leaves_the_team_is_out_at_once(hub: HubLab, account: Callable[..., str]) -> None:
    name = account("/research/developer", "/vision/developer")
    person = hub.person()
    person.sign_in(name, PASSWORD)
    assert "research:" in page_text(person.open("/hub/spawn").text)

    leave(hub, name, "/research/developer")
    until(lambda: "research:" not in page_text(person.open("/hub/spawn").text), "the team's profiles are gone")
    assert person.open("/hub/spawn").status == 200
    leave(hub, name, "/vision/developer")
    until(lambda: person.open("/hub/spawn").status == 403, "nothing is left")
    assert "you are not in a team" in page_text(person.open("/hub/spawn").text)


def test_signing_out_ends_the_session_everywhere(hub: HubLab, account: Callable[..., str]) -> None:
    name = account("/research/developer")
    person = hub.person()
    person.sign_in(name, PASSWORD)
    id = hub.keycloak.person(name)["id"]
    assert len(hub.keycloak.ask(f"/users/{id}/sessions")) == 1
    after = person.open("/hub/logout")
    assert hub.keycloak.ask(f"/users/{id}/sessions") == []
    assert after.asks_for("password"), f"at the door again, not {page_text(after.text)[:300]}"


def test_a_session_that_ended_elsewhere_ends_here(hub: HubLab, account: Callable[..., str]) -> None:
    name = account("/research/developer")
    person = hub.person()
    person.sign_in(name, PASSWORD)
    hub.keycloak.admin("POST", f"/{REALM}/users/{hub.keycloak.person(name)['id']}/logout")
    until(lambda: person.open("/hub/home").asks_for("password"), "the hub asks to sign in again")
