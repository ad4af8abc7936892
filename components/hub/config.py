"""The hub's configuration that the chart has no values for: sign-in, profiles, pods, culling.

The chart's own configuration loads it last, by one line of `hub.extraConfig`:

    from gpulab.config import configure; configure(c)

Beside these modules, as the package `gpulab` in /usr/local/etc/jupyterhub, lies `catalogue.json`. The client's secret
is a file where the chart mounts `hub.existingSecret`; elsewhere it is in the environment, as OAUTH_CLIENT_SECRET. Not
set here, as the chart has them: where the hub listens, its base URL, `hub_connect_url`, the database, the cookie secret
and the keys that encrypt auth state, which have to be set.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.utils import url_path_join

from . import culling, notices, pod, spawner, tokens
from .authenticator import KeycloakAuthenticator
from .catalogue import Catalogue, read
from .people import ADMINISTRATORS, ROLES, group_of

CATALOGUE = Path(__file__).with_name("catalogue.json")
CLIENT_ID = "jupyterhub"
CLIENT_SECRET = Path("/usr/local/etc/jupyterhub/existing-secret/oauth-client-secret")

# Where JupyterHub listens unless it is told otherwise.
_HUB_PORT = 8081

# JupyterLab on a shared file system, with extensions: its first answer takes its time.
_HTTP_TIMEOUT = 120


def configure(c: Any, catalogue: Path | str = CATALOGUE) -> None:
    """Sets everything on JupyterHub's configuration object. Raises OSError and CatalogueError."""
    known = read(catalogue)
    sign_in(c, known)
    notebooks(c, known)
    ending(c, known, str(catalogue))


def sign_in(c: Any, catalogue: Catalogue) -> None:
    """Keycloak alone. Browsers go to its public name, the hub asks it inside the cluster."""
    hub = catalogue.hub
    public = f"{hub.realm_url}/protocol/openid-connect"
    inside = f"{hub.realm_url_inside}/protocol/openid-connect"
    c.JupyterHub.authenticator_class = KeycloakAuthenticator
    ours = c.KeycloakAuthenticator
    ours.catalogue = catalogue
    ours.client_id = CLIENT_ID
    if CLIENT_SECRET.exists():
        ours.client_secret = CLIENT_SECRET.read_text(encoding="utf-8")
    ours.oauth_callback_url = f"{hub.platform_url}/jupyter/hub/oauth_callback"
    ours.authorize_url = f"{public}/auth"
    ours.token_url = f"{inside}/token"
    ours.userdata_url = f"{inside}/userinfo"
    ours.end_session_url = f"{public}/logout"
    ours.return_url = f"{hub.platform_url}/jupyter/"
    ours.broker_url = f"{hub.realm_url_inside}/broker"
    ours.scope = ["openid"]
    ours.enable_pkce = True
    ours.username_claim = "preferred_username"
    ours.login_service = "Keycloak"
    ours.auto_login = True
    # The groups decide, each time: not that somebody was here before.
    ours.allow_all = False
    ours.allow_existing_users = False
    ours.manage_groups = True
    ours.admin_groups = {ADMINISTRATORS}
    ours.allowed_groups = {ADMINISTRATORS, *(group_of(team, role) for team in catalogue.teams for role in ROLES)}
    ours.custom_403_message = spawner.NOTHING_TO_START
    ours.enable_auth_state = True
    ours.auth_refresh_age = hub.refresh_groups
    ours.refresh_pre_spawn = True


def notebooks(c: Any, catalogue: Catalogue) -> None:
    """What all notebooks have in common; the rest is each choice's."""
    hub = catalogue.hub
    c.JupyterHub.spawner_class = spawner.NotebookSpawner
    c.JupyterHub.allow_named_servers = hub.named_servers > 0
    c.JupyterHub.named_server_limit_per_user = hub.named_servers
    c.NotebookSpawner.catalogue = catalogue
    ours = c.KubeSpawner
    ours.profile_list = spawner.profile_list
    ours.pre_spawn_hook = spawner.pre_spawn_hook
    ours.modify_pod_hook, ours.after_pod_created_hook = tokens.hide, tokens.keep
    ours.start_timeout = hub.start_timeout
    ours.http_timeout = _HTTP_TIMEOUT
    # A refusal is no fault of the hub's: five of them would end it.
    ours.consecutive_failure_limit = 0
    ours.cmd = ["bash", f"{pod.files.START}"]
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
    """The service that ends idle notebooks, what it may, and what the hub's home page says of it."""
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
    c.JupyterHub.template_vars = {**variables, "gpulab_notices": notices.notices_for(catalogue)}


def _api_from_beside(c: Any) -> str:
    """The hub's API for what runs beside it. By `hub_connect_url` it would go out to the hub's Service and back in.

    The hub's network policy has no way for that, and needs none.
    """
    port = urlsplit(c.JupyterHub.get("hub_bind_url", "")).port or _HUB_PORT
    return url_path_join(f"http://localhost:{port}", c.JupyterHub.get("base_url", "/"), "hub/api")
