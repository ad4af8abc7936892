"""The identity section together with the rest of a stack file: what is accepted, and the warnings."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from platform_lab import config, directory

import settings

TEAM = {"description": "Models", "quota": {"cpu": 8, "memory": 32, "notebooks": 4}, "profiles": ["python"]}
PYTHON = {"displayName": "Python", "image": "quay.io/jupyter/base-notebook:2026-08-03", "cpu": 1, "memory": 2}
GITHUB = {"kind": "github", "clientId": "a", "clientSecret": {"kubernetesSecret": "github", "key": "secret"}}
DOMAIN = {"access": "internet-facing", "domain": "lab.example.com", "cidrs": ["203.0.113.0/24"]}


def load(identity: dict[str, Any], **sections: Any) -> settings.EksSettings:
    given = {"identity": identity, "teams": {"research": TEAM}, "profiles": {"python": PYTHON}, **sections}
    keys = config(**{f"gpulab:{name}": section for name, section in given.items()})
    return settings.on_eks(settings.load(keys, stack="dev", today=datetime.date(2027, 1, 1)))


def seed(*groups: str) -> dict[str, Any]:
    return {"email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace", "groups": groups}


@pytest.mark.parametrize(
    ("beside", "warned"),
    [
        ({}, True),
        ({"seedUsers": {"grace": seed("/research/developer")}}, True),
        ({"administrators": ["ada", "/research/administrator", "boss@example.com"]}, False),
        ({"seedUsers": {"ada": seed()}}, False),
        ({"seedUsers": {"grace": seed("/research/administrator")}}, False),
        ({"providers": {"github": GITHUB}}, False),
        ({"ldap": directory({"ml": "/research/developer"})}, False),
    ],
)
def test_administrators_without_an_account_in_a_new_realm_are_warned_of(beside: dict[str, Any], warned: bool) -> None:
    identity = {"administrators": ["ada", "/research/administrator"], **beside}
    hub = {"github": {"organizations": ["example"]}} if "providers" in beside else {}
    found = [one.message for one in load(identity, ingress=DOMAIN, hub=hub).warnings]
    assert ["Add an e-mail address" in message for message in found] == [True] * warned


@pytest.mark.parametrize("hub", [{"enabled": False}, {"subdomains": False}])
def test_a_tool_may_have_a_name_where_no_persons_name_is(hub: dict[str, Any]) -> None:
    tool = {"board": {"redirectUris": ["https://board.platform.lab.example.com/callback"]}}
    identity = {"administrators": ["boss@example.com"], "clients": tool}
    assert load(identity, ingress=DOMAIN, hub=hub).identity
    with pytest.raises(settings.SettingsError, match=r"is below platform\.lab\.example\.com"):
        load(identity, ingress=DOMAIN)
