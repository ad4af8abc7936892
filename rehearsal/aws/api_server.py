"""The API server of a rehearsal, for what AWS does in a cluster. `GPULAB_KUBERNETES_URL` unset: nothing is done."""

from __future__ import annotations

import json
import os
import ssl
from functools import cache
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

_TIMEOUT_SECONDS = 20


def put(collection: str, obj: dict[str, Any]) -> None:
    """Makes an object; one that is there stays as it is. Raises OSError when the API server does not take it."""
    call("POST", collection, obj, fine=(409,))


def take(collection: str, name: str) -> None:
    """Deletes an object; one that is gone is no error. Raises OSError when the API server does not answer."""
    call("DELETE", f"{collection}/{name}", fine=(404,))


def call(method: str, path: str, body: dict[str, Any] | None = None, fine: tuple[int, ...] = ()) -> None:
    """One request; answers with a status in `fine` are no error. Raises OSError."""
    url = os.environ.get("GPULAB_KUBERNETES_URL")
    if not url:
        return
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    request = Request(
        url.rstrip("/") + path,
        data=None if body is None else json.dumps(body).encode(),
        method=method,
        headers={"Authorization": f"Bearer {os.environ.get('GPULAB_KUBERNETES_TOKEN', '')}", "Content-Type": kind},
    )
    try:
        with urlopen(request, timeout=_TIMEOUT_SECONDS, context=_tls()) as answer:
            answer.read()
    except HTTPError as error:
        if error.code not in fine:
            raise OSError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context(cadata=os.environ.get("GPULAB_KUBERNETES_CA"))
