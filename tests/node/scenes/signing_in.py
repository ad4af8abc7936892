"""What must hold of every sign-in: who gets in, with what, and who does not."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs, urlencode, urlsplit

import requests

from components.identity.realm.clients import HUB_CLIENT
from components.identity.realm.realm import REALM

from .site import HUB_URL, URLS
from .visitor import Visitor

VISION = {f"vision_{profile}" for profile in ("python", "brief", "mistyped", "light")}
"""What the form offers a developer of the team vision."""


def member_sees_profiles(visitor: Callable[..., Visitor]) -> None:
    """Fails if a developer of the team vision is not let in, or offered anything else than that team's profiles."""
    offered = visitor("/vision/developer").open("/hub/spawn").profiles
    assert offered == VISION, f"the form offers {sorted(offered)}"


def stranger_is_refused(person: Callable[..., str]) -> None:
    """Fails if somebody is let in who is in no team."""
    page = Visitor().sign_in(person())
    assert page.status == 403, f"somebody without a team was answered with {page.status}: {page.words[:300]}"
    assert "you are not in a team" in page.words


def sign_in_needs_a_challenge() -> None:
    """Fails if Keycloak begins a sign-in without PKCE, whose code a thief could redeem."""
    asked = {
        "client_id": HUB_CLIENT,
        "redirect_uri": f"{HUB_URL}/hub/oauth_callback",
        "response_type": "code",
        "scope": "openid",
        "state": "some-state",
    }
    url = f"{URLS.sign_in}/realms/{REALM}/protocol/openid-connect/auth?{urlencode(asked)}"
    answer = requests.get(url, verify=False, timeout=60, allow_redirects=False)
    said = parse_qs(urlsplit(answer.headers.get("Location", "")).query)
    assert said.get("error") == ["invalid_request"], f"a sign-in without PKCE was answered with {answer.status_code}"
