"""Makes accounts, says who administers and removes groups, by Keycloak's admin API: `python3 apply_accounts.py PLAN`.

It runs after keycloak-config-cli, in the hub's image, with the standard library only. PLAN is a file with what
`accounts.accounts_plan` returns. The variables are those of `accounts.accounts_environment`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

NO_ACCOUNT = 3
"""The exit code for an account that is not there, or may be somebody else's: trying again does not help."""

_TIMEOUT = 60  # seconds
_EVERY = 100_000  # of what the API lists in pages


class Realm:
    """The admin API of one realm, asked by an administrator of the realm `master`."""

    def __init__(self, url: str, realm: str, user: str, password: str) -> None:
        self._url, self._realm = url, quote(realm)
        self._sign_in = {"grant_type": "password", "client_id": "admin-cli", "username": user, "password": password}
        self._token, self._expires = "", 0.0
        # Keycloak is in the cluster: the way to it leads through no proxy.
        self._open = build_opener(ProxyHandler({})).open

    def ask(self, method: str, path: str, content: Any = None, **query: str | int) -> Any:
        """What Keycloak answers, or the id of what it made. Raises SystemExit, with the reason, where it refuses."""
        if time.monotonic() > self._expires:
            self._renew()
        address = f"{self._url}/admin/realms/{self._realm}/{path}" + (f"?{urlencode(query)}" if query else "")
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        body = None if content is None else json.dumps(content).encode()
        text, location = self._send(Request(address, data=body, headers=headers, method=method))
        return json.loads(text) if text else location.rpartition("/")[2]

    def _renew(self) -> None:
        """Gets a token, and another one at half of its life."""
        url = f"{self._url}/realms/master/protocol/openid-connect/token"
        asked = time.monotonic()
        answer = json.loads(self._send(Request(url, data=urlencode(self._sign_in).encode()))[0])
        self._token, self._expires = answer["access_token"], asked + answer["expires_in"] / 2

    def _send(self, request: Request) -> tuple[bytes, str]:
        try:
            with self._open(request, timeout=_TIMEOUT) as answer:
                return answer.read(), answer.headers.get("Location", "")
        except HTTPError as error:
            reason = error.read().decode(errors="replace") or error.reason
            sys.exit(f"Keycloak refused {request.get_method()} {request.full_url} ({error.code}): {reason}")
        except (URLError, OSError) as error:
            sys.exit(f"Keycloak does not answer at {self._url}: {getattr(error, 'reason', error)}")


def apply(realm: Realm, plan: dict[str, Any], passwords: Path) -> None:
    """Does all that the plan says. `passwords` is the folder with the first passwords, as they stand in JSON text."""
    administer = plan["administrators"]["group"]
    administrators = set()
    for person in plan["people"]:
        id = _account(realm, person["account"], passwords / person["file"])
        if roles := [realm.ask("GET", f"roles/{quote(role)}") for role in person["roles"]]:
            realm.ask("POST", f"users/{id}/role-mappings/realm", roles)
        for group in person["groups"]:
            _join(realm, id, group)
        if administer in person["groups"]:
            administrators.add(id)
    for name in plan["administrators"]["names"]:
        id = _existing_account(realm, name)
        _join(realm, id, administer)
        administrators.add(id)
    group = _group(realm, administer)
    for member in realm.ask("GET", f"groups/{group}/members", max=_EVERY):
        if member["id"] not in administrators:
            realm.ask("DELETE", f"users/{member['id']}/groups/{group}")
    for path, id in _other_groups(realm, plan["mark"], set(plan["groups"])):
        print(f"removing the group {path}")
        realm.ask("DELETE", f"groups/{id}")


def _account(realm: Realm, wanted: dict[str, Any], password: Path) -> str:
    """The id of a person's account, which is made where there is none.

    Anybody may claim an address on the page of their own account or at a provider, and a user name at a provider: what
    counts is an address that is verified, and what comes from the directory.
    """
    email = wanted["email"]
    found = _find(realm, email=email)
    if found and not found.get("federationLink") and not found.get("emailVerified"):
        _no_account(
            f"identity: the account {found['username']} has the e-mail address {email}, which is not verified, so it"
            ' may be somebody else\'s. Find out whose it is. Then set "Email verified" of it in the admin console, or'
            " remove the account"
        )
    if not found:
        found = _find(realm, username=wanted["username"])
        if found and not found.get("federationLink"):
            _no_account(
                f"identity: the account {found['username']} does not have the e-mail address {email}, so it may be"
                ' somebody else\'s. Find out whose it is. Then set its e-mail address and "Email verified" in the admin'
                " console, or remove the account"
            )
    if found:
        return found["id"]
    first = json.loads(f'"{password.read_text(encoding="utf-8")}"')
    credentials = [{"type": "password", "temporary": True, "value": first}]
    return realm.ask("POST", "users", {**wanted, "credentials": credentials})


def _existing_account(realm: Realm, name: str) -> str:
    found = _find(realm, username=name)
    if not found:
        _no_account(
            f"identity.administrators: neither the realm nor a directory has an account named {name}. Correct the name;"
            " or name an e-mail address, for which an account is made"
        )
    return found["id"]


def _find(realm: Realm, **by: str) -> dict[str, Any] | None:
    found = realm.ask("GET", "users", exact="true", **by)
    return found[0] if found else None


def _no_account(reason: str) -> NoReturn:
    print(reason, file=sys.stderr)
    sys.exit(NO_ACCOUNT)


def _group(realm: Realm, path: str) -> str:
    return realm.ask("GET", f"group-by-path{quote(path)}")["id"]


def _join(realm: Realm, account: str, group: str) -> None:
    realm.ask("PUT", f"users/{account}/groups/{_group(realm, group)}")


def _other_groups(realm: Realm, mark: str, wanted: set[str]) -> Iterator[tuple[str, str]]:
    """The path and the id of each group with the stack's mark that it no longer has.

    Deleting a group deletes what is within it, so groups within another are left out.
    """
    gone: list[str] = []
    marked = realm.ask("GET", "groups", q=mark, populateHierarchy="false", max=_EVERY)
    for path, id in sorted((group["path"], group["id"]) for group in marked if group["path"] not in wanted):
        if not any(path.startswith(f"{above}/") for above in gone):
            gone.append(path)
            yield path, id


def main(plan: str, environment: dict[str, str]) -> None:
    """Raises SystemExit, with the reason, where something is refused or not there."""
    password = Path(environment["PASSWORD_FILE"]).read_text(encoding="utf-8").removesuffix("\n")
    realm = Realm(environment["KEYCLOAK_URL"], environment["REALM"], environment["KEYCLOAK_USER"], password)
    apply(realm, json.loads(Path(plan).read_text(encoding="utf-8")), Path(environment["FOLDER"]))


if __name__ == "__main__":
    main(sys.argv[1], dict(os.environ))
