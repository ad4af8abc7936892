"""Notebooks with their own host names, as with a domain: what a notebook learns about people who open it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from browser import page_text, request
from hub_lab import PASSWORD, HubLab, hub_of, until, variables_of
from keycloak_lab import KeycloakLab, settings_of
from names_lab import Pages, Window

from settings.ingress import Ingress

pytestmark = pytest.mark.seconds(60)

INGRESS = {"access": "internet-facing", "domain": "lab.example.com", "cidrs": ["203.0.113.0/24"]}
PAGES = Pages()


@pytest.fixture(scope="module")
def hub(keycloak: KeycloakLab, teams_of_dev: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubLab]:
    """dev's hub, if dev had a domain."""
    stack = replace(settings_of("dev"), ingress=Ingress.model_validate(INGRESS))
    folder = tmp_path_factory.mktemp("hub")
    with hub_of(
        stack,
        folder,
        keycloak=keycloak,
        administrators=teams_of_dev,
        given={},
        notebook_server=PAGES.listening,
    ) as running:
        yield running


def start(hub: HubLab, name: str) -> tuple[Window, str]:
    """A person signs in and starts a notebook. Returns their browser and the notebook's address."""
    window = Window(hub)
    assert window.sign_in(name, PASSWORD).status == 200
    form = window.go(f"{hub.url}/hub/spawn")
    chosen = window.submit(form, profile="research_python")
    assert chosen.status == 200, page_text(chosen.text)
    (route,) = until(
        lambda: [one for one in hub.routes if one.endswith(f"/jupyter/user/{name}/")], f"{name}'s notebook"
    )
    environments = [variables_of(hub.kubernetes, pod) for pod in hub.pods("team-research")]
    (variables,) = [one for one in environments if one["JUPYTERHUB_USER"] == name]
    PAGES.serve(hub, variables)
    return window, f"http://{route.partition('/')[0]}:{urlsplit(hub.url).port}/jupyter/user/{name}/lab"


@pytest.fixture(scope="module")
def platform(hub: HubLab) -> str:
    return urlsplit(hub.url).hostname or ""


def test_cookies_do_not_cross_from_the_hub_or_from_one_person_to_another(
    hub: HubLab, platform: str, account: Callable[..., str]
) -> None:
    ada_name, bob_name = account("/research/developer"), account("/research/developer", "/vision/developer")
    administrator_name = account(roles=("administrator",))
    (ada, at_ada), (bob, at_bob) = start(hub, ada_name), start(hub, bob_name)
    hosts = {urlsplit(one).hostname or "" for one in (at_ada, at_bob)}
    assert len(hosts) == 2
    assert all(one.partition(".")[2] == platform for one in hosts), "one label below, as the certificate has it"

    # Each gets to their own by the hub's address, too, and to the other's not at all.
    for window, name, address in ((ada, ada_name, at_ada), (bob, bob_name, at_bob)):
        own = window.go(f"{hub.url}/user/{name}/lab")
        assert own.json["person"] == name, page_text(own.text)
        assert window.at.partition("?")[0] == address
    assert bob.go(at_ada).status == 403

    # An administrator opens Ada's notebook, which learns who it is, and gets nothing that opens anything else.
    administrator = Window(hub)
    assert administrator.sign_in(administrator_name, PASSWORD).status == 200
    seen: Any = administrator.authorize(administrator.go(at_ada)).json
    assert seen["person"] == administrator_name
    session = administrator.cookie("hub-login")
    assert session not in seen["cookies"].values()
    assert not [one for one in seen["cookies"] if "hub-login" in one or bob_name in one]
    entrance = {"Authorization": f"token {seen['token']}"}
    api = f"http://localhost:{urlsplit(hub.url).port}/jupyter/hub/api"
    mine = request("GET", f"{api}/user", headers=entrance)[0].json
    assert [one for one in mine["scopes"] if not one.startswith("read:")] == [f"access:servers!server={ada_name}/"]
    assert request("GET", f"{api}/users", headers=entrance)[0].status == 403

    # What the notebook's page asks of the hub in the administrator's browser.
    assert administrator.ask(f"{hub.url}/hub/api/users").status == 200, "the administrator's own page may"
    from_page = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-site", "Origin": at_ada.partition("/jupyter")[0]}
    assert administrator.ask(f"{hub.url}/hub/api/users", **from_page).status == 403
    assert administrator.ask(f"{at_ada.partition('/user/')[0]}/hub/api/users").status == 403

    # A cookie of Ada's that her notebook plants at the hub does not make the administrator Ada.
    planted = ada.cookie("hub-login")
    PAGES.planted = tuple(
        f'{prefix}jupyterhub-hub-login="{planted}"; Domain={platform}; Path={path}; Secure'
        for prefix, path in (("", "/jupyter/hub/"), ("__Host-", "/"))
    )
    assert administrator.go(at_ada.replace("/lab", "/plant")).status == 200
    assert administrator.ask(f"{hub.url}/hub/api/user").json["name"] == administrator_name
    anybody = Window(hub)
    assert anybody.go(at_ada.replace("/lab", "/plant")).status == 200
    assert anybody.go(f"{hub.url}/hub/home").asks_for("username"), "nobody is signed in by what a notebook plants"
