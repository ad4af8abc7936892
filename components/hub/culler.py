"""The hub's service that ends notebooks: `python -m gpulab.culler CATALOGUE`.

Every two minutes or so it asks the hub which notebooks run, each notebook what it does, tells the hub when each will
end, and ends those whose time has come. It asks the notebooks' servers themselves: what passes the proxy is no sign of
work, as an open page never falls silent.

Those servers are their owners': each is asked by a token that opens it alone, and whatever it answers, or does not,
decides of nothing but itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from tornado.httpclient import AsyncHTTPClient, HTTPError, HTTPRequest

from . import culling, notices
from .catalogue import Catalogue, read
from .culling import End, Seen

_LOG = logging.getLogger("gpulab.culler")
_AT_ONCE = 10
_REQUEST_SECONDS = 20
# Of what one notebook may say, in bytes. It shares the hub's memory.
_MOST_SAID = 256 * 1024


class Culler:
    """One round after the other. `api_url` is the hub's API, `token` the service's own."""

    def __init__(self, catalogue: Catalogue, api_url: str, token: str) -> None:
        self._catalogue = catalogue
        self._api_url = api_url.rstrip("/")
        self._token = token
        self._hub = AsyncHTTPClient(force_instance=True)
        self._notebooks = AsyncHTTPClient(force_instance=True, max_clients=_AT_ONCE, max_body_size=_MOST_SAID)
        # What waits for its turn in the client runs out of time there.
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._seen: dict[tuple[str, str, str], Seen] = {}

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
        servers = await self._asked_hub("GET", f"{self._api_url}{notices.API_PATH}")
        now = datetime.now(UTC)
        found = await asyncio.gather(*(self._look(server, now) for server in servers))
        self._seen = {_key(server): seen for server, seen in zip(servers, found, strict=True)}
        ends = [
            culling.end_of(self._catalogue, server["profile"], culling.time_of(server["started"]), seen.active)
            for server, seen in zip(servers, found, strict=True)
        ]
        names = [(server["user"], server["server"]) for server in servers]
        told = notices.document(dict(zip(names, ends, strict=True)))
        await self._asked_hub("POST", f"{self._api_url}{notices.API_PATH}", told)
        for (user, server), end, seen in zip(names, ends, found, strict=True):
            if end.has_come(now, seen.silent):
                await self._stop(user, server, end)

    async def _look(self, server: Mapping[str, Any], now: datetime) -> Seen:
        try:
            status, kernels = [await self._said(server, path) for path in ("status", "kernels")]
            return Seen(active=culling.last_active(status, kernels, now))
        except Exception as error:  # one notebook never decides for the others, however odd its answer
            _LOG.warning("%s/%s does not say what it does: %.200r", server["user"], server["server"], error)
            return culling.in_silence(self._seen.get(_key(server)), culling.time_of(server["lastActivity"]), now)

    async def _said(self, server: Mapping[str, Any], path: str) -> Any:
        request = HTTPRequest(
            f"{server['url']}api/{path}?no_track_activity=1",
            headers={"Authorization": f"token {server['token']}"},
            request_timeout=_REQUEST_SECONDS,
            # It leads nowhere else, and says no more than it sends.
            follow_redirects=False,
            decompress_response=False,
        )
        async with self._turns:
            answer = await self._notebooks.fetch(request)
        return json.loads(answer.body)

    async def _stop(self, user: str, server: str, end: End) -> None:
        _LOG.info("Ending %s/%s (%s), active until %s", user, server, end.why, end.since.isoformat(timespec="seconds"))
        path = f"servers/{quote(server, safe='')}" if server else "server"
        try:
            await self._asked_hub("DELETE", f"{self._api_url}/users/{quote(user, safe='')}/{path}")
        except (HTTPError, OSError):
            _LOG.exception("%s/%s can't be ended; the next round tries again", user, server)

    async def _asked_hub(self, method: str, url: str, content: Any = None) -> Any:
        request = HTTPRequest(
            url,
            method=method,
            headers={"Authorization": f"token {self._token}"},
            body=None if content is None else json.dumps(content),
            request_timeout=_REQUEST_SECONDS,
        )
        answer = await self._hub.fetch(request)
        return json.loads(answer.body) if answer.body else None


async def run(catalogue: Catalogue) -> None:
    """Runs by the variables that the hub gives its services, until it is ended."""
    # Within the loop, which clients take for theirs where they are made.
    await Culler(catalogue, os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_API_TOKEN"]).run()


def main() -> None:
    """Runs as the hub's service."""
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s %(name)s] %(message)s")
    # So the hub ends its services.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(read(sys.argv[1])))


def _key(server: Mapping[str, Any]) -> tuple[str, str, str]:
    """Which notebook it is: one that was started anew is another."""
    return server["user"], server["server"], server["started"]


if __name__ == "__main__":
    main()
