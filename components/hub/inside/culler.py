"""The hub's service that ends notebooks: `python -m gpulab.culler CATALOGUE`.

Every two minutes or so it asks the hub which notebooks run, asks each notebook what it does, reports to the hub when
each will end, and ends those whose time has come. It asks the notebooks' servers because the proxy's traffic is no sign
of work: an open page never stops sending.

These servers belong to their owners. So each is asked with a token that opens only that server, and its answer, or
silence, decides only about itself.
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
# Bytes that one notebook may answer. The culler shares the hub's memory.
_MOST_ANSWERED = 256 * 1024


class Culler:
    """Repeats its rounds. `api_url` is the hub's API, `token` the service's own."""

    def __init__(self, catalogue: Catalogue, api_url: str, token: str) -> None:
        self._catalogue = catalogue
        self._api_url = api_url.rstrip("/")
        self._token = token
        self._hub = AsyncHTTPClient(force_instance=True)
        self._notebooks = AsyncHTTPClient(force_instance=True, max_clients=_AT_ONCE, max_body_size=_MOST_ANSWERED)
        # A request that waits inside the client uses up its timeout there, so requests wait here.
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._seen: dict[tuple[str, str, str], Seen] = {}

    async def run(self) -> None:
        """Runs until it is ended. A round that fails is logged, and the next one follows."""
        while True:
            try:
                await self.round()
            except (HTTPError, OSError, ValueError):
                _LOG.exception("This round failed")
            await asyncio.sleep(self._catalogue.hub.cull_every_seconds)

    async def round(self) -> None:
        """Checks every notebook once. Raises HTTPError and OSError when the hub can't be asked."""
        servers = await self._ask_hub("GET", f"{self._api_url}{notices.API_PATH}")
        now = datetime.now(UTC)
        found = await asyncio.gather(*(self._look(server, now) for server in servers))
        self._seen = {_key(server): seen for server, seen in zip(servers, found, strict=True)}
        ends = [
            culling.end_of(self._catalogue, server["profile"], culling.time_of(server["started"]), seen.active)
            for server, seen in zip(servers, found, strict=True)
        ]
        names = [(server["user"], server["server"]) for server in servers]
        ending = notices.document(dict(zip(names, ends, strict=True)))
        await self._ask_hub("POST", f"{self._api_url}{notices.API_PATH}", ending)
        for (user, server), end, seen in zip(names, ends, found, strict=True):
            if end.has_come(now, seen.silent):
                await self._stop(user, server, end)

    async def _look(self, server: Mapping[str, Any], now: datetime) -> Seen:
        try:
            status, kernels = [await self._answer(server, path) for path in ("status", "kernels")]
            return Seen(active=culling.last_active(status, kernels, now))
        except Exception as error:  # a notebook's answer, however odd, must not affect the others
            _LOG.warning("%s/%s does not say what it does: %.200r", server["user"], server["server"], error)
            return culling.without_answer(self._seen.get(_key(server)), culling.time_of(server["lastActivity"]), now)

    async def _answer(self, server: Mapping[str, Any], path: str) -> Any:
        request = HTTPRequest(
            f"{server['url']}api/{path}?no_track_activity=1",
            headers={"Authorization": f"token {server['token']}"},
            request_timeout=_REQUEST_SECONDS,
            # It must not redirect, and must not decompress to more than it sends.
            follow_redirects=False,
            decompress_response=False,
        )
        async with self._slots:
            answer = await self._notebooks.fetch(request)
        return json.loads(answer.body)

    async def _stop(self, user: str, server: str, end: End) -> None:
        _LOG.info("Ending %s/%s (%s), active until %s", user, server, end.why, end.since.isoformat(timespec="seconds"))
        path = f"servers/{quote(server, safe='')}" if server else "server"
        try:
            await self._ask_hub("DELETE", f"{self._api_url}/users/{quote(user, safe='')}/{path}")
        except (HTTPError, OSError):
            _LOG.exception("Cannot end %s/%s; the next round tries again", user, server)

    async def _ask_hub(self, method: str, url: str, content: Any = None) -> Any:
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
    """Runs with the variables that the hub gives its services, until it is ended."""
    # Within the loop, because clients use the loop that runs when they are made.
    await Culler(catalogue, os.environ["JUPYTERHUB_API_URL"], os.environ["JUPYTERHUB_API_TOKEN"]).run()


def main() -> None:
    """Runs as the hub's service."""
    logging.basicConfig(level=logging.INFO, format="[%(levelname)s %(name)s] %(message)s")
    # The hub ends its services with this signal.
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(run(read(sys.argv[1])))


def _key(server: Mapping[str, Any]) -> tuple[str, str, str]:
    """Identifies a notebook; after a restart it is another one."""
    return server["user"], server["server"], server["started"]


if __name__ == "__main__":
    main()
