"""One real Keycloak for all tests of a run, behind a load balancer that publishes what the platform's does."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from background import background
from keycloak_lab import KeycloakLab
from public_proxy import public_proxy
from rich.console import Console

from components.keycloak import BOOTSTRAP_USER, HEALTH_PATH, PUBLIC_PATHS, start_options
from components.realm import Addresses
from rehearsal import java_tools
from rehearsal.processes import answers, free_ports

START_SECONDS = 300

_said: list[str] = []


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeycloakLab]:
    """A Keycloak, started with the options of the platform's, on a database that is gone with it."""
    console = Console(stderr=True)
    home = java_tools.keycloak(console)
    config_cli = java_tools.config_cli(console)
    _said.append(_applied_by(config_cli))
    folder = tmp_path_factory.mktemp("keycloak")
    port, management_port, public_port = free_ports(3)
    public = f"http://localhost:{public_port}"
    password = secrets.token_urlsafe(24)
    command = [
        home / "bin" / "kc.sh",
        *start_options(Addresses(public, "http://localhost:8000")),
        "--optimized",
        # What the chart says by variables.
        *("--http-enabled=true", "--proxy-headers=xforwarded", "--http-host=127.0.0.1"),
        *(f"--http-port={port}", f"--http-management-port={management_port}"),
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "JAVA_OPTS_KC_HEAP": "-Xms256m -Xmx768m",
        "KC_BOOTSTRAP_ADMIN_USERNAME": BOOTSTRAP_USER,
        "KC_BOOTSTRAP_ADMIN_PASSWORD": password,
    }
    with background(folder / "logs") as processes:
        processes.start("keycloak", command, environment)
        ready = f"http://127.0.0.1:{management_port}{HEALTH_PATH}"
        processes.wait_until("keycloak", lambda: answers(ready), seconds=START_SECONDS)
        with public_proxy(public_port, port, PUBLIC_PATHS):
            yield KeycloakLab(f"http://127.0.0.1:{port}", public, password, folder, config_cli)


def _applied_by(config_cli: Path | None) -> str:
    if config_cli is not None:
        return f"the realm was applied by keycloak-config-cli: {config_cli.name}"
    return (
        f"the realm was NOT applied by keycloak-config-cli {java_tools.CONFIG_CLI}, which can't be had here, but with"
        " its placeholders filled, by the admin API (tests/login/realm_importer.py)"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says aloud what stood in for what."""
    for line in _said:
        terminalreporter.write_line(f"Keycloak {java_tools.KEYCLOAK}: {line}")
