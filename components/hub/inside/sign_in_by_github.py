"""Sign-in by GitHub itself, without Keycloak: members of named organisations and teams, in teams of the platform."""

from __future__ import annotations

from typing import Any

from oauthenticator.github import GitHubOAuthenticator

from . import github, refusals
from .authenticator import TeamsAuthenticator
from .people import groups_of_names

NOT_ADMITTED = (
    "You may not sign in here: GitHub does not show that you are an active member of an organisation or team that may, "
    "or you are in no team of the platform. Ask an administrator of the platform (hub.github, hub.members), and sign "
    f"in again. {refusals.APPS_RESTRICTED}"
)


class GithubAuthenticator(TeamsAuthenticator, GitHubOAuthenticator):
    """JupyterHub's own, with the platform's groups. The teams that it reads at GitHub (`ORG/TEAM`) may be members."""

    async def get_user_groups(self, auth_state: dict[str, Any]) -> set[str]:
        """The person's groups in the hub, from their login and their teams at GitHub."""
        sign_in = self.catalogue.hub.sign_in
        login = auth_state[self.user_auth_state_key]["login"]
        teams = (f"{one['organization']['login']}/{one['slug']}" for one in auth_state.get("teams") or ())
        return groups_of_names((login, *teams), sign_in) if sign_in else set()

    async def check_allowed(self, username: str, auth_model: dict[str, Any] | None) -> bool:
        """Whether the person is in a team or an administrator, and an active member of what may sign in.

        Both are needed: a name in the stack file is nobody's at GitHub without an organisation that vouches for it.
        """
        access = self.catalogue.hub.github
        if not access or not auth_model or not await super().check_allowed(username, auth_model):
            return False
        return await github.is_member(self, auth_model["auth_state"]["access_token"], access, self.github_api)
