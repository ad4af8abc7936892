"""The hub's service for verify, and the API by which it begins a run: the user, and a token that ends with the run.

JupyterHub's own API makes a token of a user only for services that may make tokens of every user.
"""

from __future__ import annotations

import json
import os
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.roles import assign_default_roles
from tornado.web import HTTPError

from .verify_account import API_PATH, NAME, SERVICE, TOKEN_KEY

_TOKEN = Path("/usr/local/etc/jupyterhub/existing-secret") / TOKEN_KEY
SCOPES = tuple(f"{scope}!user={NAME}" for scope in ("read:users", "delete:users", "servers"))
"""What the service may do: all of it concerns only that user."""
PATH = f"/api/{API_PATH}"
TOKEN_SCOPES = tuple(f"{scope}!user={NAME}" for scope in ("read:users", "servers", "access:servers"))
"""What the token of a run opens: the user's own notebook, and nothing else."""
MOST_SECONDS = 24 * 3600


def service(c: Any) -> None:
    """Adds the service, its rights and its API, if it has a token."""
    token = _TOKEN.read_text(encoding="utf-8") if _TOKEN.exists() else os.environ.get("VERIFY_TOKEN", "")
    if not token:
        return
    role = {"name": SERVICE, "services": [SERVICE], "scopes": list(SCOPES)}
    c.JupyterHub.services = [*c.JupyterHub.get("services", []), {"name": SERVICE, "api_token": token}]
    c.JupyterHub.load_roles = [*c.JupyterHub.get("load_roles", []), role]
    c.JupyterHub.extra_handlers = [*c.JupyterHub.get("extra_handlers", []), (PATH, RunsHandler)]


class RunsHandler(APIHandler):
    """Begins runs. Only the service may use it."""

    async def prepare(self) -> None:
        """Raises HTTPError (403) for everybody except the service."""
        await super().prepare()
        asking: Any = self.current_user
        if getattr(asking, "kind", None) != "service" or asking.name != SERVICE:
            raise HTTPError(HTTPStatus.FORBIDDEN, "Only the service for verify may use this")

    async def post(self) -> None:
        """A token for as many `seconds`. Raises HTTPError: 409 while another run's notebook is there, 400."""
        seconds = (self.get_json_body() or {}).get("seconds")
        if not isinstance(seconds, int) or not 0 < seconds <= MOST_SECONDS:
            raise HTTPError(HTTPStatus.BAD_REQUEST, f"seconds must be a number from 1 to {MOST_SECONDS}")
        if user := self.find_user(NAME):
            if any(one.active for one in user.spawners.values()):
                text = "another run's notebook is there: wait for its end, or delete the user on the hub's admin page"
                raise HTTPError(HTTPStatus.CONFLICT, text)
            # What a run has left that ended without its cleaner.
            for token in list(user.api_tokens):
                self.db.delete(token)
            self.db.commit()
        user: Any = self.user_from_username(NAME)
        # One that the hub has made at its start, because it may sign in, has none before its first sign-in.
        assign_default_roles(self.db, entity=user.orm_user)
        token = user.new_api_token(note="A run of verify", scopes=list(TOKEN_SCOPES), expires_in=seconds)
        self.set_status(HTTPStatus.CREATED)
        self.finish(json.dumps({"token": token}))
