"""The modules as in the hub: a package with another name next to its catalogue, without the rest of the project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

from hub_catalogue import file

from components.hub.jupyterhub import hub_modules
from components.hub.values import CONFIGURATION, PACKAGE, hub_url
from components.identity.realm.clients import HUB_BASE_URL
from components.teams.names import HUB_PORT

REPORT = """
import json, sys
# A grammar of formats, which nothing here asks for and which takes a second to build.
sys.modules["rfc3987_syntax"] = None
from traitlets.config import Config
c = Config()
# As the chart's own configuration, which comes first.
c.JupyterHub.base_url = "{base_url}/"
c.JupyterHub.hub_bind_url = "http://:{port}"
c.JupyterHub.hub_connect_url = "{hub_url}"
{configuration}
(service,) = c.JupyterHub.services
from jupyterhub.app import JupyterHub
from jinja2 import Environment, FileSystemLoader
print(json.dumps({{
    "command": service["command"],
    "environment": service["environment"],
    "spawner": c.JupyterHub.spawner_class.__module__,
    "templates": Environment(loader=FileSystemLoader(c.JupyterHub.template_paths)).list_templates(extensions=["html"]),
}}))
"""


def test_the_hub_loads_them_by_the_charts_line_and_starts_the_culler(tmp_path: Path) -> None:
    mounted = tmp_path / "..2026_09_01"
    mounted.mkdir()
    for name, text in {**hub_modules(), "catalogue.json": file().read_text(encoding="utf-8")}.items():
        (mounted / name).write_text(text, encoding="utf-8")
    # As kubelet mounts ConfigMaps: each file is a link to the newest version's.
    package = tmp_path / PACKAGE
    package.mkdir()
    shutil.move(mounted, package / mounted.name)
    (package / "..data").symlink_to(mounted.name)
    for name in (*hub_modules(), "catalogue.json"):
        (package / name).symlink_to(f"..data/{name}")

    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    report = REPORT.format(configuration=CONFIGURATION, base_url=HUB_BASE_URL, port=HUB_PORT, hub_url=hub_url())
    command = [sys.executable, "-c", report]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["spawner"] == f"{PACKAGE}.spawner"
    assert "home.html" in found["templates"]

    # The hub's network policy lets nothing out to the hub.
    url = urlsplit(found["environment"]["JUPYTERHUB_API_URL"])
    assert (url.hostname, url.port, url.path) == ("localhost", HUB_PORT, f"{HUB_BASE_URL}/hub/api")

    # Without the hub's variables the culler gets no further than these.
    service = {**environment, **found["environment"]}
    culler = subprocess.run(found["command"], cwd="/", env=service, capture_output=True, text=True, check=False)
    assert culler.returncode != 0
    assert "KeyError: 'JUPYTERHUB_API_TOKEN'" in culler.stderr
