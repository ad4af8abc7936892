"""The hub's API, a notebook's API and its kernel, as `python -m verify` and the stack's own job use them.

All requests go to one address, that of the proxy, with the host names under which people open hub and notebooks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse

from .verify_account import API_PATH, NAME

_SECONDS = 60
_LOOK_SECONDS = 0.5
# tornado's own, for a request that got no answer.
_NO_ANSWER = 599


class HubRefused(Exception):
    """The hub's answer to a request that it does not fulfil, in its words. `status` is that of HTTP."""

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status


class StartFailed(Exception):
    """A notebook that did not start, in the hub's words. `steps` are what the hub said while it waited."""

    def __init__(self, words: str, steps: str = "") -> None:
        super().__init__(words)
        self.steps = steps


@dataclass(frozen=True)
class Server:
    """A running notebook: its address by the proxy, below which is its API, and the host under which people open it."""

    url: str
    host: str
    token: str = field(repr=False)

    async def api(self, method: str, path: str, content: Any = None) -> Any:
        """Calls the notebook's own API. Raises HubRefused and OSError."""
        return await _asked(method, f"{self.url}api/{path}", self.host, self.token, content)


@dataclass(frozen=True)
class Hub:
    """`address` is the proxy's, such as http://localhost:8000; `host` is the platform's; `prefix` is the base URL."""

    address: str
    host: str
    prefix: str
    token: str = field(repr=False)

    async def begin(self, seconds: int) -> Hub:
        """The hub with a token of the user, which ends after `seconds`; the service makes both.

        Raises HubRefused (409) while another run's notebook is there, and OSError.
        """
        made = await self.api("POST", API_PATH, {"seconds": seconds})
        return Hub(self.address, self.host, self.prefix, made["token"])

    async def end(self) -> None:
        """Deletes the user, with their notebook and tokens; they may be gone already. Raises HubRefused and OSError."""
        while True:
            try:
                await self.api("DELETE", f"users/{NAME}")
            except HubRefused as refused:
                if refused.status == HTTPStatus.NOT_FOUND:
                    return
                # Their notebook stops or starts right now.
                if refused.status != HTTPStatus.BAD_REQUEST:
                    raise
                await self._stop()
            await asyncio.sleep(_LOOK_SECONDS)

    async def start(self, profile: str, seconds: float) -> Server:
        """Starts a notebook of a choice, such as vision_python, and waits. Raises StartFailed, HubRefused, OSError."""
        try:
            await self.api("POST", f"users/{NAME}/server", {"profile": profile}, seconds=_SECONDS)
        except HubRefused as refused:
            if refused.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND):
                raise
            raise StartFailed(str(refused)) from None
        steps = _Steps()
        await self._progress(steps, seconds)
        if steps.failed:
            raise StartFailed(steps.failed, steps.words)
        if not steps.ready:
            raise StartFailed(f"it did not start within {seconds:.0f} s", steps.words)
        server = (await self.api("GET", f"users/{NAME}"))["servers"][""]
        # Where people have names of their own for their notebooks, it is a whole address.
        url = urlsplit(server["url"])
        return Server(f"{self.address}{url.path}", url.netloc or self.host, self.token)

    async def stop(self) -> None:
        """Stops the notebook, and waits until it has stopped. Raises HubRefused and OSError."""
        await self._stop()
        while True:
            if not (await self.api("GET", f"users/{NAME}"))["servers"]:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def api(self, method: str, path: str, content: Any = None, *, seconds: float = _SECONDS) -> Any:
        """Calls the hub's API. Raises HubRefused, and OSError where nobody answers."""
        url = f"{self.address}{self.prefix}/hub/api/{path}"
        return await _asked(method, url, self.host, self.token, content, seconds=seconds)

    async def _stop(self) -> None:
        try:
            await self.api("DELETE", f"users/{NAME}/server")
        except HubRefused as refused:
            if refused.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
                raise

    async def _progress(self, steps: _Steps, seconds: float) -> None:
        """Reads what the hub says of the start, until it has ended or the time is over."""
        request = HTTPRequest(
            f"{self.address}{self.prefix}/hub/api/users/{NAME}/server/progress",
            headers=_headers(self.host, self.token),
            request_timeout=seconds,
            streaming_callback=steps.add,
        )
        try:
            await AsyncHTTPClient(force_instance=True).fetch(request)
        except HTTPClientError as error:
            if error.code != _NO_ANSWER:
                raise _refused(error) from None


class _Steps:
    """The events of a start, as the hub streams them."""

    def __init__(self) -> None:
        self.failed, self.ready = "", False
        self._messages: dict[str, None] = {}
        self._rest = b""

    @property
    def words(self) -> str:
        """What the hub said, a line each."""
        return "\n".join(self._messages)

    def add(self, piece: bytes) -> None:
        """Takes a piece of the stream."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                self._event(json.loads(line.removeprefix(b"data:")))

    def _event(self, event: Mapping[str, Any]) -> None:
        message = event.get("message") or ""
        self.ready = self.ready or bool(event.get("ready"))
        if event.get("failed"):
            self.failed = message or "it failed"
        elif message:
            self._messages[message] = None


async def _asked(
    method: str, url: str, host: str, token: str, content: Any = None, *, seconds: float = _SECONDS
) -> Any:
    request = HTTPRequest(
        url,
        method=method,
        headers=_headers(host, token),
        body=json.dumps(content) if content is not None else "" if method in ("POST", "PUT", "PATCH") else None,
        request_timeout=seconds,
        follow_redirects=False,
    )
    try:
        answer: HTTPResponse = await AsyncHTTPClient(force_instance=True).fetch(request)
    except HTTPClientError as error:
        raise _refused(error) from None
    return json.loads(answer.body) if answer.body else None


def _headers(host: str, token: str) -> dict[str, str]:
    return {"Host": host, "Authorization": f"token {token}", "Content-Type": "application/json"}


def _refused(error: HTTPClientError) -> Exception:
    """What the hub says with a status, or that nobody answers."""
    if error.code == _NO_ANSWER:
        return ConnectionError(f"the hub does not answer: {error.message}")
    body = error.response.body.decode(errors="replace") if error.response and error.response.body else ""
    try:
        words = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        words = body.strip().partition("\n")[0][:300]
    return HubRefused(words or f"HTTP {error.code} {error.message}", error.code)
