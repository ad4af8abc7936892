"""Whether somebody is in an organisation or a team at GitHub, checked with the token that GitHub gave them."""

from __future__ import annotations

import json
from typing import Any, Protocol
from urllib.parse import parse_qs

from tornado.httpclient import HTTPResponse

from .catalogue import GithubAccess

API = "https://api.github.com"
_NO_MEMBER = (401, 403, 404)


class Fetcher(Protocol):
    """The authenticator, which sends the requests."""

    async def httpfetch(self, url: str, label: str = ..., parse_json: bool = ..., **kwargs: Any) -> Any:
        """The answer to a request."""


def token_in(answer: str) -> str | None:
    """The token in Keycloak's answer, which is GitHub's own: JSON or a form. None: it has no token."""
    try:
        return json.loads(answer).get("access_token")
    except ValueError:
        return parse_qs(answer).get("access_token", [None])[0]


async def is_member(fetcher: Fetcher, token: str, access: GithubAccess, api: str = API) -> bool:
    """Whether the token's owner is an active member of one of the organisations or teams.

    Raises HTTPClientError when GitHub can't be asked.
    """

    async def get(path: str) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/vnd.github+json", "User-Agent": "gpulab"}
        answer: HTTPResponse = await fetcher.httpfetch(
            f"{api}{path}", "Asking GitHub", parse_json=False, raise_error=False, headers=headers
        )
        if answer.code in _NO_MEMBER:
            return {}
        answer.rethrow()
        return json.loads(answer.body)

    for organization in access.organizations:
        if (await get(f"/user/memberships/orgs/{organization}")).get("state") == "active":
            return True
    if access.teams and (login := (await get("/user")).get("login")):
        for organization, _, team in (one.partition("/") for one in access.teams):
            membership = await get(f"/orgs/{organization}/teams/{team}/memberships/{login}")
            if membership.get("state") == "active":
                return True
    return False
