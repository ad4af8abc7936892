"""Reads registries: the newest version of a pin, the digest of an image, and known advisories.

Python packages and Go modules are looked up with uv and go, which follow the user's own settings. Everything else is
read over HTTP: charts from the repository in their contract, images from the registry in their name.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import requests
import yaml
from packaging.version import InvalidVersion, Version

from components.images import DOCKER_HUB

from .pins import Pin

# Seconds.
TIMEOUT = 30
_MANIFESTS = ", ".join(
    f"application/vnd.{kind}"
    for kind in (
        "oci.image.index.v1+json",
        "docker.distribution.manifest.list.v2+json",
        "oci.image.manifest.v1+json",
        "docker.distribution.manifest.v2+json",
    )
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_LOOPBACK = ("127.0.0.1", "localhost")
# Pages of tags. The limit stops a registry that always names one more page.
_MOST_PAGES = 50
# Characters of another program's error, which is repeated for each pin.
_MOST_OF_AN_ERROR = 120


class Unreachable(Exception):
    """A registry could not be read; the message says which and why."""


@dataclass(frozen=True, kw_only=True)
class Registries:
    """The services that no contract names: GitHub for releases, OSV for advisories."""

    github: str = "https://api.github.com"
    advisories: str = "https://api.osv.dev"
    session: requests.Session = field(default_factory=requests.Session)

    def newest(self, pin: Pin) -> str:
        """The newest version of a chart, an image, a Go tool, an action or a node image. Raises Unreachable."""
        if pin.kind == "chart":
            return newest(self.chart_versions(pin), pin.version)
        if pin.kind == "image":
            tags = [tag for tag in self.image_tags(pin.repository) if tag.startswith(pin.line)]
            return newest(tags, pin.version)
        if pin.kind == "go":
            return go_latest(pin)
        found = self._get(f"{self.github}/repos/{pin.repository}/releases/latest", **_github_token()).json()
        return str(found["tag_name"])

    def chart_versions(self, pin: Pin) -> Collection[str]:
        """The versions of a chart, in an index or in a registry. Raises Unreachable."""
        if pin.repository.startswith("oci://"):
            return self.image_tags(pin.repository.removeprefix("oci://"))
        index = self._get(f"{pin.repository.rstrip('/')}/index.yaml").content
        entries = yaml.load(index, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["entries"]  # noqa: S506
        return [str(entry["version"]) for entry in entries.get(pin.name, ())]

    def image_tags(self, repository: str) -> Collection[str]:
        """The tags of an image (`quay.io/keycloak/keycloak`). Raises Unreachable."""
        base, name = _registry(repository)
        url, tags = f"{base}/v2/{name}/tags/list?n=1000", []
        for _ in range(_MOST_PAGES):
            answer = self._from_registry("GET", url)
            tags += answer.json().get("tags") or []
            if "next" not in answer.links:
                break
            url = urljoin(url, answer.links["next"]["url"])
        return tags

    def image_digest(self, reference: str) -> str:
        """The digest of a tag; if the image has several architectures, that of the index. Raises Unreachable."""
        repository, _, tag = reference.rpartition(":")
        base, name = _registry(repository)
        answer = self._from_registry("HEAD", f"{base}/v2/{name}/manifests/{tag}", Accept=_MANIFESTS)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            raise Unreachable(f"{base} has no digest for {reference}")
        return digest

    def known_advisories(self, pins: Sequence[Pin]) -> Mapping[Pin, list[str]]:
        """The advisories that affect the version of each pin. Raises Unreachable."""
        packages = [(pin, ecosystem, name) for pin in pins for ecosystem, name in pin.advisories]
        queries = [
            {"package": {"ecosystem": ecosystem, "name": name}, "version": pin.version.removeprefix("v")}
            for pin, ecosystem, name in packages
        ]
        answer = self._request("POST", f"{self.advisories}/v1/querybatch", json={"queries": queries})
        found: dict[Pin, list[str]] = {}
        for (pin, _, _), result in zip(packages, answer.json()["results"], strict=True):
            ids = [str(item["id"]) for item in result.get("vulns") or ()]
            found[pin] = sorted({*found.get(pin, ()), *ids})
        return found

    def _get(self, url: str, **headers: str) -> requests.Response:
        return self._request("GET", url, headers=headers)

    def _from_registry(self, method: str, url: str, **headers: str) -> requests.Response:
        """Follows the token protocol of registries: if a registry requires a token, asks for an anonymous one."""
        answer = self._request(method, url, headers=headers, accepted=(401,))
        if answer.status_code == 401:
            challenge = dict(_CHALLENGE.findall(answer.headers.get("WWW-Authenticate", "")))
            if "realm" not in challenge:
                raise Unreachable(f"{url} requires a password")
            query = {key: challenge[key] for key in ("service", "scope") if key in challenge}
            given = self._request("GET", challenge["realm"], params=query).json()
            token = given.get("token") or given.get("access_token")
            answer = self._request(method, url, headers={**headers, "Authorization": f"Bearer {token}"})
        return answer

    def _request(self, method: str, url: str, accepted: Iterable[int] = (), **how: Any) -> requests.Response:
        try:
            answer = self.session.request(method, url, timeout=TIMEOUT, **how)
        except requests.RequestException as error:
            raise Unreachable(f"{url.partition('?')[0]}: {_reason(error)}") from error
        if not answer.ok and answer.status_code not in accepted:
            raise Unreachable(f"{url.partition('?')[0]} answers {answer.status_code}")
        return answer


def newest(versions: Collection[str], like: str) -> str:
    """The newest of `versions` that has the form of `like`: letters and numbers in the same places.

    Another form is another line of versions (`-alpine`, a release candidate). Raises Unreachable if there is none.
    """
    alike = [version for version in versions if _shape(version) == _shape(like)]
    if not alike:
        raise Unreachable(f"none of {len(versions)} versions has the form of {like}")
    return max(alike, key=lambda version: [int(number) for number in re.findall(r"\d+", version)])


def is_newer(version: str, than: str) -> bool:
    """Whether a version is newer than another one of the same line."""
    try:
        return Version(version) > Version(than)
    except InvalidVersion:
        return newest([version, than], than) != than if _shape(version) == _shape(than) else version != than


def python_newest(pins: Sequence[Pin], python: str = "3.11") -> Mapping[str, str]:
    """The newest release of packages for that Python, from the index in uv's settings. Raises Unreachable."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "pip", "compile", "-", "--no-deps", "--no-header", "--no-annotate", "--python-version", python]
    names = "\n".join(pin.name for pin in pins)
    try:
        done = subprocess.run(command, input=names, capture_output=True, text=True, check=False, cwd="/")
    except OSError as error:
        raise Unreachable(f"uv does not start: {error}") from error
    if done.returncode:
        raise Unreachable(f"uv: {_first_words(done.stderr)}")
    return dict(line.split("==") for line in done.stdout.splitlines() if "==" in line)


def go_latest(pin: Pin) -> str:
    """The newest version of a Go module, from the proxy in go's settings. Raises Unreachable."""
    command = ["go", "list", "-m", "-json", f"{pin.repository}@{pin.line.rstrip('.') or 'latest'}"]
    try:
        # Outside of any module, because its requirements would change the answer.
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=4 * TIMEOUT, cwd="/")
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"go: {error}") from error
    if done.returncode:
        raise Unreachable(f"go: {_first_words(done.stderr)}")
    return str(json.loads(done.stdout)["Version"])


def _first_words(text: str) -> str:
    return " ".join(text.split())[:_MOST_OF_AN_ERROR]


def _shape(version: str) -> str:
    return re.sub(r"\d+", "0", version)


def _registry(repository: str) -> tuple[str, str]:
    """The address of a registry, and the name of the image there."""
    host, _, name = repository.partition("/")
    scheme = "http" if host.partition(":")[0] in _LOOPBACK else "https"
    return f"{scheme}://{'registry-1.docker.io' if host == DOCKER_HUB else host}", name


def _github_token() -> dict[str, str]:
    token = os.environ.get("GITHUB_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return f"no answer within {TIMEOUT} s"
    return "not reached" if isinstance(error, requests.ConnectionError) else str(error)
