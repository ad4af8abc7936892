"""Who called the simulated AWS: a check can prove that no key but the rehearsal's was ever used.

A client that sets `AWS_SDK_UA_APP_ID` (AWS SDKs and Tools Reference Guide, "Application ID") is told from the others,
and what it may do with which permissions can be asked of its calls: see `rehearsal.permission_checks`.
"""

from __future__ import annotations

import io
import re
import threading
from collections import Counter
from typing import Any
from urllib.parse import parse_qs

_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d+/[^/]+/(?P<service>[^/]+)/")
_APPLICATION = re.compile(r"(?:^|\s)app/(?P<id>\S+)")
_UNSIGNED = "unsigned"
# What S3 calls the settings of a bucket in a query, beside the parameters of the calls themselves.
_NO_SETTING = frozenset({"delimiter", "encoding-type", "prefix", "x-id"})


class Calls:
    """Counts of requests by access key id, by service and action, and by application and action."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: Counter[str] = Counter()
        self._by_action: Counter[str] = Counter()
        self._by_application: dict[str, Counter[str]] = {}

    def note(self, environ: dict[str, Any]) -> None:
        """Counts one request. A request's body is read where it names the action, and put back."""
        found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        key, service = (found["key"], found["service"]) if found else (_UNSIGNED, _UNSIGNED)
        application = _APPLICATION.search(environ.get("HTTP_USER_AGENT", ""))
        action = f"{service}:{_action(environ, service)}"
        with self._lock:
            self._by_key[key] += 1
            self._by_action[action] += 1
            if application:
                self._by_application.setdefault(application["id"], Counter())[action] += 1

    def counts(self) -> dict[str, dict[str, Any]]:
        """The counts so far, as `GET /gpulab/calls` answers them."""
        with self._lock:
            applications = {id: dict(actions) for id, actions in self._by_application.items()}
            return {"keys": dict(self._by_key), "actions": dict(self._by_action), "applications": applications}


def _action(environ: dict[str, Any], service: str) -> str:
    """The operation: in a header for JSON protocols, in the form for query protocols, else the method and path.

    S3 names a setting of a bucket in the query: `PUT /logs?policy`.
    """
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return target.rpartition(".")[2]
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if action := parse_qs(body.decode(errors="replace")).get("Action"):
            return action[0]
    setting = ""
    if service == "s3":
        asked = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        setting = next((f"?{name}" for name in asked if name not in _NO_SETTING), "")
    return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{setting}"
