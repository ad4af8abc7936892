"""NVIDIA's device plugin on a cluster of EKS whose stack has the GPU Operator.

The operator's program can't be had, and its chart has no pods here. The plugin that it would run is the real one, by
its own chart, with the configuration that the stack gives the operator.
"""

from __future__ import annotations

from pathlib import Path

from rehearsal.checks.helm_releases import releases
from rehearsal.machine.control_plane import ControlPlane

from . import plugin_release

STAND_IN = "the GPU Operator: NVIDIA's device plugin by its own chart, with the operator's configuration"
_OPERATOR = "gpu-operator"
# Not the operator's: that one is the stack's own, and goes with it.
_NAMESPACE = "kube-system"


def install(plane: ControlPlane, helm: Path, chart: Path) -> None:
    """Installs it if the stack has the operator. Raises ProcessFailed."""
    for release in releases(plane):
        if release.chart == _OPERATOR:
            config = release.values["devicePlugin"]["config"]
            values = {
                "config": {"map": config["data"], "default": config["default"]},
                "gfd": {"enabled": False},
                "nfd": {"enabled": False},
                "tolerations": [{"operator": "Exists"}],
            }
            plugin_release.install(plane, helm, chart, _NAMESPACE, values)


def remove(plane: ControlPlane, helm: Path) -> None:
    """Uninstalls it, if it is there. Raises ProcessFailed."""
    plugin_release.remove(plane, helm, _NAMESPACE)
