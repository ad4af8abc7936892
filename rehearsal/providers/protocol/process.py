"""The process of a plugin. It serves a provider until the engine ends."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from concurrent import futures

import grpc
from pulumi.runtime.proto import provider_pb2_grpc

from rehearsal.providers.protocol.model import Provider
from rehearsal.providers.protocol.servicer import Servicer

_MAX_MESSAGE_BYTES = 400 * 1024 * 1024
_THREADS = 64
_PARENT_POLL_SECONDS = 0.5


def end_with_the_engine() -> None:
    """Ends this process when the engine stops it or is gone. A killed engine cannot stop its providers."""
    # The engine always ends its plugins with an interrupt. Nothing runs then, and a normal end of the interpreter would
    # add a quarter of a second to each preview.
    signal.signal(signal.SIGINT, lambda _signal, _frame: os._exit(0))
    threading.Thread(target=_watch_parent, daemon=True).start()


def _watch_parent() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os._exit(1)


def serve(provider: Provider) -> None:
    """Serves `provider` on a free port and prints the port for the engine. Returns when the engine ends it."""
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=_THREADS),
        options=[
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ],
    )
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(provider), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    end_with_the_engine()
    if len(sys.argv) > 1:
        provider.connect(sys.argv[1])
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()
