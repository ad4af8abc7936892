"""The realm's administration, as an administrator uses it from within the cluster."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import requests

from components.identity.identity import FIRST_PASSWORDS
from components.identity.keycloak import BOOTSTRAP_SECRET, BOOTSTRAP_USER, NAMESPACE, PASSWORD_KEY, SERVICE
from components.identity.realm.people import LOCAL_PASSWORD
from components.identity.realm.realm import REALM
from rehearsal.controllers.world import Kubernetes, Object, place

PASSWORD = "Correct-Horse-7-Battery"
"""The password of the accounts that tests make, which the realm's policy accepts."""

_SECONDS = 60


class Keycloak:
    """The admin API of the site's Keycloak. Its methods raise requests.HTTPError."""

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._kubernetes = kubernetes

    @property
    def first_passwords(self) -> dict[str, str]:
        """The passwords for one use of administrators and seed users, as the stack's Secret has them."""
        text = self._secret(FIRST_PASSWORDS, "passwords")
        return dict(line.split(": ", 1) for line in text.splitlines())

    def add(self, name: str, groups: Sequence[str] = (), *, password: str = PASSWORD) -> None:
        """Makes an account in these groups, such as /vision/developer."""
        account = {
            "username": name,
            "email": f"{name}@example.com",
            "emailVerified": True,
            "firstName": name.capitalize(),
            "lastName": "Example",
            "enabled": True,
            "groups": list(groups),
            "credentials": [{"type": "password", "value": password, "temporary": False}],
        }
        self.call("POST", "/users", account)
        # The realm has a provider too, so a password of its own needs this role.
        role = self.call("GET", f"/roles/{LOCAL_PASSWORD}")
        self.call("POST", f"/users/{self.id_of(name)}/role-mappings/realm", [role])

    def join(self, name: str, group: str) -> None:
        """Adds somebody to a group."""
        self.call("PUT", f"/users/{self.id_of(name)}/groups/{self._group(group)}")

    def leave(self, name: str, group: str) -> None:
        """Removes somebody from a group."""
        self.call("DELETE", f"/users/{self.id_of(name)}/groups/{self._group(group)}")

    def is_locked(self, name: str) -> bool:
        """Whether too many wrong passwords have locked the account for a while."""
        return self.call("GET", f"/attack-detection/brute-force/users/{self.id_of(name)}")["disabled"]

    def sessions(self, name: str) -> list[Object]:
        """Somebody's sessions."""
        return self.call("GET", f"/users/{self.id_of(name)}/sessions")

    def id_of(self, name: str) -> str:
        """The id of an account."""
        (found,) = self.call("GET", f"/users?username={name}&exact=true")
        return found["id"]

    @contextlib.contextmanager
    def changed_client(self, name: str, **changes: Any) -> Iterator[None]:
        """A client of the realm has other values during the block."""
        (before,) = self.call("GET", f"/clients?clientId={name}")
        path = f"/clients/{before['id']}"
        self.call("PUT", path, {**before, **changes})
        try:
            yield
        finally:
            self.call("PUT", path, before)

    @contextlib.contextmanager
    def changed_claim(self, client: str, mapper: str, claim: str | None) -> Iterator[None]:
        """A claim of a client's tokens has another name during the block; with None there is no such claim."""
        (found,) = self.call("GET", f"/clients?clientId={client}")
        (before,) = [one for one in found["protocolMappers"] if one["name"] == mapper]
        path = f"/clients/{found['id']}/protocol-mappers/models"
        if claim is None:
            self.call("DELETE", f"{path}/{before['id']}")
        else:
            config = {**before["config"], "claim.name": claim}
            self.call("PUT", f"{path}/{before['id']}", {**before, "config": config})
        try:
            yield
        finally:
            if claim is None:
                self.call("POST", path, {key: value for key, value in before.items() if key != "id"})
            else:
                self.call("PUT", f"{path}/{before['id']}", before)

    def call(self, method: str, path: str, content: Any = None, *, realm: str = REALM) -> Any:
        """Calls the admin API; `path` begins within the realm."""
        return self.admin(method, f"/{realm}{path}", content)

    def admin(self, method: str, path: str, content: Any = None) -> Any:
        """Calls the admin API; `path` begins with a realm's name, or is empty for all realms."""
        answer = requests.request(
            method,
            f"{self._url}/admin/realms{path}",
            json=content,
            headers={"Authorization": f"Bearer {self._token()}"},
            timeout=_SECONDS,
        )
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def _token(self) -> str:
        """A new token each time: it lives for a minute, and the groups of an older one are those of its time."""
        form = {
            "grant_type": "password",
            "client_id": "admin-cli",
            "username": BOOTSTRAP_USER,
            "password": self._secret(BOOTSTRAP_SECRET, PASSWORD_KEY),
        }
        url = f"{self._url}/realms/master/protocol/openid-connect/token"
        answer = requests.post(url, data=form, timeout=_SECONDS)
        answer.raise_for_status()
        return answer.json()["access_token"]

    @property
    def _url(self) -> str:
        service = self._kubernetes.request("GET", place("/api/v1/services", SERVICE, NAMESPACE))
        return f"http://{service['spec']['clusterIP']}"

    def _group(self, path: str) -> str:
        return self.call("GET", f"/group-by-path{path}")["id"]

    def _secret(self, name: str, key: str) -> str:
        secret = self._kubernetes.request("GET", place("/api/v1/secrets", name, NAMESPACE))
        return base64.b64decode(secret["data"][key]).decode()
