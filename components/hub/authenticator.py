"""Sign-in by Keycloak's realm, and by nothing else: PKCE, groups of teams, one sign-out for all tools."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import jwt
from jupyterhub.apihandlers.users import ActivityAPIHandler
from jupyterhub.handlers import BaseHandler
from jupyterhub.user import User
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthLogoutHandler
from tornado.httpclient import HTTPClientError
from tornado.web import Application
from traitlets import Instance, Unicode

from . import github
from .catalogue import Catalogue
from .people import hub_groups


class SignOutHandler(OAuthLogoutHandler):
    """Ends the session in Keycloak too, and so that of every tool. Then people are back at the hub's door."""

    async def handle_logout(self) -> None:
        """Keeps what Keycloak knows the session by, while the hub still knows who it was."""
        await super().handle_logout()
        user = self.current_user
        state = await user.get_auth_state() if user else None
        self._id_token = (state or {}).get("id_token")

    async def render_logout_page(self) -> None:
        """Without the token Keycloak asks whether the person means it."""
        assert isinstance(self.authenticator, KeycloakAuthenticator)
        self.redirect(self.authenticator.sign_out_url(self._id_token))


class ReportHandler(ActivityAPIHandler):
    """Notebooks' reports that somebody works in them.

    They go on when the person's sign-in is over, say in the night, and are no sign that the person is there: so they
    neither need a fresh sign-in nor keep one alive.
    """

    async def refresh_auth(self, user: User, force: bool = False) -> User:
        """Takes the person as known."""
        return user


class KeycloakAuthenticator(GenericOAuthenticator):
    """People of the realm who are in a team, and the platform's administrators."""

    logout_handler = SignOutHandler

    catalogue = Instance(Catalogue, help="Which teams there are, and whom of GitHub's people to let in.").tag(
        config=True
    )
    end_session_url = Unicode(help="Keycloak's address to sign out at, as browsers have it.").tag(config=True)
    broker_url = Unicode(help="Where Keycloak gives a person's token at another provider, without its name.").tag(
        config=True
    )
    return_url = Unicode(help="Where people are after they have signed out.").tag(config=True)

    def get_handlers(self, app: Application) -> list[Any]:
        """Those of sign-in and sign-out, and the one for notebooks' reports."""
        return [*super().get_handlers(app), (r"/api/users/([^/]+)/activity", ReportHandler)]

    def sign_out_url(self, id_token: str | None) -> str:
        """RP-Initiated Logout 1.0. The return address is one that the realm's client has."""
        hint = {"id_token_hint": id_token} if id_token else {}
        back = {"client_id": self.client_id, "post_logout_redirect_uri": self.return_url}
        return f"{self.end_session_url}?{urlencode({**hint, **back})}"

    async def get_user_groups(self, auth_state: dict[str, Any]) -> set[str]:
        """The hub's groups of the person, by the claims of now."""
        return hub_groups(auth_state[self.user_auth_state_key], self.catalogue.teams)

    async def check_allowed(self, username: str, auth_model: dict[str, Any] | None) -> bool:
        """Whether the person is in a team or an administrator, and GitHub's people in the organisation too."""
        if not await super().check_allowed(username, auth_model):
            return False
        return auth_model is None or await self._github_lets_in(username, auth_model["auth_state"])

    async def refresh_user(self, user: User, handler: BaseHandler | None = None, **kwargs: Any) -> Any:
        """Asks Keycloak anew; who is no longer let in has to sign in again, which then says why not.

        While Keycloak is out of reach, people go on as who they were.
        """
        try:
            refreshed = await super().refresh_user(user, handler, **kwargs)
            if isinstance(refreshed, dict) and not await self.check_allowed(user.name, refreshed):
                self.log.warning("%s is let in no more", user.name)
                return False
        except (HTTPClientError, OSError) as error:
            self.log.warning("Keycloak or GitHub can't be asked about %s, who stays as before: %s", user.name, error)
            return True
        return refreshed

    async def _github_lets_in(self, username: str, auth_state: dict[str, Any]) -> bool:
        """Who has ever come by GitHub has a role for it: a password that was set later is no way around."""
        access = self.catalogue.hub.github
        claims = auth_state[self.user_auth_state_key]
        token = auth_state["access_token"]
        alias = claims.get("identity_provider")
        roles = jwt.decode(token, options={"verify_signature": False}).get("resource_access", {})
        linked = "read-token" in roles.get("broker", {}).get("roles", [])
        if not linked and (access is None or alias not in access.providers):
            return True
        if access is None:
            return False
        for provider in [alias] if alias in access.providers else access.providers:
            answer: Any = await self.httpfetch(
                f"{self.broker_url}/{provider}/token",
                "Asking for the token at GitHub",
                parse_json=False,
                raise_error=False,
                headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            )
            at_github = github.token_in(answer.body.decode()) if answer.code == HTTPStatus.OK else None
            if at_github and await github.is_member(self, at_github, access):
                return True
        self.log.warning("%s is in no organisation or team of GitHub's that is let in", username)
        return False
