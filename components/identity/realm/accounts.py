"""What happens in the realm after keycloak-config-cli: accounts, administrators, and groups that are no longer needed.

keycloak-config-cli 6.5 can't do this. It finds an account only by its user name (and fails if another account has the
e-mail address). It deletes either no groups, or every group below a team's that it does not know.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

from components.identity.realm.people import ADMINISTRATORS_GROUP, Account, initial_password, people

if TYPE_CHECKING:
    from settings import Identity

MARK = ("managed-by", "gpulab")
"""The attribute of groups that the stack made."""


def accounts_plan(identity: Identity, groups: Collection[dict[str, Any]]) -> dict[str, Any]:
    """What `apply_accounts` does, as JSON. `groups` are the realm's, as its document has them.

    Every change of it makes a new Job, as a change of the realm does.
    """
    return {
        "people": [_person(person) for person in people(identity)],
        "administrators": {"group": f"/{ADMINISTRATORS_GROUP}", "names": list(identity.administrator_names)},
        "groups": sorted(_paths(groups)),
        "mark": ":".join(MARK),
    }


def accounts_environment(url: str, *, realm: str, user: str, password_file: str, folder: str) -> dict[str, str]:
    """The variables of `apply_accounts`. `folder` has the first passwords, one per file, escaped for JSON."""
    return {
        "KEYCLOAK_URL": url,
        "KEYCLOAK_USER": user,
        "PASSWORD_FILE": password_file,
        "FOLDER": folder,
        "REALM": realm,
    }


def _person(person: Account) -> dict[str, Any]:
    names = {"firstName": person.first_name, "lastName": person.last_name}
    account = {
        "username": person.username,
        "email": person.email,
        "emailVerified": True,
        "enabled": True,
        **{key: name for key, name in names.items() if name},
    }
    return {
        "account": account,
        "file": initial_password(person.username),
        "roles": list(person.roles),
        "groups": list(person.groups),
    }


def _paths(groups: Collection[dict[str, Any]]) -> Iterator[str]:
    for group in groups:
        yield group["path"]
        yield from _paths(group.get("subGroups", []))
