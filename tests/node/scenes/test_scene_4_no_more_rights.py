"""Scene 4: what administrators may do, and that nobody becomes one: no project manager, and no notebook."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from .keycloak import PASSWORD
from .pages import Seen
from .site import HUB_URL, URLS, Site
from .visitor import Visitor
from .waiting import until

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.endurance]

TAKEOVER = Path(__file__).with_name("takeover.js").read_text(encoding="utf-8")
ACCOMPLICE = "mallory"
# As the hub's own pages ask, with the token that is written into them.
OWN_USER = """
hub => fetch(`${hub}/hub/api/user`, {headers: {"X-XSRFToken": window.jhdata.xsrf_token}})
    .then(answer => answer.text())
"""
# What the notebook's own token opens at the hub, tried from a cell.
_FROM_A_CELL = """
import json, os, urllib.error, urllib.request
hub, name = os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_USER"]
tried = {{}}
for method, path in (
    ("GET", "/users"), ("GET", "/users/{other}"), ("POST", "/users/{accomplice}"),
    ("POST", f"/users/{{name}}/tokens"), ("DELETE", "/users/{other}/server"), ("GET", "/gpulab/notebooks"),
):
    headers = {{"Authorization": "token " + os.environ["JUPYTERHUB_API_TOKEN"]}}
    request = urllib.request.Request(hub + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            tried[f"{{method}} {{path}}"] = answer.status
    except urllib.error.HTTPError as error:
        tried[f"{{method}} {{path}}"] = error.code
print(json.dumps(tried))
"""


@pytest.fixture
def administrator(site: Site, person: Callable[..., str]) -> str:
    """A platform administrator."""
    name = person()
    group = next(one for one in site.keycloak.call("GET", "/groups") if one["name"] == "platform administrators")
    site.keycloak.call("PUT", f"/users/{site.keycloak.id_of(name)}/groups/{group['id']}")
    return name


def test_an_administrator_stops_somebodys_notebook(
    site: Site, administrator: str, visitor: Callable[..., Visitor], seen: Callable[[], Seen]
) -> None:
    working = visitor("/vision/developer")
    name = working.name
    working.started("vision_brief")
    ada = seen()
    ada.open_hub()
    ada.sign_in(administrator, PASSWORD)
    ada.tab.goto(f"{HUB_URL}/hub/admin?name_filter={name}")
    row = ada.tab.locator("tr", has_text=name).first
    row.wait_for()
    ada.pictures.take(ada.tab, "administration")
    row.get_by_role("button", name="Stop Server").click()
    until(lambda: not site.notebook("vision", name), "the notebook ends")


def test_a_project_manager_administers_nothing(visitor: Callable[..., Visitor]) -> None:
    manager, working = visitor("/vision/project-manager"), visitor("/vision/developer")
    working.started("vision_brief")
    assert manager.open("/hub/admin").status == 403
    for method, path, content in (
        ("GET", "/users", None),
        ("PATCH", f"/users/{manager.name}", {"admin": True}),
        ("POST", "/groups/administrators/users", {"users": [manager.name]}),
        ("DELETE", f"/users/{working.name}/server", None),
    ):
        with pytest.raises(requests.HTTPError, match=r"403|404"):
            manager.api(method, path, content)
    assert working.notebook().run("print(1)") == "1\n"


def test_a_notebooks_own_token_opens_nothing_else(visitor: Callable[..., Visitor]) -> None:
    other = visitor("/vision/developer")
    other.started("vision_brief")
    hostile = visitor("/vision/developer").started("vision_brief")
    tried: dict[str, int] = json.loads(hostile.run(_FROM_A_CELL.format(other=other.name, accomplice=ACCOMPLICE)))
    assert not {asked: status for asked, status in tried.items() if status < 400}, tried
    assert other.notebook().run("print(1)") == "1\n"


def test_a_hostile_notebook_takes_over_neither_its_owner_nor_an_administrator(
    site: Site,
    administrator: str,
    person: Callable[..., str],
    visitor: Callable[..., Visitor],
    seen: Callable[[], Seen],
) -> None:
    owner = person("/vision/developer")
    victims = [seen(), seen()]
    of_owner, of_administrator = victims
    of_owner.open_hub()
    of_owner.sign_in(owner, PASSWORD)
    of_owner.open_form()
    of_owner.start("Brief")
    address = of_owner.in_lab().tab.url
    assert urlsplit(address).hostname != urlsplit(HUB_URL).hostname, "notebooks are of the hub's origin"

    of_administrator.open_hub()
    of_administrator.sign_in(administrator, PASSWORD)
    of_administrator.tab.goto(address)
    authorize = of_administrator.tab.get_by_role("button", name="Authorize")
    if authorize.count():
        authorize.click()
    of_administrator.in_lab()

    given = {"hub": HUB_URL, "platform": urlsplit(URLS.platform).hostname, "accomplice": ACCOMPLICE}
    for victim, name in ((of_owner, owner), (of_administrator, administrator)):
        got: dict[str, Any] = victim.tab.evaluate(TAKEOVER, given)
        assert not got, got
        # Their own session at the hub is what it was, and opens from the hub's own page what the script asked for.
        victim.tab.goto(f"{HUB_URL}/hub/home")
        own = victim.tab.evaluate(OWN_USER, HUB_URL)
        assert json.loads(own)["name"] == name
    signed_in = Visitor()
    signed_in.sign_in(administrator)
    assert ACCOMPLICE not in {one["name"] for one in signed_in.api("GET", "/users")}
