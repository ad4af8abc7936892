"""The hub's service that ends notebooks: `python -m gpulab.culler CATALOGUE`.

Every two minutes or so it asks the hub which notebooks run, each notebook what it does, tells the hub when each will
end, and ends those whose time has come. It asks the notebooks' servers themselves: what passes the proxy is no sign of
work, as an open page never falls silent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

from . import culling, notices
from .catalogue import Catalogue, read
from .culling import End

_LOG = logging.getLogger("gpulab.culler")
_AT_ONCE = 10
_REQUEST_SECONDS = 20


class Culler:
    """One round after the other. `api_url` is the hub's API, `token` the service's own."""

    def __init__(self, catalogue: Catalogue, api_url: str, token: str) -> None:
        self._catalogue = catalogue
        self._api_url = api_url.rstrip("/")
        self._headers = {"Authorization": f"token {token}"}
        self._client = AsyncHTTPClient(force_instance=True, max_clients=_AT_ONCE)

    async def run(self) -> None:
        """Runs until it is ended. A round that fails is told, and followed by the next."""
        while True:
            try:
                await self.round()
            except (HTTPError, OSError, ValueError):
                _LOG.exception("This round did not get through")
            await asyncio.sleep(self._catalogue.hub.cull_every)

    async def round(self) -> None:
        """Looks at every notebook once. Raises HTTPError and OSError when the hub can't be asked."""
        servers = await self._asked("GET", f"{self._api_url}{notices.API_PATH}")
        now = datetime.now(UTC)
        ends = dict(zip(((one["user"], one["server"]) for one in servers), await self._ends(servers, now), strict=True))
        await self._asked("POST", f"{self._api_url}{notices.API_PATH}", notices.document(ends))
        for (user, server), end in ends.items():
            if end.at <= now:
                await self._stop(user, server, end)

    async def _ends(self, servers: list[dict[str, Any]], now: datetime) -> list[End]:
        return await asyncio.gather(*(self._end(server, now) for server in servers))

    async def _end(self, server: dict[str, Any], now: datetime) -> End:
        started = culling.time_of(server["started"])
        try:
            status, kernels = [
                await self._asked("GET", f"{server['url']}api/{path}?no_track_activity=1")
                for path in ("status", "kernels")
            ]
            active = culling.last_active(status, kernels, now)
        except (HTTPError, OSError, ValueError, KeyError) as error:
            # What the hub itself has seen of it. A server that hangs is idle some time.
            active = culling.time_of(server["lastActivity"])
            _LOG.warning("%s/%s does not say what it does: %s", server["user"], server["server"], error)
        return culling.end_of(self._catalogue, server["profile"], started, active)

    async def _stop(self, user: str, server: str, end: End) -> None:
        _LOG.info("Ending %s/%s (%s), active until %s", user, server, end.why, end.since.isoformat(timespec="seconds"))
        path = f"servers/{quote(server, safe='')}" if server else "server"
        try:
            await self._asked("DELETE", f"{self._api_url}/users/{quote(user, safe='')}/{path}")
        except (HTTPError, OSError):
            _LOG.exception("%s/%s can't be ended; the next round tries again", user, server)

    async def _asked(self, method: str, url: str, content: Any = None) -> Any:
        request = HTTPRequest(
            url,
            method=method,
            headers=self._headers,
            body=None if content is None else json.dumps(content),
            request_timeout=_REQUEST_SECONDS,
        )
        answer = await self._client.fetch(request)
        return json.loads(answer.body) if answer.body else None


def main() -> None:
    """Runs as the hub's service, by the variables that the hub gives its services."""
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s %(name)s] %(message)s")
    culler = Culler(read(sys.argv[1]), os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_API_TOKEN"])
    # So the hub ends its services.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(culler.run())


if __name__ == "__main__":
    main()
