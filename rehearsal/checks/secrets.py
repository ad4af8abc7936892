"""Searches everything for secrets in plain text: generated ones and those that the stack file names."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rehearsal.machine.processes import MARK

from .checking import DoesNotHold, StackSubject, require

_GENERATED = {
    "random:index/randomPassword:RandomPassword": ("result", "bcryptHash"),
    "random:index/randomBytes:RandomBytes": ("hex", "base64"),
}
# A shorter text may appear anywhere by chance.
_SHORTEST = 12
_LARGEST_FILE = 256 * 1024 * 1024

# The control plane's own files: etcd keeps Secrets there, as it does in every cluster.
_OF_THE_CLUSTER = "kubernetes"
_KINDS = {
    "ConfigMap": "/api/v1/configmaps",
    "Pod": "/api/v1/pods",
    "Event": "/api/v1/events",
    "Job": "/apis/batch/v1/jobs",
}
# Go, and so the engine in a state, escapes these characters in JSON.
_GO_ESCAPES = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})
_HELM_SECRETS = "/api/v1/secrets?labelSelector=owner%3Dhelm"


def no_secret_in_plain_text(subject: StackSubject) -> str:
    """No secret is readable in the state, in logs, exports, Helm values or in objects other than Secrets.

    The check names every place: a secret that leaks in one place often leaks in more.
    """
    secrets = {**_generated(subject), **subject.given_secrets()}
    for name, value in secrets.items():
        require(len(value) >= _SHORTEST, f"the secret {name} is too short")
    spelled = {name: _spellings(value) for name, value in secrets.items()}
    looked = 0
    found: defaultdict[str, list[str]] = defaultdict(list)
    for place, text in _places(subject):
        looked += 1
        for name, spellings in spelled.items():
            if any(spelling in text for spelling in spellings):
                found[name].append(place)
    if found:
        leaks = (f"{name} in {', '.join(places)}" for name, places in found.items())
        raise DoesNotHold(f"in plain text: {'; '.join(leaks)}")
    return f"searched {looked} files and objects for {len(secrets)} secrets"


def _spellings(secret: str) -> set[str]:
    """A secret as it is, as JSON of Python and of Go, and in base64."""
    within_json = json.dumps(secret, ensure_ascii=False)[1:-1]
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, within_json, within_json.translate(_GO_ESCAPES), encoded}


def _generated(subject: StackSubject) -> dict[str, str]:
    command = ["pulumi", "stack", "export", "--show-secrets", "--stack", subject.workspace.stack, "--non-interactive"]
    environment = {**subject.workspace.environment, MARK: subject.session_id}
    done = subprocess.run(
        command, cwd=subject.workspace.folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    require(done.returncode == 0, f"`pulumi stack export --show-secrets` ended with {done.returncode}")
    return generated(json.loads(done.stdout)["deployment"]["resources"])


def generated(resources: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The generated secrets in an exported state, by the resource's name and the output."""
    return {
        f"{resource['urn'].rpartition('::')[2]} ({spelling})": _plain(resource["outputs"][spelling])
        for resource in resources
        for spelling in _GENERATED.get(resource["type"], ())
    }


def _plain(value: Any) -> str:
    """The plain value of a secret in an export, which is JSON text in an object."""
    return json.loads(value["plaintext"]) if isinstance(value, dict) else value


def _places(subject: StackSubject) -> Iterator[tuple[str, str]]:
    for path in _files(subject.folder):
        yield str(path.relative_to(subject.folder)), path.read_text(encoding="utf-8", errors="replace")
    yield "the exports", json.dumps(dict(subject.outputs))
    for kind, api in _KINDS.items():
        for item in subject.plane.request("GET", api)["items"]:
            yield f"{kind} {item['metadata']['namespace']}/{item['metadata']['name']}", json.dumps(item)
    for item in subject.plane.request("GET", _HELM_SECRETS)["items"]:
        yield f"Helm release {item['metadata']['name']}", _release(item["data"].get("release", ""))


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if inside[0] == _OF_THE_CLUSTER or path.is_symlink() or not path.is_file():
            continue
        if path.stat().st_size <= _LARGEST_FILE:
            yield path


def _release(encoded: str) -> str:
    """What Helm stores of a release, including its values: compressed, and base64 twice."""
    content = base64.b64decode(base64.b64decode(encoded))
    return gzip.decompress(content).decode(errors="replace") if content[:2] == b"\x1f\x8b" else content.decode()


SECRET_CHECKS = {"no secret in plain text": no_secret_in_plain_text}
