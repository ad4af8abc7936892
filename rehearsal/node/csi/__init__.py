"""A stand-in of CSI drivers on a machine: its kubelet mounts volumes by them, and they are folders of the rig.

The kernel of a small machine has no client of NFS, and nobody serves it or SeaweedFS there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rehearsal.machine.workspace import PROJECT
from rehearsal.node import leftovers
from rehearsal.node.namespaces import Machine

BESIDE = ("csi",)
"""What serves a machine from outside of it, see `Machine.end`."""


def start(machine: Machine, drivers: Sequence[str]) -> None:
    """Registers these drivers with the kubelet of a machine, now and whenever it starts again.

    Kubernetes gets their CSIDriver from their charts or addons, as on a site.
    """
    if drivers:
        volumes = str(leftovers.volumes(machine.rig))
        command = [sys.executable, "-m", "rehearsal.node.csi", str(machine.pid), machine.name, volumes, *drivers]
        environment = {"PYTHONPATH": str(PROJECT), "PATH": os.environ.get("PATH", "")}
        (name,) = BESIDE
        machine.start_beside(name, command, environment)
