"""The kubeconfig of a site, in which only the context that the stack file names leads to the cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rehearsal.machine.control_plane import ControlPlane

# The current context changes without notice: whoever uses it reaches nothing here (port 9 is closed).
CURRENT = "somewhere-else"
_NOWHERE = "https://127.0.0.1:9"


def write(path: Path, plane: ControlPlane, context: str) -> None:
    """Writes the file of somebody who works with two clusters, and was last at the other one."""
    content = yaml.safe_load(plane.kubeconfig.read_text(encoding="utf-8"))
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    entries = [(context, cluster, user)]
    if context != CURRENT:
        entries.append((CURRENT, {"server": _NOWHERE}, {"token": "none"}))
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CURRENT,
        "clusters": [{"name": name, "cluster": one} for name, one, _ in entries],
        "users": [{"name": name, "user": one} for name, _, one in entries],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name, *_ in entries],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
