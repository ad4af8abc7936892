"""A running Keycloak for tests: its admin API, and the realm applied to it as the Job of the platform does."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

from authorities import Authority

import settings
from components.identity.keycloak import BOOTSTRAP_USER
from components.identity.realm import apply_accounts
from components.identity.realm.accounts import accounts_environment, accounts_plan
from components.identity.realm.job import import_environment
from components.identity.realm.realm import REALM, realm, realm_secrets
from components.identity.realm.secrets import FOLDER
from components.platform_urls import PlatformUrls
from rehearsal.node.images.downloads import FILES
from settings import Identity

TOKEN_SECONDS = 30
PROJECT = Path(__file__).parents[2]
TODAY = datetime.date(2026, 6, 1)
CONFIG_CLI = FILES / "config_cli" / "keycloak_config_cli.py"
"""What applies the realm where keycloak-config-cli can't be had."""
COMPANY = "company"
"""The realm that acts as another identity provider."""


def identity_of(stack: str) -> Identity:
    """The identity section of a committed stack file."""
    found = settings_of(stack).identity
    assert found is not None
    return found


def addresses_of(stack: str) -> PlatformUrls:
    """Where people find the platform of a committed stack file."""
    return PlatformUrls.of(settings_of(stack).ingress.domain)


def settings_of(stack: str) -> settings.EksSettings:
    """The settings of a committed stack file."""
    return settings.on_eks(settings.check_stack_file(PROJECT / f"Pulumi.{stack}.yaml", stack, TODAY))


@dataclass
class KeycloakLab:
    """`url` is the server's address for tools in the cluster; `public` is the load balancer's.

    The Keycloak trusts `authority`.
    """

    url: str
    public: str
    password: str
    folder: Path
    authority: Authority
    config_cli: Path | None
    _token: str = field(default="", init=False)
    _asked: float = field(default=0, init=False)

    @property
    def realm_url(self) -> str:
        """The realm, as people reach it."""
        return f"{self.public}/realms/{REALM}"

    def admin(self, method: str, path: str, content: Any = None) -> Any:
        """Calls the admin API; `path` begins after `/admin/realms`. Raises HTTPError."""
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

    def apply(self, identity: Identity, urls: PlatformUrls, teams: tuple[str, ...] = ()) -> dict[str, str]:
        """Applies the realm of a stack's identity section; returns the secrets that it was applied with."""
        document = realm(identity, urls, teams)
        secrets = {variable: f"Generated-{variable}-1" for variable in realm_secrets(identity)}
        # The files as the Job's pod has them: a folder of the realm's secrets, and one of keycloak-config-cli's own.
        for place, files in ((self._secrets, secrets), (self._own, {"keycloak.password": self.password})):
            place.mkdir(exist_ok=True)
            for name, content in files.items():
                (place / name).write_text(content, encoding="utf-8")
        self._import(document, secrets)
        self._asked = 0  # a realm made since is not in an older token
        done = self.apply_accounts(accounts_plan(identity, document["groups"]))
        assert done.returncode == 0, done.stdout + done.stderr
        leaked = [variable for variable, value in secrets.items() if value in done.stdout + done.stderr]
        assert not leaked, f"in the log of the second step: {leaked}"
        return secrets

    def _import(self, document: dict[str, Any], secrets: dict[str, str]) -> None:
        file = self.folder / "realm.json"
        file.write_text(json.dumps(document).replace(FOLDER, str(self._secrets)), encoding="utf-8")
        environment = {
            "PATH": os.environ["PATH"],
            **import_environment(self.url, f"file:{file}"),
            "SPRING_CONFIG_IMPORT": f"configtree:{self._own}/",
        }
        command = ["java", "-jar", str(self.config_cli)] if self.config_cli else [sys.executable, str(CONFIG_CLI)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        leaked = [variable for variable, value in secrets.items() if value in done.stdout + done.stderr]
        assert not leaked, f"in the log of keycloak-config-cli: {leaked}"

    def apply_accounts(self, plan: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        """Runs the Job's second step."""
        file = self.folder / "accounts.json"
        file.write_text(json.dumps(plan), encoding="utf-8")
        environment = accounts_environment(
            self.url,
            realm=REALM,
            user=BOOTSTRAP_USER,
            password_file=str(self._own / "keycloak.password"),
            folder=str(self._secrets),
        )
        command = [sys.executable, apply_accounts.__file__, file]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    @property
    def _secrets(self) -> Path:
        return self.folder / "secrets"

    @property
    def _own(self) -> Path:
        return self.folder / "settings"

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
        """The realm as Keycloak exports it, with its people, but without keycloak-config-cli's own attributes."""
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
