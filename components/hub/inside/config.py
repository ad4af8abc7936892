"""The hub's configuration that the chart has no values for: sign-in, profiles, pods, ending notebooks.

The chart's own configuration loads it last, by one line of `hub.extraConfig`:

    from gpulab.config import configure; configure(c)

`catalogue.json` is beside these modules, which are the package `gpulab` in /usr/local/etc/jupyterhub. The chart sets
the rest: where the hub listens, its base URL, `hub_connect_url`, the database, the cookie secret, and the keys that
encrypt auth state, which are required.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.utils import url_path_join

from . import culling, form, homes, notices, pod, pod_files, sign_in, spawner, token_secret, verify_runs
from .catalogue import Catalogue, read

CATALOGUE = Path(__file__).with_name("catalogue.json")
# Where JupyterHub listens by default.
_HUB_PORT = 8081


def configure(c: Any, catalogue: Path | str = CATALOGUE) -> None:
    """Sets everything on JupyterHub's configuration object. Raises OSError and CatalogueError."""
    known = read(catalogue)
    sign_in.sign_in(c, known)
    notebooks(c, known)
    ending(c, known, str(catalogue))
    verify_runs.service(c)


def notebooks(c: Any, catalogue: Catalogue) -> None:
    """What all notebooks have in common; each choice sets the rest."""
    hub = catalogue.hub
    c.JupyterHub.spawner_class = spawner.NotebookSpawner
    c.JupyterHub.allow_named_servers = hub.named_servers > 0
    c.JupyterHub.named_server_limit_per_user = hub.named_servers
    c.NotebookSpawner.catalogue = catalogue
    ours = c.KubeSpawner
    ours.profile_list = form.profile_list
    ours.pre_spawn_hook = spawner.pre_spawn_hook
    ours.modify_pod_hook = token_secret.hide
    # `pre_spawn_hook` applies them. Without a hook of its own JupyterHub warns at each start.
    ours.apply_user_options = lambda _spawner, _options: None
    # Seconds for an answer, and for all attempts. In a rush the hub itself is late: an answer that it takes for lost
    # makes it delete the pod and begin again.
    ours.k8s_api_request_timeout, ours.k8s_api_request_retry_timeout = 15, 60
    ours.start_timeout = hub.start_timeout_seconds
    # A refusal is not a failure of the hub, and five failures in a row would end the hub.
    ours.consecutive_failure_limit = 0
    ours.cmd = ["bash", pod_files.START]
    ours.default_url = "/lab"
    ours.uid, ours.gid, ours.fs_gid = pod.UID, pod.GID, pod.GID
    ours.allow_privilege_escalation = False
    ours.pod_security_context = pod.POD_SECURITY_CONTEXT
    ours.container_security_context = pod.CONTAINER_SECURITY_CONTEXT
    ours.automount_service_account_token = False
    ours.extra_pod_config = {"enableServiceLinks": False}
    ours.extra_annotations = pod.ANNOTATIONS
    ours.priority_class_name = pod.PRIORITY_CLASS
    ours.pvc_name_template = pod.HOME_CLAIM
    ours.storage_pvc_ensure = catalogue.homes.per_person
    if catalogue.homes.per_person:
        ours.storage_class = catalogue.homes.storage_class
        ours.storage_capacity = f"{catalogue.homes.size}Gi"
        ours.storage_access_modes = ["ReadWriteOnce"]


def ending(c: Any, catalogue: Catalogue, path: str) -> None:
    """The service that ends idle notebooks, its rights, and what the hub's home page says about it."""
    here = Path(__file__).absolute().parent
    package = __package__ or ""
    root = here.parents[package.count(".")]
    service = {
        "name": culling.SERVICE,
        "command": [sys.executable, "-m", f"{package}.culler", path],
        "environment": {"PYTHONPATH": str(root), "JUPYTERHUB_API_URL": _api_from_beside(c)},
    }
    role = {"name": culling.SERVICE, "services": [culling.SERVICE], "scopes": list(culling.SCOPES)}
    c.JupyterHub.services = [*c.JupyterHub.get("services", []), service]
    c.JupyterHub.load_roles = [*c.JupyterHub.get("load_roles", []), role]
    c.JupyterHub.extra_handlers = [*c.JupyterHub.get("extra_handlers", []), (notices.PATH, notices.EndsHandler)]
    c.JupyterHub.template_paths = [str(here), *c.JupyterHub.get("template_paths", [])]
    variables = c.JupyterHub.get("template_vars", {})
    shown = {"gpulab_notices": notices.notices_for(catalogue), "gpulab_homes": homes.notices_for(catalogue)}
    c.JupyterHub.template_vars = {**variables, **shown}


def _api_from_beside(c: Any) -> str:
    """The address of the hub's API for services beside it.

    `hub_connect_url` would go out to the hub's Service and back, which the hub's network policy does not allow.
    """
    port = urlsplit(c.JupyterHub.get("hub_bind_url", "")).port or _HUB_PORT
    return url_path_join(f"http://localhost:{port}", c.JupyterHub.get("base_url", "/"), "hub/api")
