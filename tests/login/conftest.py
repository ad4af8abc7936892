"""A real Keycloak for all tests of a run, behind a load balancer that publishes the same paths as the platform's.

For tests of the hub, it also has a control plane with the teams of dev, and accounts.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from authorities import Authority
from background import background
from hub_lab import PASSWORD, HubLab
from keycloak_lab import COMPANY, KeycloakLab, settings_of
from notebook_lab import make_teams
from public_proxy import public_proxy
from rich.console import Console

from components.identity.keycloak import BOOTSTRAP_USER, HEALTH_PATH, PUBLIC_PATHS, start_options
from components.identity.realm.realm import REALM
from components.identity.trust import FOLDER, TrustedCertificates
from components.identity.trust import environment as trust_environment
from components.platform_urls import PlatformUrls
from rehearsal.cloud.access import access_bindings
from rehearsal.controllers.world import NODES, Kubernetes, place
from rehearsal.machine import control_plane, java_tools
from rehearsal.machine.processes import answers, free_ports
from rehearsal.machine.toolchain import Toolchain

START_SECONDS = 300

_said: list[str] = []


@pytest.fixture(scope="session")
def keycloak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeycloakLab]:
    """A Keycloak with the platform's options, on a temporary database."""
    console = Console(stderr=True)
    home = java_tools.keycloak(console)
    config_cli = java_tools.config_cli(console)
    _said.append(_applied_by(config_cli))
    folder = tmp_path_factory.mktemp("keycloak")
    port, management_port, public_port = free_ports(3)
    public = f"http://localhost:{public_port}"
    password = secrets.token_urlsafe(24)
    authority = Authority()
    (folder / "authority.pem").write_text(authority.pem, encoding="utf-8")
    trusted = TrustedCertificates(sources=[], files=["authority.pem"], checksum="")
    command = [
        home / "bin" / "kc.sh",
        *start_options(PlatformUrls(public, "http://localhost:8000")),
        "--optimized",
        # What the chart says by variables.
        *("--http-enabled=true", "--proxy-headers=xforwarded", "--http-host=127.0.0.1"),
        *(f"--http-port={port}", f"--http-management-port={management_port}"),
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "JAVA_OPTS_KC_HEAP": "-Xms256m -Xmx768m",
        # It lives for minutes, in which the thorough compiler would never pay off.
        "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
        "KC_BOOTSTRAP_ADMIN_USERNAME": BOOTSTRAP_USER,
        "KC_BOOTSTRAP_ADMIN_PASSWORD": password,
        "KC_TRUSTSTORE_PATHS": trust_environment(trusted)["value"].replace(FOLDER, str(folder)),
    }
    with background(folder / "logs") as processes:
        processes.start("keycloak", command, environment)
        ready = f"http://127.0.0.1:{management_port}{HEALTH_PATH}"
        processes.wait_until("keycloak", lambda: answers(ready), seconds=START_SECONDS)
        # The realm of a provider lies behind the same load balancer.
        with public_proxy(public_port, port, (*PUBLIC_PATHS, f"/realms/{COMPANY}/")):
            yield KeycloakLab(f"http://127.0.0.1:{port}", public, password, folder, authority, config_cli)


@pytest.fixture(scope="session")
def teams_of_dev(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The kubeconfig of a control plane with dev's teams, and with one node, which is of the CPU pool."""
    folder = tmp_path_factory.mktemp("control-plane")
    with background(folder / "logs") as processes:
        plane = control_plane.start(
            folder, toolchain, processes, token_review_url="http://127.0.0.1:9/", bindings=access_bindings()
        )
        kubernetes = Kubernetes(plane.kubeconfig)
        amounts = {"cpu": "16", "memory": "64Gi", "pods": "29", "ephemeral-storage": "200Gi"}
        node = {
            "metadata": {"name": "node", "labels": {"gpulab.dev/pool": "cpu"}},
            "status": {"capacity": amounts, "allocatable": amounts},
        }
        kubernetes.create(place(NODES, "node"), node)
        make_teams(kubernetes, settings_of("dev"))
        yield plane.kubeconfig


@pytest.fixture
def account(hub: HubLab, request: pytest.FixtureRequest) -> Callable[..., str]:
    """Makes an account for only this test, in these groups and with these realm roles."""

    def made(*groups: str, roles: tuple[str, ...] = ()) -> str:
        name = f"{request.node.name.removeprefix('test_').replace('_', '-')[:40]}-{len(groups)}"
        representation = {
            "username": name,
            "email": f"{name}@example.com",
            "emailVerified": True,
            "firstName": "Some",
            "lastName": "One",
            "enabled": True,
            "groups": list(groups),
            "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
        }
        hub.keycloak.admin("POST", f"/{REALM}/users", representation)
        if roles:
            id = hub.keycloak.person(name)["id"]
            found = [hub.keycloak.ask(f"/roles/{role}") for role in roles]
            hub.keycloak.admin("POST", f"/{REALM}/users/{id}/role-mappings/realm", found)
        return name

    return made


def _applied_by(config_cli: Path | None) -> str:
    if config_cli is not None:
        return f"the realm was applied by keycloak-config-cli: {config_cli.name}"
    return (
        f"the realm was NOT applied by keycloak-config-cli {java_tools.CONFIG_CLI}, which can't be had here, but with"
        " its placeholders filled, by the admin API (rehearsal/node/images/files/config_cli/realm_importer.py)"
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says aloud what stood in for what."""
    for line in _said:
        terminalreporter.write_line(f"Keycloak {java_tools.KEYCLOAK}: {line}")
