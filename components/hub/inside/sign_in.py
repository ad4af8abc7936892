"""The hub's configuration of sign-in: the one way in that the catalogue names, and what administrators may do.

What signs in is a file where the chart mounts `hub.existingSecret`; elsewhere it is a variable: OAUTH_CLIENT_SECRET, or
SIGN_IN_TOKEN.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator

from . import refusals, verify_account
from .authenticator import KeycloakAuthenticator
from .catalogue import Catalogue, CatalogueError, SignIn
from .people import ADMINISTRATORS, ROLES, group_of
from .sign_in_by_github import NOT_ADMITTED, GithubAuthenticator
from .sign_in_by_token import TokenAuthenticator

CLIENT_ID = "jupyterhub"
_SECRETS = Path("/usr/local/etc/jupyterhub/existing-secret")
CLIENT_SECRET = _SECRETS / "oauth-client-secret"
TOKEN = _SECRETS / "sign-in-token"

# The admin page and its actions. Left out is what leads into notebooks: `access:servers`, `shares`, `tokens` (makes
# tokens for anybody), `admin:users` (shows people's tokens of Keycloak), and `proxy`.
ADMINISTRATOR_SCOPES = (
    "admin-ui",
    "list:users",
    "read:users",
    "delete:users",
    "servers",
    "list:groups",
    "read:groups",
    "list:services",
    "read:services",
    "read:hub",
    "read:metrics",
)


def sign_in(c: Any, catalogue: Catalogue) -> None:
    """One way in, whatever else the configuration has. Raises CatalogueError for none that this hub knows."""
    other = catalogue.hub.sign_in
    match other.kind if other else "keycloak":
        case "keycloak":
            keycloak(c, catalogue)
        case "github" if other:
            github(c, catalogue, other)
        case "token" if other:
            token(c, catalogue, other)
        case kind:
            raise CatalogueError(f"the catalogue's hub.signIn.kind is {kind}, which this hub does not know")


def keycloak(c: Any, catalogue: Catalogue) -> None:
    """Only Keycloak. Browsers use its public name, the hub reaches it inside the cluster."""
    hub = catalogue.hub
    if not hub.realm_url or not hub.realm_url_inside:
        raise CatalogueError("the catalogue has neither a realm nor another way to sign in")
    public = f"{hub.realm_url}/protocol/openid-connect"
    inside = f"{hub.realm_url_inside}/protocol/openid-connect"
    ours = _through(c, catalogue, KeycloakAuthenticator)
    ours.client_id = CLIENT_ID
    ours.authorize_url = f"{public}/auth"
    ours.token_url = f"{inside}/token"
    ours.userdata_url = f"{inside}/userinfo"
    ours.end_session_url = f"{public}/logout"
    ours.return_url = f"{hub.platform_url}/jupyter/"
    ours.broker_url = f"{hub.realm_url_inside}/broker"
    ours.scope = ["openid"]
    ours.username_claim = "preferred_username"
    ours.login_service = "Keycloak"
    ours.auto_login = True
    ours.custom_403_message = refusals.nothing_to_start(catalogue)


def github(c: Any, catalogue: Catalogue, way: SignIn) -> None:
    """Only GitHub, and of its people only members of what the catalogue names."""
    access = catalogue.hub.github
    if not access or not (access.organizations or access.teams):
        raise CatalogueError("the catalogue's hub.github names no organisation and no team: anybody could sign in")
    ours = _through(c, catalogue, GithubAuthenticator)
    ours.client_id = way.client_id
    # Also members who hide their membership, and teams.
    ours.scope = ["read:org"]
    ours.populate_teams_in_auth_state = True
    ours.login_service = "GitHub"
    ours.custom_403_message = NOT_ADMITTED


def token(c: Any, catalogue: Catalogue, way: SignIn) -> None:
    """Only who has the token, and only as somebody whom the catalogue names."""
    ours = _of(c, catalogue, TokenAuthenticator)
    ours.user_password = TOKEN.read_text(encoding="utf-8") if TOKEN.exists() else os.environ.get("SIGN_IN_TOKEN", "")
    ours.admin_password = None
    ours.password_groups = {}
    ours.allowed_users = {name for members in way.members.values() for name in members}


def _through(c: Any, catalogue: Catalogue, kind: type[Authenticator]) -> Any:
    """The configuration of a sign-in by another service, as whose client the hub has a secret."""
    ours = _of(c, catalogue, kind)
    if CLIENT_SECRET.exists():
        ours.client_secret = CLIENT_SECRET.read_text(encoding="utf-8")
    ours.oauth_callback_url = f"{catalogue.hub.platform_url}/jupyter/hub/oauth_callback"
    ours.enable_pkce = True
    ours.allowed_groups = {ADMINISTRATORS, *(group_of(team, role) for team in catalogue.teams for role in ROLES)}
    return ours


def _of(c: Any, catalogue: Catalogue, kind: type[Authenticator]) -> Any:
    """The configuration of the only authenticator. What it sets for its own class wins over all that others set."""
    c.JupyterHub.authenticator_class = kind
    ours = c[kind.__name__]
    ours.catalogue = catalogue
    # The groups decide each time; having been here before does not count.
    ours.allow_all = False
    ours.allow_existing_users = False
    ours.blocked_users = {verify_account.NAME}
    ours.manage_groups = True
    ours.enable_auth_state = True
    ours.auth_refresh_age = catalogue.hub.refresh_groups_seconds
    ours.refresh_pre_spawn = True
    administrators(c, ours, enter_notebooks=catalogue.hub.administrator_access)
    return ours


def administrators(c: Any, ours: Any, *, enter_notebooks: bool) -> None:
    """Makes JupyterHub's administrators, or people who may do all of that except enter other people's notebooks.

    JupyterHub's own role `admin` cannot be reduced. `ours` is the authenticator's configuration.
    """
    if enter_notebooks:
        ours.admin_groups = {ADMINISTRATORS}
        return
    role = {"name": ADMINISTRATORS, "groups": [ADMINISTRATORS], "scopes": list(ADMINISTRATOR_SCOPES)}
    c.JupyterHub.load_roles = [*c.JupyterHub.get("load_roles", []), role]
