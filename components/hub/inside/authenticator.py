"""Sign-in by Keycloak's realm: PKCE, groups of teams, one sign-out for all tools."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from jupyterhub.apihandlers.users import ActivityAPIHandler
from jupyterhub.handlers import BaseHandler
from jupyterhub.user import User
from oauthenticator.generic import GenericOAuthenticator
from oauthenticator.oauth2 import OAuthenticator, OAuthLogoutHandler
from tornado.httpclient import HTTPClientError
from tornado.web import Application
from traitlets import Dict, Instance, Unicode

from . import github, refusals, verify_account
from .catalogue import Catalogue
from .people import hub_groups
from .refused import Refused

# Keycloak's own failure, or a failed connection (tornado's 599). For a failing provider Keycloak answers 502.
_KEYCLOAK_IS_AWAY = (HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.SERVICE_UNAVAILABLE, 599)


class SignOutHandler(OAuthLogoutHandler):
    """Ends the session in Keycloak too, and so in every tool. Then people are back at the hub's sign-in."""

    async def handle_logout(self) -> None:
        """Keeps the token by which Keycloak knows the session, while the hub still knows the user."""
        await super().handle_logout()
        user = self.current_user
        state = await user.get_auth_state() if user else None
        self._id_token = (state or {}).get("id_token")

    async def render_logout_page(self) -> None:
        """Without the token Keycloak asks the person to confirm."""
        assert isinstance(self.authenticator, KeycloakAuthenticator)
        self.redirect(self.authenticator.sign_out_url(self._id_token))


class ReportHandler(ActivityAPIHandler):
    """Receives the notebooks' reports that somebody works in them.

    Reports continue after the person's sign-in has expired, for example at night, and do not show that the person is
    there. So they neither need a valid sign-in nor extend one.
    """

    async def refresh_auth(self, user: User, force: bool = False) -> User:
        """Takes the person as known."""
        return user


REPORTS = (r"/api/users/([^/]+)/activity", ReportHandler)
"""Before the hub's own handler of that path."""


class TeamsAuthenticator(OAuthenticator):
    """What sign-in by another service has in common: only people of teams, and each time those of now."""

    catalogue = Instance(Catalogue, help="The teams, and who may sign in.").tag(config=True)

    def get_handlers(self, app: Application) -> list[Any]:
        """The handlers of sign-in and sign-out, and the one for notebooks' reports."""
        return [*super().get_handlers(app), REPORTS]

    async def update_auth_model(self, auth_model: dict[str, Any]) -> dict[str, Any]:
        """Sets admin to False for who is not an administrator: without it JupyterHub keeps what it noted before."""
        auth_model = await super().update_auth_model(auth_model)
        auth_model["admin"] = bool(auth_model["admin"])
        return auth_model

    async def refresh_user(self, user: User, handler: BaseHandler | None = None, **kwargs: Any) -> Any:
        """Asks the service again. People who may no longer sign in must sign in again, which then says why not.

        While it cannot be reached, people stay who they were.
        """
        if user.name == verify_account.NAME:
            return await verify_account.refreshed(user, self.catalogue)
        try:
            refreshed = await super().refresh_user(user, handler, **kwargs)
            if isinstance(refreshed, dict) and not await self.check_allowed(user.name, refreshed):
                self.log.warning("%s may no longer sign in", user.name)
                return False
        except Refused as refusal:
            self.log.warning("%s may no longer sign in: %s", user.name, refusal)
            return False
        except (HTTPClientError, OSError) as error:
            self.log.warning(
                "%s can't be asked about %s, who stays as before: %s", self.login_service, user.name, error
            )
            return True
        return refreshed


class KeycloakAuthenticator(TeamsAuthenticator, GenericOAuthenticator):
    """People of the realm who are in a team, and the platform's administrators.

    Keycloak asks the provider of somebody's sign-in in turn: who is no longer known there must sign in there. A
    provider that does not answer looks the same from here.
    """

    logout_handler = SignOutHandler

    end_session_url = Unicode(help="Keycloak's address for signing out, as browsers see it.").tag(config=True)
    broker_url = Unicode(help="Where Keycloak gives a person's token at a provider, without its name.").tag(config=True)
    return_url = Unicode(help="Where people go after they sign out.").tag(config=True)

    _asking: Dict[tuple[str, str], asyncio.Future[str | None]] = Dict(
        help="Requests to a provider that are not answered yet."
    )

    def sign_out_url(self, id_token: str | None) -> str:
        """RP-Initiated Logout 1.0. The realm's client knows the return address."""
        hint = {"id_token_hint": id_token} if id_token else {}
        back = {"client_id": self.client_id, "post_logout_redirect_uri": self.return_url}
        return f"{self.end_session_url}?{urlencode({**hint, **back})}"

    async def get_user_groups(self, auth_state: dict[str, Any]) -> set[str]:
        """The person's groups in the hub, from the current claims."""
        return hub_groups(auth_state[self.user_auth_state_key], self.catalogue.teams)

    async def check_allowed(self, username: str, auth_model: dict[str, Any] | None) -> bool:
        """Whether the person is in a team or an administrator.

        Raises Refused if the provider of the sign-in does not let them in: a page with its reason is what they see.
        """
        if not await super().check_allowed(username, auth_model):
            return False
        if auth_model and (why := await self._refused_by_provider(username, auth_model["auth_state"])):
            raise Refused(why, HTTPStatus.FORBIDDEN)
        return True

    async def _refused_by_provider(self, username: str, auth_state: dict[str, Any]) -> str | None:
        """Why the provider that the person came by does not let them in. A password is only the realm's matter."""
        alias = auth_state[self.user_auth_state_key].get("identity_provider")
        if alias is None:
            return None
        why = refusals.not_known(alias)
        kind = self.catalogue.hub.providers.get(alias)
        if kind is None:
            self.log.warning("%s signed in with %s, which is no longer a provider", username, alias)
        elif kind == "saml":
            # It can be asked only at sign-in, so the session's end is the limit.
            return None
        elif at_provider := await self._asked_once(username, alias, auth_state["access_token"]):
            if kind != "github":
                return None
            access = self.catalogue.hub.github
            if access and await github.is_member(self, at_provider, access):
                return None
            why = refusals.NO_MEMBER_AT_GITHUB
            self.log.warning("%s is not in an organisation or team of GitHub that may sign in", username)
        else:
            self.log.warning("%s, with which %s signed in, no longer knows them, or cannot be asked", alias, username)
        await self._end_session(auth_state.get("refresh_token"))
        return why

    async def _asked_once(self, username: str, alias: str, token: str) -> str | None:
        """The answer of `_token_of_provider`, shared by a person's requests that come at the same time.

        A provider whose refresh tokens work once refuses a second request, which would end the session.
        """
        who = username, alias
        if who not in self._asking:
            self._asking[who] = asyncio.ensure_future(self._token_of_provider(alias, token))
            self._asking[who].add_done_callback(lambda _: self._asking.pop(who))
        return await asyncio.shield(self._asking[who])

    async def _token_of_provider(self, alias: str, token: str) -> str | None:
        """The person's token at a provider, from Keycloak, which refreshes it there. None: Keycloak has none.

        Raises HTTPClientError when Keycloak can't be asked.
        """
        answer: Any = await self.httpfetch(
            f"{self.broker_url}/{alias}/token",
            "Asking for the token of a provider",
            parse_json=False,
            raise_error=False,
            headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
        )
        if answer.code in _KEYCLOAK_IS_AWAY:
            answer.rethrow()
        return github.token_in(answer.body.decode()) if answer.code == HTTPStatus.OK else None

    async def _end_session(self, refresh_token: str | None) -> None:
        """Ends the session in Keycloak, so that the next sign-in goes to the provider."""
        if refresh_token:
            secret = {"client_id": self.client_id, "client_secret": self.client_secret}
            await self.httpfetch(
                f"{self.token_url.removesuffix('/token')}/logout",
                "Ending the session",
                parse_json=False,
                raise_error=False,
                method="POST",
                headers={"Content-Type": "application/x-www-form-urlencoded"},
                body=urlencode({**secret, "refresh_token": refresh_token}),
            )
