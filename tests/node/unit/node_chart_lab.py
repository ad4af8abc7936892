"""The rehearsal's own charts, rendered by the real Helm with the values that the platform gives them."""

from __future__ import annotations

import base64
import copy
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import yaml
from tornado.httpclient import AsyncHTTPClient
from traitlets.config import Config

import settings
from components.ground.placement import Placement
from components.ground.reach import Reach
from components.ground.system_nodes import SYSTEM_NODES
from components.hub.values import HubValuesArgs, hub_values
from components.identity import keycloak
from components.identity.trust import TrustedCertificates
from components.images import with_digests
from components.ingress import traefik
from components.platform_urls import PlatformUrls
from components.storage import cluster_database, site_storage
from components.storage.database import Connection
from components.teams.names import HUB_NAMESPACE
from rehearsal.machine.workspace import PROJECT
from settings.storage_install import Seaweedfs

STACK_FILES = (*sorted(PROJECT.glob("Pulumi.*.yaml")), *sorted((PROJECT / "examples").glob("*.yaml")))
DATABASE_URL = "postgresql+psycopg2://jupyterhub@database:5432/jupyterhub?sslmode=require"
SITE = Placement(
    node_selector={"role": "system"},
    tolerations=[{"key": "system", "operator": "Exists"}],
    annotations={"gpulab.dev/keep": "true"},
    off_pools={},
)
REACH = Reach(cluster_cidr="10.42.0.0/16", api_server_cidrs=("10.43.0.1/32",), api_server_ports=(443, 6443))

Object = dict[str, Any]


class HelmRefusedError(Exception):
    """Helm does not render the chart with these values."""


@dataclass(frozen=True)
class Release:
    """A release, with the values that the platform gives."""

    chart: str
    name: str
    namespace: str
    values: Mapping[str, Any]


@dataclass(frozen=True)
class ChartLab:
    """The charts in a folder, and Helm."""

    charts: Path
    helm: Path

    def render(self, release: Release, *more: str) -> list[Object]:
        """The objects of a release. Raises HelmRefusedError."""
        command = [self.helm, "template", release.name, self.charts / release.chart, "--namespace", release.namespace]
        command += ["--values", "-", *more]
        values = json.dumps(release.values)
        done = subprocess.run(command, input=values, capture_output=True, text=True, check=False)
        if done.returncode:
            raise HelmRefusedError(done.stderr)
        # The parser in C takes a tenth of the time.
        return [one for one in yaml.load_all(done.stdout, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if one]


def stack(path: Path) -> settings.Settings:
    return settings.check_stack_file(path, path.stem.removeprefix("Pulumi."), datetime.date(2026, 6, 1))


def hub_release(of: settings.Settings, *, database_url: str | None = None) -> Release:
    """The hub's, on the ground of the stack."""
    args = HubValuesArgs(
        settings=of,
        placement=SITE if isinstance(of, settings.ExistingSettings) else SYSTEM_NODES,
        reach=REACH,
        modules="hub-modules-1",
        catalogue="hub-catalogue-1",
        secrets_checksum="0" * 64,
        database_url=database_url,
    )
    return Release("jupyterhub", "jupyterhub", HUB_NAMESPACE, hub_values(args))


def keycloak_release(of: settings.Settings) -> Release:
    """Keycloak's, with an authority of a directory that it trusts."""
    assert of.identity
    trusted = TrustedCertificates(sources=[{"secret": {"name": "keycloak-trust"}}], files=["0.pem"], checksum="1")
    connection = Connection(
        host="keycloak-db-rw",
        port=5432,
        database="keycloak",
        username="keycloak",
        password=pulumi.Output.from_input(""),
    )
    args = keycloak.KeycloakArgs(
        settings=of.identity.keycloak,
        namespace=keycloak.NAMESPACE,
        urls=PlatformUrls.of(of.ingress.domain),
        database=connection,
        placement=SITE,
        trusted=trusted,
    )
    values = keycloak.keycloak_values(args)
    # The text is an output in the program.
    volume = {"name": "trust", "projected": {"sources": trusted.sources}}
    values["extraVolumes"] = f"- {json.dumps(volume)}"
    return Release("keycloakx", keycloak.NAME, keycloak.NAMESPACE, values)


def traefik_release() -> Release:
    args = traefik.TraefikArgs(ingress_class="gpulab", load_balancer_ip="192.168.1.240", placement=SITE)
    return Release(traefik.CHART, traefik.RELEASE, traefik.NAMESPACE, traefik.traefik_values(args))


def operator_release() -> Release:
    name = cluster_database.OPERATOR
    values = with_digests(name, cluster_database.operator_values(SITE), {}, by_digest=True)
    return Release(name, name, cluster_database.OPERATOR_NAMESPACE, values)


def leaves(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values that are not empty: an empty list says nothing that a template could use."""
    items = values.items() if isinstance(values, Mapping) else enumerate(values) if isinstance(values, list) else None
    if items is None:
        yield path
        return
    for key, value in items:
        yield from leaves(value, (*path, key))


def changed(release: Release, path: tuple[Any, ...]) -> Release:
    """The release with another value at the path."""
    values = copy.deepcopy(dict(release.values))
    at: Any = values
    for key in path[:-1]:
        at = at[key]
    value = at[path[-1]]
    if isinstance(value, bool):
        at[path[-1]] = not value
    elif isinstance(value, int):
        at[path[-1]] = value + 1
    else:
        # Helm's null is the default of the chart without a value: any text differs from it.
        at[path[-1]] = f"{value or ''}-changed"
    return Release(release.chart, release.name, release.namespace, values)


def driver_releases() -> list[Release]:
    """Those of the drivers of volumes that the platform can install on a site."""
    of = stack(PROJECT / "Pulumi.workstation.yaml")
    assert isinstance(of, settings.ExistingSettings)
    args = site_storage.SiteStorageClassesArgs(settings=of.storage, distribution="k3s", placement=SITE)
    values = {
        site_storage.NFS_CHART: site_storage.nfs_values(args),
        site_storage.SEAWEEDFS_CHART: site_storage.seaweedfs_values(args, Seaweedfs(filer="filer.example.com:8888")),
    }
    return [Release(chart, chart, site_storage.NAMESPACE, found) for chart, found in values.items()]


def hub_configuration(objects: list[Object], folder: Path, **secrets: str) -> Config:
    """What the hub's own configuration file sets, in a folder as the hub's container has it.

    `secrets` are the keys of `hub.existingSecret`. The package of `hub.extraConfig` only leaves a mark.
    """
    found = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    secret = {key: base64.b64decode(value).decode() for key, value in found["Secret", "hub"]["data"].items()}
    configuration = found["ConfigMap", "hub"]["data"]
    parts = {"config": configuration, "secret": secret, "existing-secret": secrets}
    parts["gpulab"] = {"__init__.py": "", "config.py": "def configure(c):\n    c.Gpulab.is_loaded = True\n"}
    for part, files in parts.items():
        (folder / part).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / part / name).write_text(text, encoding="utf-8")
    for name in ("jupyterhub_config.py", "z2jh.py"):
        (folder / name).write_text(configuration[name], encoding="utf-8")
    return _executed(folder / "jupyterhub_config.py")


def _executed(file: Path) -> Config:
    """The traits that a configuration file sets, in a process that has what Kubernetes puts into the environment."""
    made, path, environment, client = Config(), list(sys.path), dict(os.environ), AsyncHTTPClient.configure
    os.environ.update(HUB_SERVICE_PORT="8081", PROXY_API_SERVICE_PORT="8001", POD_NAMESPACE=HUB_NAMESPACE)
    # The client is curl's, which is in the hub's image.
    AsyncHTTPClient.configure = lambda *_, **__: None  # type: ignore[method-assign]
    for name in [name for name in sys.modules if name.partition(".")[0] in ("z2jh", "gpulab")]:
        del sys.modules[name]
    try:
        exec(
            compile(file.read_text(encoding="utf-8"), str(file), "exec"),
            {"get_config": lambda: made, "__file__": str(file)},
        )
    finally:
        AsyncHTTPClient.configure = client  # type: ignore[method-assign]
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(environment)
    return made
