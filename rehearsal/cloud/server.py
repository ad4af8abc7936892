"""The simulated AWS: moto's server, with what moto lacks added to moto's own services, on one port.

`python -m rehearsal.cloud.server --port N [--dns-port N] [--parent-pid PID | --outlive]` serves until a signal ends it
or its parent has ended; with `--outlive` it goes on without the parent. With `--dns-port` it is also the public DNS of
its hosted zones, see `dns_server`.
Beside AWS's own APIs:

- `GET /gpulab/health`: answers once the server is up.
- `GET /gpulab/calls`: how many requests came, by access key id, by action, and by application and action; the roles of
  pods by access key id, and their calls that were refused.
- `POST /gpulab/capacity`: sets what EC2 is out of, see `capacity`.
- `GET /gpulab/pod-credentials`: what EKS Pod Identity's agent answers on a node, see `pod_credentials`.
- `POST /gpulab/account`: makes what a stack's account holds before the stack, see `account`.
- `POST /gpulab/delegation`: sets what the zone above a hosted zone says of it, see `account`.
- `POST /gpulab/kubernetes`: lets AWS know the API server behind every EKS cluster, see `api_server`.
- `POST /gpulab/secrets`: makes a secret in Secrets Manager, of an `arn` and a `value`.
- `POST /gpulab/token-review`: the API server's authentication webhook, see `tokens`.

Environment: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY` become the key of the IAM user `rehearsal`.
`GPULAB_QUOTAS`: see `quotas`.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from xml.sax.saxutils import escape

# moto reads these when it is imported.
os.environ.setdefault("MOTO_IAM_LOAD_MANAGED_POLICIES", "true")
# It has 1,300 images of its own, which cost more than a second a region; nodes start from those of `images`.
os.environ.setdefault("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")
# Seconds after which moto issues any certificate by itself: never, `acm` does it.
os.environ.setdefault("MOTO_ACM_VALIDATION_WAIT", str(10**9))

from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, make_server

from rehearsal.cloud import (
    acm,
    amis,
    api_server,
    backup,
    caller_identity,
    capacity,
    capacity_reservations,
    ec2_refusals,
    ecr,
    efs,
    eks,
    elb,
    iam,
    instance_types,
    pod_credentials,
    pod_permissions,
    prerequisites,
    public_dns,
    quotas,
    rds,
    route53,
    s3,
    secrets_given,
    tokens,
    wafv2,
)
from rehearsal.cloud.calls import Calls

_OWN = "/gpulab/"
_WATCH_SECONDS = 0.5


class Application:
    """moto's WSGI application, and the rehearsal's own paths in front of it."""

    def __init__(self) -> None:
        for added in (
            acm, backup, ec2_refusals, ecr, efs, eks, elb, iam, caller_identity, amis, quotas, rds, route53, s3, wafv2,
        ):  # fmt: skip
            added.install()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._calls = Calls()
        self._own: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", "health"): lambda environ: {"ok": True},
            ("GET", "calls"): lambda environ: {
                **self._calls.counts(),
                "pods": pod_credentials.roles(),
                "refused": pod_permissions.refusals(),
            },
            ("GET", "pod-credentials"): pod_credentials.answer,
            ("GET", "databases"): lambda environ: rds.databases(),
            ("POST", "account"): lambda environ: prerequisites.furnish(_json(environ)),
            ("POST", "capacity"): lambda environ: capacity.change(_json(environ)),
            ("POST", "delegation"): lambda environ: prerequisites.redelegate(_json(environ)),
            ("POST", "kubernetes"): lambda environ: api_server.connect(_json(environ)),
            ("POST", "secrets"): lambda environ: secrets_given.put(_json(environ)),
            ("POST", "token-review"): lambda environ: tokens.review(_json(environ)),
        }

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answers one request."""
        path = environ["PATH_INFO"]
        if not path.startswith(_OWN):
            self._calls.note(environ)
            if why := pod_permissions.refusal(environ):
                return _refused(why, environ, start_response)
            if instance_types.asks_for_prices(environ):
                return _answered(instance_types.price_list(_json(environ)), start_response)
            try:
                return self._moto(environ, start_response)
            except NotImplementedError as error:
                return _not_simulated(str(error), environ, start_response)
        handler = self._own.get((environ["REQUEST_METHOD"], path.removeprefix(_OWN)))
        if handler is None:
            return _answered({"error": f"no {path} here"}, start_response, "404 Not Found")
        return _answered(handler(environ), start_response)


class _Handler(MotoRequestHandler):
    """Quiet, and without the delay that small answers on a kept connection would have (Nagle's algorithm)."""

    disable_nagle_algorithm = True

    def log(self, type: str, message: str, *args: Any) -> None:
        """Says nothing of ordinary requests; a traceback still goes to standard error."""
        if type == "error":
            super().log(type, message, *args)


def _answered(answer: Any, start_response: Callable[..., Any], status: str = "200 OK") -> Iterable[bytes]:
    body = json.dumps(answer).encode()
    start_response(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


def _refused(why: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """The error about a call that no policy allows, in the protocol of the request; EC2 has a code of its own."""
    is_form = environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded")
    if is_form and "/ec2/" in environ.get("HTTP_AUTHORIZATION", ""):
        error = f"<Error><Code>UnauthorizedOperation</Code><Message>{escape(why)}</Message></Error>"
        kind, body = "text/xml", f"<Response><Errors>{error}</Errors><RequestID>-</RequestID></Response>"
    elif is_form:
        error = f"<Error><Code>AccessDenied</Code><Message>{escape(why)}</Message></Error>"
        kind, body = "text/xml", f"<ErrorResponse>{error}<RequestId>-</RequestId></ErrorResponse>"
    else:
        kind, body = "application/json", json.dumps({"__type": "AccessDeniedException", "message": why})
    return _error("403 Forbidden", "AccessDeniedException", kind, body, start_response)


def _not_simulated(why: str, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """An error in the protocol of the request, where moto has no answer: query protocols speak XML."""
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        kind, error = "text/xml", f"<Error><Code>NotImplemented</Code><Message>{escape(why)}</Message></Error>"
        body = f"<ErrorResponse>{error}<RequestId>-</RequestId></ErrorResponse>"
    else:
        kind, body = "application/json", json.dumps({"__type": "NotImplemented", "message": why})
    return _error("501 Not Implemented", "NotImplemented", kind, body, start_response)


def _error(status: str, code: str, kind: str, body: str, start_response: Callable[..., Any]) -> Iterable[bytes]:
    headers = [("Content-Type", kind), ("Content-Length", str(len(body))), ("x-amzn-ErrorType", code)]
    start_response(status, headers)
    return [body.encode()]


def _json(environ: dict[str, Any]) -> dict[str, Any]:
    return json.loads(environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)))


def make(port: int) -> BaseWSGIServer:
    """The server on 127.0.0.1, listening; port 0 takes a free one. The account has the user `rehearsal`."""
    server = make_server("127.0.0.1", port, Application(), threaded=True, request_handler=_Handler)
    caller_identity.admit()
    return server


@contextmanager
def running() -> Iterator[str]:
    """A server in this process with an empty account, for tests: gives its URL. `start_over` empties the account."""
    _empty()
    server = make(0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        _empty()


def start_over() -> None:
    """Gives the server of `running` an account as it was at its start."""
    _empty()
    caller_identity.admit()


def _empty() -> None:
    BackendDict.reset()
    api_server.disconnect()
    capacity.restore()
    capacity_reservations.forget()
    public_dns.forget()
    reset_model_data()


def _end_with(parent: int) -> None:
    """Ends this process once its parent is gone."""
    while os.getppid() == parent:
        time.sleep(_WATCH_SECONDS)
    os._exit(0)


def main() -> None:
    """Serves on the command line's port until the end."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.cloud.server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dns-port", type=int, help="answer DNS there, over UDP and TCP")
    end = parser.add_mutually_exclusive_group()
    end.add_argument("--parent-pid", type=int, default=os.getppid(), help="ends with this process, its parent")
    end.add_argument("--outlive", action="store_true", help="goes on after its parent has ended")
    options = parser.parse_args()
    if not options.outlive:
        threading.Thread(target=_end_with, args=(options.parent_pid,), daemon=True).start()
    server = make(options.port)
    # What moto has loaded stays: not to search it for garbage again and again saves a sixth of the CPU time.
    gc.freeze()
    gc.set_threshold(100_000)
    if options.dns_port:
        from rehearsal.cloud import dns_server

        dns_server.serve(options.dns_port)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
