"""Sign-in with one generated token, without Keycloak: for a lab that the internet does not reach."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub.handlers import BaseHandler
from jupyterhub.user import User
from tornado.web import Application, HTTPError
from traitlets import Instance, Set, Unicode

from . import verify_account
from .authenticator import REPORTS
from .catalogue import Catalogue
from .people import groups_of_names

PAUSE_SECONDS = 2.0
"""How long a wrong token waits for its answer."""
MOST_WAITING = 10
"""How many wrong ones wait at the same time; meanwhile no other is looked at."""

_TRY_LATER = "Too many wrong tokens at the same time. Try again in some seconds."


class TokenAuthenticator(SharedPasswordAuthenticator):
    """JupyterHub's own for one password, which compares in constant time; here it is the token.

    Whoever has the token can sign in as each of the people that the stack file names, and as nobody else.
    """

    catalogue = Instance(Catalogue, help="The teams, and who is in them.").tag(config=True)
    admin_groups = Set(Unicode(), help="Groups of JupyterHub's administrators.").tag(config=True)

    _waiting = 0

    def get_handlers(self, app: Application) -> list[Any]:
        """The handlers of sign-in and sign-out, and the one for notebooks' reports."""
        return [*super().get_handlers(app), REPORTS]

    async def authenticate(self, handler: BaseHandler | None, data: Mapping[str, str]) -> dict[str, Any] | None:
        """Who signs in; None for a wrong token, after a pause. Raises HTTPError (429) while many are wrong."""
        if self._waiting >= MOST_WAITING:
            raise HTTPError(HTTPStatus.TOO_MANY_REQUESTS, _TRY_LATER)
        name, token = self.normalize_username(data.get("username", "")), data.get("password", "")
        # Other texts can't be compared in constant time.
        if token.isascii() and await super().authenticate(handler, {"username": name, "password": token}):
            return self._model(name)
        self._waiting += 1
        try:
            await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._waiting -= 1
        return None

    async def refresh_user(self, user: User, handler: BaseHandler | None = None, **kwargs: Any) -> Any:
        """People whom the stack file names no more, or who came with another token, must sign in again."""
        if user.name == verify_account.NAME:
            return await verify_account.refreshed(user, self.catalogue)
        state = await user.get_auth_state() or {}
        if user.name not in self.allowed_users or state.get("token") != self._digest:
            return False
        return self._model(user.name)

    def _model(self, name: str) -> dict[str, Any]:
        sign_in = self.catalogue.hub.sign_in
        groups = groups_of_names([name], sign_in) if sign_in else set()
        admin = bool(groups & self.admin_groups)
        return {"name": name, "admin": admin, "groups": sorted(groups), "auth_state": {"token": self._digest}}

    @property
    def _digest(self) -> str:
        return hashlib.sha256((self.user_password or "").encode()).hexdigest()
