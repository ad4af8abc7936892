"""The API server of a rehearsal, for what AWS does in a cluster. Until it is known, nothing is done in a cluster."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class ApiServer:
    """Its address, the authority to trust (PEM; empty for the system's own), and an administrator's token."""

    url: str
    ca: str
    token: str
    tls: ssl.SSLContext


_known: list[ApiServer] = []


def connect(given: dict[str, Any]) -> dict[str, Any]:
    """Uses the API server at `url`, with the authority `ca` and an administrator's `token`, for every cluster."""
    tls = ssl.create_default_context(cadata=given["ca"] or None)
    _known[:] = [ApiServer(given["url"].rstrip("/"), given["ca"], given["token"], tls)]
    return {"url": given["url"]}


def disconnect() -> None:
    """Forgets the API server."""
    _known.clear()


def known() -> ApiServer | None:
    """The API server, or None until it is known."""
    return _known[0] if _known else None


def create(collection: str, obj: dict[str, Any]) -> None:
    """Makes an object, unless it exists. Raises OSError if the API server does not accept it."""
    call("POST", collection, obj, fine=(409,))


def delete(collection: str, name: str) -> None:
    """Deletes an object; it may be gone already. Raises OSError if the API server does not answer."""
    call("DELETE", f"{collection}/{name}", fine=(404,))


def call(method: str, path: str, body: dict[str, Any] | None = None, fine: tuple[int, ...] = ()) -> str:
    """The answer to a request; empty if its status is in `fine`. Raises OSError for other errors."""
    server = known()
    if server is None:
        return ""
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    request = Request(
        server.url + path,
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Authorization": f"Bearer {server.token}", "Content-Type": kind},
    )
    try:
        with urlopen(request, timeout=_TIMEOUT_SECONDS, context=server.tls) as answer:
            return answer.read().decode()
    except HTTPError as error:
        if error.code in fine:
            return ""
        raise OSError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error
