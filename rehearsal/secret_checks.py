"""No secret in plain text: every generated one, and each that comes from Secrets Manager, is looked for."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from .account_secrets import values
from .checks import DoesNotHold, Subject, require
from .processes import MARK

_GENERATED = {
    "random:index/randomPassword:RandomPassword": ("result", "bcryptHash"),
    "random:index/randomBytes:RandomBytes": ("hex", "base64"),
}
# A shorter text would be found anywhere.
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
# What Go writes of these in a JSON text, as the engine does in a state.
_GO_ESCAPES = str.maketrans({one: f"\\u{ord(one):04x}" for one in "<>&"})
_HELM_SECRETS = "/api/v1/secrets?labelSelector=owner%3Dhelm"


def no_secret_in_plain_text(subject: Subject) -> str:
    """Neither in the state, nor in logs, exports, Helm values or objects of the cluster that are no Secrets.

    It names every place: a secret that stands open in one often stands in more.
    """
    secrets = {
        **_generated(subject),
        **values(subject.account, subject.settings.identity, subject.settings.running_hub),
    }
    for name, value in secrets.items():
        require(len(value) >= _SHORTEST, f"{name} is too short a secret")
    spelled = {name: _spellings(value) for name, value in secrets.items()}
    looked = 0
    found: defaultdict[str, list[str]] = defaultdict(list)
    for place, text in _places(subject):
        looked += 1
        for name, spellings in spelled.items():
            if any(one in text for one in spellings):
                found[name].append(place)
    if found:
        told = (f"{name} in {', '.join(places)}" for name, places in found.items())
        raise DoesNotHold(f"in plain text: {'; '.join(told)}")
    return f"{len(secrets)} secrets, looked for in {looked} files and objects"


def _spellings(secret: str) -> set[str]:
    """A secret as it is, in a JSON text of Python's or Go's, and in base64."""
    within_json = json.dumps(secret, ensure_ascii=False)[1:-1]
    encoded = base64.b64encode(secret.encode()).decode()
    return {secret, within_json, within_json.translate(_GO_ESCAPES), encoded}


def _generated(subject: Subject) -> dict[str, str]:
    command = ["pulumi", "stack", "export", "--show-secrets", "--stack", subject.workspace.stack, "--non-interactive"]
    environment = {**subject.workspace.environment, MARK: subject.session_id}
    done = subprocess.run(
        command, cwd=subject.workspace.folder, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    require(done.returncode == 0, f"`pulumi stack export --show-secrets` ended with {done.returncode}")
    return generated(json.loads(done.stdout)["deployment"]["resources"])


def generated(resources: Iterable[dict[str, Any]]) -> dict[str, str]:
    """The secrets that the resources of an exported state generated, by the resource's name and the output."""
    return {
        f"{one['urn'].rpartition('::')[2]} ({spelling})": _plain(one["outputs"][spelling])
        for one in resources
        for spelling in _GENERATED.get(one["type"], ())
    }


def _plain(value: Any) -> str:
    """A secret of an export: JSON text in an object of its own."""
    return json.loads(value["plaintext"]) if isinstance(value, dict) else value


def _places(subject: Subject) -> Iterator[tuple[str, str]]:
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
    """What Helm keeps of a release, its values among it: base64 twice, and compressed."""
    content = base64.b64decode(base64.b64decode(encoded))
    return gzip.decompress(content).decode(errors="replace") if content[:2] == b"\x1f\x8b" else content.decode()


SECRET_CHECKS = {"no secret in plain text": no_secret_in_plain_text}
