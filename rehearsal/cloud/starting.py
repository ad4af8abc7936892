"""Starts the simulated AWS as a separate process."""

from __future__ import annotations

import json
import sys
import urllib.request
from collections.abc import Mapping
from typing import Any

from rehearsal.machine.processes import Processes, answers

_READY_SECONDS = 120
_NAME = "aws"


def start(processes: Processes, port: int, environment: Mapping[str, str], *, dns_port: int | None = None) -> None:
    """Starts it at a port of this machine, and returns when it answers. With `dns_port` it is also the public DNS."""
    command = [sys.executable, "-m", "rehearsal.cloud.server", "--port", str(port)]
    if dns_port is not None:
        command += ["--dns-port", str(dns_port)]
    if processes.outlive:
        command.append("--outlive")
    # It is the cloud itself, so its own clients must not use it.
    own = {name: value for name, value in environment.items() if name != "AWS_ENDPOINT_URL"}
    processes.start(_NAME, command, own)
    processes.wait_until(_NAME, lambda: answers(f"http://127.0.0.1:{port}/gpulab/health"), seconds=_READY_SECONDS)


def furnish(url: str, given: Mapping[str, Any]) -> None:
    """Makes what a stack file expects in the account of the AWS at `url`, see `account`."""
    _post(f"{url}/gpulab/account", given)


def connect(aws_url: str, *, url: str, ca: str, token: str) -> None:
    """Connects the AWS at `aws_url` to the API server at `url`, see `api_server`."""
    _post(f"{aws_url}/gpulab/kubernetes", {"url": url, "ca": ca, "token": token})


def be_out_of(url: str, *capacity_types: str) -> None:
    """Makes the AWS at `url` have no machine of these capacity types, and of all others again."""
    _post(f"{url}/gpulab/capacity", {"out": capacity_types})


def _post(url: str, given: Mapping[str, Any]) -> None:
    request = urllib.request.Request(url, data=json.dumps(given).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=_READY_SECONDS):
        pass
