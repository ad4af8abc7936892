#!/usr/bin/python3
"""Stands for keycloak-config-cli in its image: its settings that the platform uses, with the same meaning.

KEYCLOAK_URL, KEYCLOAK_USER, KEYCLOAK_AVAILABILITYCHECK_TIMEOUT, IMPORT_FILES_LOCATIONS, and a folder of settings, one
file each (SPRING_CONFIG_IMPORT=configtree:FOLDER/), with keycloak.password.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode

from realm_importer import apply

_TOKEN_SECONDS = 30
_ANSWER_SECONDS = 60


class Server:
    """The admin API of the server at $KEYCLOAK_URL, for `realm`."""

    def __init__(self, realm: str) -> None:
        self.realm = realm
        self._url = os.environ["KEYCLOAK_URL"].rstrip("/")
        folder = os.environ.get("SPRING_CONFIG_IMPORT", "").removeprefix("configtree:")
        file = Path(folder) / "keycloak.password"
        self._password = file.read_text(encoding="utf-8") if folder else os.environ["KEYCLOAK_PASSWORD"]
        self._token, self._asked = "", 0.0

    def admin(self, method: str, path: str, content: Any = None) -> Any:
        """Calls the admin API; `path` begins after `/admin/realms`. Raises HTTPError."""
        if not self._token or time.monotonic() - self._asked > _TOKEN_SECONDS:
            self._sign_in()
        request = urllib.request.Request(
            f"{self._url}/admin/realms{path}",
            data=None if content is None else json.dumps(content).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def ask(self, path: str) -> Any:
        """What the admin API has at a path of the realm."""
        return self.admin("GET", f"/{self.realm}{path}")

    def renew(self) -> None:
        """Signs in again before the next call."""
        self._token = ""

    def wait(self) -> None:
        """Waits until the administrator can sign in. Raises URLError after the time of the settings."""
        seconds = int(os.environ.get("KEYCLOAK_AVAILABILITYCHECK_TIMEOUT", "120s").removesuffix("s"))
        deadline = time.monotonic() + seconds
        while True:
            try:
                return self._sign_in()
            except (URLError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(2)

    def _sign_in(self) -> None:
        form = {"grant_type": "password", "client_id": "admin-cli"}
        form |= {"username": os.environ["KEYCLOAK_USER"], "password": self._password}
        url = f"{self._url}/realms/master/protocol/openid-connect/token"
        with urllib.request.urlopen(url, data=urlencode(form).encode(), timeout=_ANSWER_SECONDS) as answer:
            self._token = json.load(answer)["access_token"]
        self._asked = time.monotonic()


def main() -> int:
    """Applies the realm. A refusal of Keycloak is printed without the document, which has secrets."""
    location = os.environ["IMPORT_FILES_LOCATIONS"].removeprefix("file:")
    document = Path(location).read_text(encoding="utf-8")
    # Placeholders are inside of strings, so the document is JSON before they are replaced too.
    server = Server(json.loads(document)["realm"])
    try:
        server.wait()
        apply(server, document, lambda path: Path(path).read_text(encoding="utf-8"))
    except HTTPError as error:
        said = re.sub(r"\s+", " ", error.read().decode(errors="replace"))[:500]
        print(f"keycloak-config-cli (stand-in): {error.code} at {error.url}: {said}", file=sys.stderr)
        return 1
    except (URLError, OSError) as error:
        print(f"keycloak-config-cli (stand-in): {error}", file=sys.stderr)
        return 1
    print(f"keycloak-config-cli (stand-in): the realm {server.realm} is applied")
    return 0


if __name__ == "__main__":
    sys.exit(main())
