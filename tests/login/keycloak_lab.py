"""A running Keycloak for tests: its admin API, and the realm applied to it as the Job of the platform does."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

import realm_importer

import settings
from components.keycloak import BOOTSTRAP_USER
from components.realm import REALM, Addresses, realm, realm_secrets
from components.realm_job import import_environment
from components.realm_secrets import FOLDER
from settings import Identity

TOKEN_SECONDS = 30
PROJECT = Path(__file__).parents[2]
TODAY = datetime.date(2026, 6, 1)


def identity_of(stack: str) -> Identity:
    """The identity section of a committed stack file."""
    found = _settings_of(stack).identity
    assert found is not None
    return found


def addresses_of(stack: str) -> Addresses:
    """Where people find the platform of a committed stack file."""
    return Addresses.of(_settings_of(stack).ingress.domain)


def _settings_of(stack: str) -> settings.Settings:
    return settings.check_stack_file(PROJECT / f"Pulumi.{stack}.yaml", stack, TODAY)


@dataclass
class KeycloakLab:
    """`url` is the server's own address, as tools in the cluster have it; `public` is that of the load balancer."""

    url: str
    public: str
    password: str
    folder: Path
    config_cli: Path | None
    imported_groups: set[str] = field(default_factory=set)
    """The groups that `realm_importer` made; keycloak-config-cli keeps its own list, in the realm."""
    _token: str = field(default="", init=False)
    _asked: float = field(default=0, init=False)

    @property
    def realm_url(self) -> str:
        """The realm, as people reach it."""
        return f"{self.public}/realms/{REALM}"

    def admin(self, method: str, path: str, content: Any = None) -> Any:
        """One call of the admin API; `path` begins after `/admin/realms`. Raises HTTPError."""
        if time.monotonic() - self._asked > TOKEN_SECONDS:
            self._token, self._asked = self._signed_in(), time.monotonic()
        request = urllib.request.Request(
            f"{self.url}/admin/realms{path}",
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def ask(self, path: str) -> Any:
        """What the admin API has at a path of the realm."""
        return self.admin("GET", f"/{REALM}{path}")

    def token(self) -> str:
        """A token of the bootstrap administrator."""
        return self._signed_in()

    def forget(self) -> None:
        """Removes the realm."""
        try:
            self.admin("DELETE", f"/{REALM}")
        except HTTPError as error:
            if error.code != 404:
                raise

    def apply(self, identity: Identity, addresses: Addresses, teams: tuple[str, ...] = ()) -> dict[str, str]:
        """Applies the realm of a stack's identity section; returns the secrets that it was applied with."""
        document = realm(identity, addresses, teams)
        secrets = {variable: f"Generated-{variable}-1" for variable in realm_secrets(identity)}
        if self.config_cli is None:
            realm_importer.apply(self, document, secrets)
            return secrets
        # The files as the Job's pod has them: a folder of the realm's secrets, and one of keycloak-config-cli's own.
        file, folder, own = self.folder / "realm.json", self.folder / "secrets", self.folder / "settings"
        file.write_text(json.dumps(document).replace(FOLDER, str(folder)), encoding="utf-8")
        for place, files in ((folder, secrets), (own, {"keycloak.password": self.password})):
            place.mkdir(exist_ok=True)
            for name, content in files.items():
                (place / name).write_text(content, encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            **import_environment(self.url, f"file:{file}"),
            "SPRING_CONFIG_IMPORT": f"configtree:{own}/",
        }
        command = ["java", "-jar", str(self.config_cli)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        leaked = [variable for variable, value in secrets.items() if value in done.stdout + done.stderr]
        assert not leaked, f"in the log of keycloak-config-cli: {leaked}"
        self._asked = 0  # a realm made since is not in an older token
        return secrets

    def person(self, username: str) -> dict[str, Any]:
        """An account."""
        (found,) = self.ask(f"/users?{urlencode({'username': username, 'exact': 'true'})}")
        return found

    def groups_of(self, username: str) -> set[str]:
        """The paths of the groups that somebody is in."""
        return {group["path"] for group in self.ask(f"/users/{self.person(username)['id']}/groups")}

    def all_groups(self) -> set[str]:
        """The path of every group."""
        found: set[str] = set()
        waiting = self.ask("/groups")
        while waiting:
            group = waiting.pop()
            found.add(group["path"])
            waiting += self.ask(f"/groups/{group['id']}/children")
        return found

    def everything(self) -> dict[str, Any]:
        """The realm as Keycloak exports it, with its people, and without what keycloak-config-cli notes of itself."""
        exported = self.admin("POST", f"/{REALM}/partial-export?exportClients=true&exportGroupsAndRoles=true")
        exported["attributes"] = {
            name: value for name, value in exported["attributes"].items() if "keycloak-config" not in name
        }
        people = self.ask("/users")
        return {**exported, "users": [{**one, "groups": sorted(self.groups_of(one["username"]))} for one in people]}

    def _signed_in(self) -> str:
        form = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": BOOTSTRAP_USER,
            "password": self.password,
        }
        url = f"{self.url}/realms/master/protocol/openid-connect/token"
        with urllib.request.urlopen(url, data=urlencode(form).encode(), timeout=60) as answer:
            return json.load(answer)["access_token"]
