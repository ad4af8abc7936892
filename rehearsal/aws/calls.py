"""Who called the simulated AWS: a check can prove that no key but the rehearsal's was ever used."""

from __future__ import annotations

import io
import re
import threading
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d+/[^/]+/(?P<service>[^/]+)/")
_UNSIGNED = "unsigned"


class Calls:
    """Counts of requests by access key id, and by service and action."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: Counter[str] = Counter()
        self._by_action: Counter[str] = Counter()

    def note(self, environ: dict[str, Any]) -> None:
        """Counts one request. A request's body is read where it names the action, and put back."""
        found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        key, service = (found["key"], found["service"]) if found else (_UNSIGNED, _UNSIGNED)
        with self._lock:
            self._by_key[key] += 1
            self._by_action[f"{service}:{_action(environ)}"] += 1

    def counts(self) -> dict[str, dict[str, int]]:
        """The counts so far, as `GET /gpulab/calls` answers them."""
        with self._lock:
            return {"keys": dict(self._by_key), "actions": dict(self._by_action)}


def _action(environ: dict[str, Any]) -> str:
    """The operation: in a header for JSON protocols, in the form for query protocols, else the method and path."""
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return target.rpartition(".")[2]
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if action := parse_qs(body.decode(errors="replace")).get("Action"):
            return action[0]
    return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"
