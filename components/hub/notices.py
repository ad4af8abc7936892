"""What the hub tells its culler of notebooks, and knows by it of their ends, for people on the home page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.user import User
from tornado.web import HTTPError

from .catalogue import Catalogue
from .culling import SERVICE, End, time_of

API_PATH = "/gpulab/notebooks"
PATH = f"/api{API_PATH}"

Ends: TypeAlias = Mapping[tuple[str, str], End]

# Of the last round; a hub that has just started knows of none until the next.
_ends: dict[tuple[str, str], End] = {}

_TOKEN_LASTS = timedelta(hours=1)
# By the notebook's user, name and start: a token, and until when it is good.
_tokens: dict[tuple[str, str, datetime], tuple[str, datetime]] = {}


class EndsHandler(APIHandler):
    """What the culler asks and tells. It answers nobody else."""

    async def prepare(self) -> None:
        """Raises HTTPError (403) for whoever is not the culler."""
        await super().prepare()
        asking: Any = self.current_user
        if getattr(asking, "kind", None) != "service" or asking.name != SERVICE:
            raise HTTPError(403, "This is for the culler alone")

    def get(self) -> None:
        """Every notebook that runs: whose, of which choice, since when, where it is reached, and by which token."""
        self.finish(
            json.dumps([_described(one) for user in self.users.values() for one in user.spawners.values() if one.ready])
        )

    def post(self) -> None:
        """When each of them will end, in place of what was told before."""
        told = read(self.get_json_body() or [])
        _ends.clear()
        _ends.update(told)
        self.set_status(204)


def document(ends: Ends) -> list[dict[str, str]]:
    """What the culler tells."""
    return [
        {"user": user, "server": server, "at": end.at.isoformat(), "why": end.why, "since": end.since.isoformat()}
        for (user, server), end in ends.items()
    ]


def read(told: list[dict[str, Any]]) -> Ends:
    """What the culler told."""
    return {
        (one["user"], one["server"]): End(at=time_of(one["at"]), why=one["why"], since=time_of(one["since"]))
        for one in told
    }


def notices_for(catalogue: Catalogue) -> Callable[[User | None], list[str]]:
    """The function by which the hub has the notices for a page that somebody opens, signed in or not."""
    warn = timedelta(minutes=catalogue.hub.warn_minutes)

    def of_user(user: User | None) -> list[str]:
        if user is None:
            return []
        running = {(user.name, name) for name, one in user.spawners.items() if one.ready}
        return notices({key: end for key, end in _ends.items() if key in running}, datetime.now(UTC), warn)

    return of_user


def notices(ends: Ends, now: datetime, warn: timedelta) -> list[str]:
    """A sentence for each notebook that ends within `warn`."""
    return [notice(server, end, now) for (_, server), end in sorted(ends.items()) if end.is_near(now, warn)]


def notice(server: str, end: End, now: datetime) -> str:
    """What people read of a notebook that ends soon."""
    minutes = max(round((end.at - now).total_seconds() / 60), 0)
    which = f"Your notebook {server}" if server else "Your notebook"
    when = f"{end.at:%H:%M} UTC, in {minutes} {'minute' if minutes == 1 else 'minutes'}"
    if end.why == "lifetime":
        return f"{which} ends at {when}: it has run for as long as its profile allows. Save your work; start it again."
    return f"{which} ends at {when}: nothing was done in it since {end.since:%H:%M} UTC. Work in it to keep it."


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
    """A token by which the culler asks this notebook, and which opens nothing else.

    Its owner sees it: who asks a server by a token of more rights gives them to whoever has that server.
    """
    user = spawner.user.name
    key = (user, spawner.name, spawner.orm_spawner.started)
    token, until = _tokens.get(key, ("", now))
    if until - now < _TOKEN_LASTS / 2:
        for over in [one for one, (_, its_until) in _tokens.items() if its_until < now]:
            del _tokens[over]
        token = spawner.user.new_api_token(
            # What has a note of this beginning is no activity of its owner's to JupyterHub.
            note=f"Server at {spawner.server.base_url}, for {SERVICE}",
            scopes=[f"access:servers!server={user}/{spawner.name}"],
            expires_in=int(_TOKEN_LASTS.total_seconds()),
        )
        _tokens[key] = token, now + _TOKEN_LASTS
    return token
