"""The account by which `python -m verify` and the stack's own job start notebooks. No person can have it.

It is a user of the hub for whom only a service of the hub begins runs (`verify_runs.py`). Sign-in refuses the
name, and a person who had it before must sign in again, which is then refused too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .catalogue import Catalogue
from .people import ROLES, group_of

if TYPE_CHECKING:
    from jupyterhub.user import User

NAME = "gpulab-verify"
"""The user's name."""
SERVICE = "gpulab-verify-service"
"""The service's. It is another one, because JupyterHub lets nobody delete a user of their own name."""
TOKEN_KEY = "verify-token"  # noqa: S105 (a key's name)
"""The key of the service's token in the hub's Secret."""
API_PATH = "gpulab/verify"
"""Where the hub's API begins a run, below its address."""


async def refreshed(user: User, catalogue: Catalogue) -> dict[str, Any] | bool:
    """Who the user is, for the hub's authenticator: in each team with each role. False for a person of that name.

    People have auth state from their sign-in; the user that the service makes has none.
    """
    if await user.get_auth_state():
        return False
    groups = [group_of(team, role) for team in catalogue.teams for role in ROLES]
    return {"name": user.name, "admin": False, "groups": groups, "auth_state": None}
