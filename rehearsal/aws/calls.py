"""Who called the simulated AWS: a check can prove that no key but the rehearsal's was ever used.

A client that sets `AWS_SDK_UA_APP_ID` (AWS SDKs and Tools Reference Guide, "Application ID") is told from the others,
and what it may do with which permissions can be asked of its calls: see `rehearsal.permission_checks`.
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

_CREDENTIAL = re.compile(r"Credential=(?P<key>[^/,\s]+)/\d+/[^/]+/(?P<service>[^/]+)/")
_APPLICATION = re.compile(r"(?:^|\s)app/(?P<id>\S+)")
_UNSIGNED = "unsigned"
# What S3 calls the settings of a bucket in a query, beside the parameters of the calls themselves.
_NO_SETTING = frozenset({"delimiter", "encoding-type", "prefix", "x-id"})
# Where query protocols name the operation.
_FORM_ACTION = "Action"
# Characters. What is longer is a document, and no name of a resource.
_LONGEST_NAME = 300


class Calls:
    """Counts of requests by access key id, by service and action, and by application and action; what these named."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_key: Counter[str] = Counter()
        self._by_action: Counter[str] = Counter()
        self._by_application: dict[str, Counter[str]] = {}
        self._named: dict[str, set[tuple[str, frozenset[tuple[str, str]]]]] = {}

    def note(self, environ: dict[str, Any]) -> None:
        """Counts one request. A request's body is read where it has parameters, and put back."""
        found = _CREDENTIAL.search(environ.get("HTTP_AUTHORIZATION", ""))
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
        """The counts so far, as `GET /gpulab/calls` answers them."""
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
    """The request's parameters that are short text, as they may name resources; those of an object by `object.name`."""
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
        except ValueError:  # the service says so
            return {}
        found.pop(_FORM_ACTION, None)
    return {name: value for name, value in found.items() if len(value) <= _LONGEST_NAME}


def _flat(document: Any) -> Iterator[tuple[str, str]]:
    for name, value in document.items() if isinstance(document, dict) else ():
        if isinstance(value, str):
            yield name, value
        elif isinstance(value, dict):
            yield from ((f"{name}.{key}", one) for key, one in value.items() if isinstance(one, str))


def _action(environ: dict[str, Any], service: str) -> str:
    """The operation: in a header for JSON protocols, else the method and path; in the form for query protocols.

    S3 names a setting of a bucket in the query: `PUT /logs?policy`.
    """
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return target.rpartition(".")[2]
    setting = ""
    if service == "s3":
        asked = parse_qs(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        setting = next((f"?{name}" for name in asked if name not in _NO_SETTING), "")
    return f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}{setting}"
