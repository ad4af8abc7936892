"""A port of a pod at an address of this machine, as `kubectl port-forward` makes it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from verify.cluster_api import ClusterApi

_PIECE = 64 * 1024


class Forwarded:
    """Leads connections to `address` to a port of the running pod with these labels, until its block ends.

    A connection that finds no pod is closed at once.
    """

    def __init__(self, api: ClusterApi, namespace: str, selector: Mapping[str, str], port: int) -> None:
        self._api, self._namespace, self._selector, self._port = api, namespace, selector, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://localhost:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Takes no more connections; those that are open end with their requests."""
        # Closing it would not end a call of `accept` that waits.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._lead, args=(here,), daemon=True).start()

    def _lead(self, here: socket.socket) -> None:
        try:
            there = self._api.connected(self._namespace, self._selector, self._port)
        except (ApiException, HTTPError, OSError):
            here.close()
            return
        back = threading.Thread(target=_copy, args=(there, here), daemon=True)
        back.start()
        _copy(here, there)
        back.join()
        here.close()
        there.close()


def _copy(source: Any, target: Any) -> None:
    """Copies until the source ends, and then ends the target's other half."""
    with contextlib.suppress(OSError):
        while piece := source.recv(_PIECE):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
