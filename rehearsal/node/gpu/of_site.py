"""NVIDIA's software as a site has it before the stack (`gpulab:gpu.plugin: present`).

MicroK8s and others have the GPU Operator, whose program can't be had. What it would run is the real one: the device
plugin and feature discovery, by the device plugin's own chart.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contracts import clusters
from rehearsal.controllers.device_plugins import GPU
from rehearsal.machine.control_plane import ControlPlane
from rehearsal.machine.processes import ProcessFailed
from settings.pools.labels import PRODUCT_LABEL

from . import plugin_release
from .runtime import RUNTIME

STAND_IN = "the site's GPU Operator: NVIDIA's device plugin and feature discovery by their own chart, as a release"
NAMESPACE = "gpu-operator-resources"
_NODES = "/api/v1/nodes"
_SECONDS, _LOOK_SECONDS = 180, 0.5


def install(plane: ControlPlane, helm: Path, chart: Path) -> None:
    """Installs it, and waits until the nodes with GPUs offer them. Raises ProcessFailed."""
    values = {"gfd": {"enabled": True}, "nfd": {"enabled": True}, "runtimeClassName": RUNTIME}
    plugin_release.install(plane, helm, chart, NAMESPACE, values)
    for node in _with_gpus(plane):
        labelled = {"metadata": {"labels": plugin_release.LABELS_OF_OPERATOR}}
        plane.request("PATCH", f"{_NODES}/{node['metadata']['name']}", labelled, "application/merge-patch+json")
    deadline = time.monotonic() + _SECONDS
    while missing := list(_without_gpus(plane)):
        if time.monotonic() > deadline:
            raise ProcessFailed(f"after {_SECONDS} s these nodes offer no GPU: {', '.join(missing)}")
        time.sleep(_LOOK_SECONDS)


def _without_gpus(plane: ControlPlane) -> Iterator[str]:
    """The nodes with GPUs that do not offer them yet."""
    for node in _with_gpus(plane):
        if PRODUCT_LABEL not in node["metadata"]["labels"] or not int(node["status"]["allocatable"].get(GPU, 0)):
            yield node["metadata"]["name"]


def _with_gpus(plane: ControlPlane) -> list[Any]:
    nodes: Any = plane.request("GET", _NODES)
    return [node for node in nodes["items"] if clusters.gpus_of(node)]
