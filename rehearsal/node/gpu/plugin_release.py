"""The Helm release of NVIDIA's device plugin that a rehearsal makes where it stands for the GPU Operator."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.processes import ProcessFailed

from .charts import NAME

LABELS_OF_OPERATOR = {"nvidia.com/gpu.present": "true"}
"""What the operator sets where node feature discovery has found a card (gpu-operator, controllers/state_manager.go)."""


def install(plane: ControlPlane, helm: Path, chart: Path, namespace: str, values: Mapping[str, Any]) -> None:
    """Installs the plugin's chart. Raises ProcessFailed."""
    _run(plane, helm, namespace, "install", NAME, chart, "--create-namespace", "--values", "-", given=values)


def remove(plane: ControlPlane, helm: Path, namespace: str) -> None:
    """Uninstalls it, if it is there. Raises ProcessFailed."""
    _run(plane, helm, namespace, "uninstall", NAME, "--ignore-not-found", "--wait")


def _run(
    plane: ControlPlane, helm: Path, namespace: str, *arguments: str | Path, given: Mapping[str, Any] | None = None
) -> None:
    command = [helm, *arguments, "--namespace", namespace, "--kubeconfig", plane.kubeconfig]
    done = subprocess.run([*map(str, command)], input=json.dumps(given), check=False, capture_output=True, text=True)
    if done.returncode:
        raise ProcessFailed(f"`helm {arguments[0]} {NAME}` failed: {done.stderr.strip()}")
