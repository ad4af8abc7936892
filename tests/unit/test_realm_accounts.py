"""Who is taken for an administrator, by what Keycloak's admin API says, and what is removed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from components.identity.realm import apply_accounts
from components.identity.realm.accounts import accounts_environment, accounts_plan
from components.identity.realm.apply_accounts import NO_ACCOUNT
from components.identity.realm.people import ADMINISTRATORS_GROUP, initial_password, people
from components.identity.realm.realm import realm
from components.platform_urls import PlatformUrls
from settings import Identity

BOSS = "Boss@example.com"
SEED = {"grace": {"email": "grace@example.com", "firstName": "Grace", "lastName": "Hopper", "roles": ["developer"]}}
ADMIN_PASSWORD = "of the bootstrap administrator"
FIRST_PASSWORD = 'quotes " and \\ too'


@dataclass
class AdminApi:
    """What Keycloak has, and what it was asked, a line each; `bodies` is what came with it."""

    users: list[dict[str, Any]] = field(default_factory=list)
    members: list[str] = field(default_factory=list)
    marked: list[str] = field(default_factory=list)
    token_seconds: int = 60
    refuses: str = ""
    calls: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, str], body: str) -> tuple[int, Any]:
        """The status, and the content in JSON."""
        if path == "/realms/master/protocol/openid-connect/token":
            signs_in = parse_qs(body)["password"] == [ADMIN_PASSWORD]
            return (200, {"access_token": "token", "expires_in": self.token_seconds}) if signs_in else (401, {})
        return self._administered(method, path.removeprefix("/admin/realms/gpulab/"), query, body)

    def _administered(self, method: str, path: str, query: dict[str, str], body: str) -> tuple[int, Any]:
        self.calls.append(f"{method} {path}")
        self.bodies.append(json.loads(body) if body else None)
        if path == self.refuses:
            return 409, {"errorMessage": "User exists with same username"}
        if method != "GET":
            return (201 if path == "users" else 204), None
        found: Any = None
        match path.split("/"):
            case ["users"]:
                assert query.pop("exact") == "true"
                ((key, value),) = query.items()
                found = [user for user in self.users if user.get(key, "").lower() == value.lower()]
            case ["groups"]:
                assert query["q"] == "managed-by:gpulab"
                found = [{"id": f"id-of-{path}", "path": path} for path in self.marked]
            case ["groups", "id-of-administrators", "members"]:
                found = [{"id": member} for member in self.members]
            case ["group-by-path", *names]:
                found = {"id": "id-of-administrators" if names == [ADMINISTRATORS_GROUP] else "id-of-another"}
            case ["roles", name]:
                found = {"id": f"id-of-{name}", "name": name}
        return 200, found


@pytest.fixture
def api() -> Iterator[tuple[AdminApi, str]]:
    """Keycloak without anybody, and its address."""
    keycloak = AdminApi()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            address = urlsplit(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            query = {key: value for key, (value,) in parse_qs(address.query).items()}
            status, content = keycloak.answer(self.command, unquote(address.path), query, body)
            self.send_response(status)
            if status == 201:
                self.send_header("Location", f"http://keycloak{address.path}/made")
            self.end_headers()
            self.wfile.write(b"" if content is None else json.dumps(content).encode())

        do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - http.server names them

        def log_message(self, format: str, *args: Any) -> None:
            """Not to the log of the test."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield keycloak, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def apply(folder: Path, url: str, **sections: object) -> subprocess.CompletedProcess[str]:
    """Runs the program as the Job does, with Python's own library only."""
    identity = Identity.model_validate({"administrators": [BOSS], **sections})
    plan = accounts_plan(identity, realm(identity, PlatformUrls.of(None), ())["groups"])
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    (folder / "password").write_text(ADMIN_PASSWORD, encoding="utf-8")
    for person in people(identity):
        (folder / initial_password(person.username)).write_text(json.dumps(FIRST_PASSWORD)[1:-1], encoding="utf-8")
    environment = accounts_environment(
        url, realm="gpulab", user="admin", password_file=str(folder / "password"), folder=str(folder)
    )
    command = [sys.executable, "-I", "-S", apply_accounts.__file__, folder / "plan.json"]
    # A proxy that is not there: the way to Keycloak leads through none.
    environment["http_proxy"] = "http://127.0.0.1:9"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ADMIN_PASSWORD not in done.stdout + done.stderr
    return done


@pytest.mark.parametrize(
    ("account", "taken"),
    [
        (None, "made"),
        ({"id": "a1", "email": BOSS, "emailVerified": True, "username": "boss"}, "a1"),
        ({"id": "a2", "email": BOSS, "emailVerified": False, "federationLink": "ldap-1", "username": "boss"}, "a2"),
        ({"id": "a3", "federationLink": "ldap-1", "username": BOSS.lower()}, "a3"),
    ],
)
def test_an_administrator_is_the_account_whose_address_is_vouched_for(
    tmp_path: Path, api: tuple[AdminApi, str], account: dict[str, Any] | None, taken: str
) -> None:
    keycloak, url = api
    keycloak.users = [account] if account else []
    done = apply(tmp_path, url)
    assert done.returncode == 0, done.stderr
    assert f"PUT users/{taken}/groups/id-of-administrators" in keycloak.calls
    assert ("POST users" in keycloak.calls) is (taken == "made")


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        (
            {"id": "a1", "email": BOSS, "emailVerified": False, "username": "mallory"},
            f"the account mallory has the e-mail address {BOSS}, which is not",
        ),
        # A provider that says who somebody is says their user name too.
        ({"id": "a2", "emailVerified": True, "username": BOSS.lower()}, f"does not have the e-mail address {BOSS}"),
        ({"id": "a3", "username": BOSS.lower()}, f"does not have the e-mail address {BOSS}"),
    ],
)
def test_who_claims_an_administrators_address_or_name_gets_nothing(
    tmp_path: Path, api: tuple[AdminApi, str], account: dict[str, Any], reason: str
) -> None:
    keycloak, url = api
    keycloak.users = [account]
    done = apply(tmp_path, url)
    assert done.returncode == NO_ACCOUNT
    assert reason in done.stderr
    assert "admin console" in done.stderr
    assert not [call for call in keycloak.calls if not call.startswith("GET")]


def test_who_claims_a_seed_users_address_gets_none_of_their_roles(tmp_path: Path, api: tuple[AdminApi, str]) -> None:
    keycloak, url = api
    keycloak.users = [{"id": "a1", "email": "grace@example.com", "emailVerified": False, "username": "mallory"}]
    done = apply(tmp_path, url, seedUsers=SEED)
    assert "the account mallory has the e-mail address grace@example.com" in done.stderr
    assert not [call for call in keycloak.calls if "users/a1" in call]


def test_a_person_is_made_with_a_password_for_one_use_and_gets_their_roles(
    tmp_path: Path, api: tuple[AdminApi, str]
) -> None:
    keycloak, url = api
    keycloak.users = [{"id": "a1", "email": BOSS, "emailVerified": True, "username": "boss"}]
    assert apply(tmp_path, url, seedUsers=SEED).returncode == 0
    asked = dict(zip(keycloak.calls, keycloak.bodies, strict=True))
    made = asked["POST users"]
    assert made["credentials"] == [{"type": "password", "temporary": True, "value": FIRST_PASSWORD}]
    assert (made["username"], made["lastName"], made["emailVerified"]) == ("grace", "Hopper", True)
    assert [role["name"] for role in asked["POST users/made/role-mappings/realm"]] == ["developer"]


def test_administrators_who_are_not_named_and_groups_that_are_gone_are_removed(
    tmp_path: Path, api: tuple[AdminApi, str]
) -> None:
    keycloak, url = api
    keycloak.token_seconds = 0  # a new token for each call
    keycloak.users = [{"id": "a1", "email": BOSS, "emailVerified": True, "username": "boss"}]
    keycloak.members = ["a1", "a2"]
    keycloak.marked = [f"/{ADMINISTRATORS_GROUP}", "/gone/developer", "/gone-too", "/gone"]
    done = apply(tmp_path, url)
    assert done.returncode == 0, done.stderr
    assert [call for call in keycloak.calls if call.startswith("DELETE")] == [
        "DELETE users/a2/groups/id-of-administrators",
        "DELETE groups/id-of-/gone",
        "DELETE groups/id-of-/gone-too",
    ]


def test_what_keycloak_refuses_is_said_and_tried_again_and_no_password_is_said_with_it(
    tmp_path: Path, api: tuple[AdminApi, str]
) -> None:
    keycloak, url = api
    keycloak.refuses = "users"
    done = apply(tmp_path, url)
    assert done.returncode == 1
    assert "(409): " in done.stderr
    assert "User exists with same username" in done.stderr
    done = apply(tmp_path, "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "Keycloak does not answer at http://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr
