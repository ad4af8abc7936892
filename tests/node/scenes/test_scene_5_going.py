"""Scene 5: what ends, and what goes on: sign-outs, idle notebooks, and rights that somebody has no longer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from .keycloak import PASSWORD
from .pages import Seen
from .site import HUB_URL, URLS, Site
from .stack import CULL_SECONDS, IDLE_SECONDS, REFRESH_SECONDS
from .visitor import Visitor
from .waiting import until

pytestmark = [pytest.mark.xdist_group("node"), pytest.mark.seconds(360)]

# JupyterLab takes the minute after a page was opened for somebody's presence, and looks every 30 seconds.
_BANNER_SECONDS = 60 + IDLE_SECONDS + 60
_CULLED_SECONDS = IDLE_SECONDS + 3 * CULL_SECONDS
# A request at the hub asks Keycloak again only after that time; the next one shows it.
_REFRESHED_SECONDS = REFRESH_SECONDS + 30


def test_a_sign_out_ends_the_sessions_of_hub_and_keycloak(
    site: Site, person: Callable[..., str], seen: Callable[[], Seen]
) -> None:
    name = person("/vision/developer")
    somebody = seen()
    somebody.open_hub()
    somebody.sign_in(name, PASSWORD)
    expect(somebody.tab).to_have_url(re.compile(re.escape(HUB_URL)))
    assert site.keycloak.sessions(name)

    somebody.sign_out()
    until(lambda: not site.keycloak.sessions(name), "Keycloak's session ends")
    somebody.tab.goto(f"{HUB_URL}/hub/home")
    expect(somebody.tab).to_have_url(re.compile(re.escape(URLS.sign_in)))
    expect(somebody.tab.locator("#password")).to_be_visible()


def test_idle_notebooks_and_old_rights_end_and_work_goes_on(
    site: Site, visitor: Callable[..., Visitor], person: Callable[..., str], seen: Callable[[], Seen]
) -> None:
    """All in one, because each part waits for a minute or more."""
    computing, typing = visitor("/vision/developer"), visitor("/vision/developer")
    moving, leaving = visitor("/vision/developer"), visitor("/vision/developer")
    kernel = computing.started("vision_brief").kernel()
    kernel.begin("import time; time.sleep(600)")
    typing.started("vision_brief").type_in_terminal("sleep 600")
    worked_since = time.monotonic()

    idle = seen()
    idle.open_hub()
    name = person("/vision/developer")
    idle.sign_in(name, PASSWORD)
    idle.open_form()
    idle.start("Brief")
    lab = idle.in_lab()

    # Another team and role count at the next refresh; so does having none.
    site.keycloak.join(moving.name, "/research/data-scientist")
    for somebody in (moving, leaving):
        site.keycloak.leave(somebody.name, "/vision/developer")
    offered = {f"research_{profile}" for profile in ("python", "pytorch-share", "brief", "mistyped", "light")}
    until(lambda: profiles(moving) == offered, "the form of the other team", seconds=_REFRESHED_SECONDS)
    until(lambda: not profiles(leaving), "the form is closed", seconds=_REFRESHED_SECONDS)

    banner = until(lambda: lab.banner, "the notice in JupyterLab", seconds=_BANNER_SECONDS)
    assert "nobody has used it since" in banner
    lab.pictures.take(lab.tab, "ends-soon")
    until(lambda: not site.notebook("vision", name), "the idle notebook ends", seconds=_CULLED_SECONDS)

    # Longer than the idle time, and by so many rounds of the culler.
    rest = _CULLED_SECONDS - (time.monotonic() - worked_since)
    time.sleep(max(rest, 0))
    assert site.notebook("vision", computing.name), "the notebook with a busy kernel has ended"
    assert site.notebook("vision", typing.name), "the notebook with a command in a terminal has ended"
    assert kernel.state == "busy"


def profiles(person: Visitor) -> set[str]:
    return person.open("/hub/spawn").profiles
