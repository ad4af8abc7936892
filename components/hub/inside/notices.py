"""What the hub and its culler report to each other about notebooks, and the notices on the home page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.user import User
from tornado.web import HTTPError

from . import node_ends
from .catalogue import Catalogue
from .culling import SERVICE, End, time_of

API_PATH = "/gpulab/notebooks"
PATH = f"/api{API_PATH}"

Ends: TypeAlias = Mapping[tuple[str, str], End]

# From the last round; a hub that has just started knows none until the next one.
_ends: dict[tuple[str, str], End] = {}

_TOKEN_LASTS = timedelta(hours=1)
# By the notebook's user, name and start: a token, and until when it is valid.
_tokens: dict[tuple[str, str, datetime], tuple[str, datetime]] = {}


class EndsHandler(APIHandler):
    """The API for the culler: what it asks and reports. Nobody else may use it."""

    async def prepare(self) -> None:
        """Raises HTTPError (403) for everybody except the culler."""
        await super().prepare()
        asking: Any = self.current_user
        if getattr(asking, "kind", None) != "service" or asking.name != SERVICE:
            raise HTTPError(403, "Only the culler may use this")

    async def get(self) -> None:
        """Every notebook that runs: its owner, its choice, its start, its address, and a token for it.

        Each time the hub also checks when the notebooks' machines end.
        """
        running = [one for user in self.users.values() for one in user.spawners.values() if one.ready]
        if running and (ends := await node_ends.known()) is not None:
            await asyncio.gather(*(one.note_end_of_machine(ends) for one in running))
        # A notebook may have ended meanwhile.
        self.finish(json.dumps([_described(one) for one in running if one.ready]))

    def post(self) -> None:
        """Takes when each notebook will end, in place of what was reported before."""
        reported = read(self.get_json_body() or [])
        _ends.clear()
        _ends.update(reported)
        self.set_status(204)


def document(ends: Ends) -> list[dict[str, str]]:
    """What the culler sends."""
    return [
        {"user": user, "server": server, "at": end.at.isoformat(), "why": end.why, "since": end.since.isoformat()}
        for (user, server), end in ends.items()
    ]


def read(reported: list[dict[str, Any]]) -> Ends:
    """What the culler reported, as this module keeps it."""
    return {
        (one["user"], one["server"]): End(at=time_of(one["at"]), why=one["why"], since=time_of(one["since"]))
        for one in reported
    }


def notices_for(catalogue: Catalogue) -> Callable[[User | None], list[str]]:
    """The function that gives the hub the notices for a page, for people who are signed in or not."""
    warn = timedelta(minutes=catalogue.hub.warn_minutes)

    def of_user(user: User | None) -> list[str]:
        if user is None:
            return []
        now = datetime.now(UTC)
        running = {(user.name, name): one for name, one in user.spawners.items() if one.ready}
        of_machines = {
            key: End(at=one.machine_ends, why="machine", since=now) for key, one in running.items() if one.machine_ends
        }
        own = {key: end for key, end in _ends.items() if key in running}
        return [*notices(own, now, warn), *notices(of_machines, now, warn)]

    return of_user


def notices(ends: Ends, now: datetime, warn: timedelta) -> list[str]:
    """A sentence for each notebook that ends within `warn`."""
    return [notice(server, end, now) for (_, server), end in sorted(ends.items()) if end.is_near(now, warn)]


def notice(server: str, end: End, now: datetime) -> str:
    """What people read about a notebook that ends soon."""
    minutes = max(round((end.at - now).total_seconds() / 60), 0)
    which = f"Your notebook {server}" if server else "Your notebook"
    when = f"{end.at:%H:%M} UTC, in {minutes} {'minute' if minutes == 1 else 'minutes'}"
    if end.why == "lifetime":
        return f"{which} ends at {when}: it has run as long as its profile allows. Save your work, then start it again."
    if end.why == "machine":
        return f"{which} ends at {when}: its machine is replaced. Save your work, then start it again."
    return f"{which} ends at {when}: nobody has used it since {end.since:%H:%M} UTC. Use it to keep it."


def _described(spawner: Any) -> dict[str, str]:
    stored = spawner.orm_spawner
    # The hub's database has times without a zone, in UTC.
    started = stored.started.replace(tzinfo=UTC)
    active = (stored.last_activity or stored.started).replace(tzinfo=UTC)
    return {
        "user": spawner.user.name,
        "server": spawner.name,
        "profile": (stored.user_options or {}).get("profile") or "",
        "started": started.isoformat(),
        "lastActivity": active.isoformat(),
        "url": spawner.server.url,
        "token": _token_of(spawner, datetime.now(UTC)),
    }


def _token_of(spawner: Any, now: datetime) -> str:
    """A token with which the culler asks this notebook, and which opens nothing else.

    The notebook's owner can see it: a token with more rights would give these to whoever controls the server.
    """
    user = spawner.user.name
    key = (user, spawner.name, spawner.orm_spawner.started)
    token, until = _tokens.get(key, ("", now))
    if until - now < _TOKEN_LASTS / 2:
        for over in [one for one, (_, its_until) in _tokens.items() if its_until < now]:
            del _tokens[over]
        token = spawner.user.new_api_token(
            # JupyterHub does not count use of a token with such a note as activity of its owner.
            note=f"Server at {spawner.server.base_url}, for {SERVICE}",
            scopes=[f"access:servers!server={user}/{spawner.name}"],
            expires_in=int(_TOKEN_LASTS.total_seconds()),
        )
        _tokens[key] = token, now + _TOKEN_LASTS
    return token
