"""Records the calls of the simulated AWS, so that checks see which keys, actions and resources were used.

A client that sets `AWS_SDK_UA_APP_ID` (AWS SDKs and Tools Reference Guide, "Application ID") is counted separately.
from the others, so that a check can compare its calls with its permissions: see `rehearsal.checks.permissions`.
"""

from __future__ import annotations

import io
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

CREDENTIAL = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/")
_APPLICATION = re.compile(r"(?:^|\s)app/(?P<id>\S+)")
_UNSIGNED = "unsigned"
# Query parameters of S3 calls that do not name a bucket's setting.
_NO_SETTING = frozenset({"delimiter", "encoding-type", "prefix", "x-id"})
# The parameter with which query protocols name the operation.
_FORM_ACTION = "Action"
# Characters. A longer value is a document, and not a resource's name.
_LONGEST_NAME = 300


class Calls:
    """Counts requests by access key id, by action, and by application and action, with their parameters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: Counter[str] = Counter()
        self._by_action: Counter[str] = Counter()
        self._by_application: dict[str, Counter[str]] = {}
        self._named: dict[str, set[tuple[str, frozenset[tuple[str, str]]]]] = {}

    def note(self, environ: dict[str, Any]) -> None:
        """Counts a request. It reads the body if that has parameters, and restores it."""
        found = CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
        key, service = (found["key"], found["service"]) if found else (_UNSIGNED, _UNSIGNED)
        application = _APPLICATION.search(environ.get("HTTP_USER_AGENT", ""))
        parameters = _parameters(environ)
        action = f"{service}:{parameters.pop(_FORM_ACTION, None) or _action(environ, service)}"
        with self._lock:
            self._by_key[key] += 1
            self._by_action[action] += 1
            if application:
                self._by_application.setdefault(application["id"], Counter())[action] += 1
                self._named.setdefault(application["id"], set()).add((action, frozenset(parameters.items())))

    def counts(self) -> dict[str, dict[str, Any]]:
        """The counts so far, in the form of `GET /gpulab/calls`."""
        with self._lock:
            applications = {id: dict(actions) for id, actions in self._by_application.items()}
            requests = {
                id: [[action, dict(parameters)] for action, parameters in named] for id, named in self._named.items()
            }
            return {
                "keys": dict(self._by_key),
                "actions": dict(self._by_action),
                "applications": applications,
                "requests": requests,
            }


def _parameters(environ: dict[str, Any]) -> dict[str, str]:
    """The request's short text parameters, which may name resources; nested ones as `object.name`."""
    kind, target = environ.get("CONTENT_TYPE", ""), environ.get("HTTP_X_AMZ_TARGET")
    is_form = kind.startswith("application/x-www-form-urlencoded")
    if not is_form and not target and not kind.startswith("application/json"):
        return {}
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    text = body.decode(errors="replace")
    if is_form:
        found = {name: values[0] for name, values in parse_qs(text).items() if "." not in name}
    else:
        try:
            found = dict(_flat(json.loads(text or "{}")))
        except ValueError:  # the service reports it
            return {}
        found.pop(_FORM_ACTION, None)
    return {name: value for name, value in found.items() if len(value) <= _LONGEST_NAME}


def _flat(document: Any) -> Iterator[tuple[str, str]]:
    for name, value in document.items() if isinstance(document, dict) else ():
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", item) for key, item in value.items() if isinstance(item, str))


def _action(environ: dict[str, Any], service: str) -> str:
    """The operation: from a header for JSON protocols, else the method and path.

    Query protocols have it in the form instead. S3 names a bucket's setting in the query: `PUT /logs?policy`.
    """
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return target.rpartition(".")[2]
    setting = ""
    if service == "s3":
        query = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        setting = next((f"?{name}" for name in query if name not in _NO_SETTING), "")
    return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{setting}"
