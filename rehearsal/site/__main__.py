"""Runs the controllers of a site until the rehearsal ends: `python -m rehearsal.site`.

Environment: `KUBECONFIG` (the administrator's), `GPULAB_DISTRIBUTION` (k3s, talos, …), and `GPULAB_GPUS`: `stack` where
the stack brings the software of GPUs, and `site` where it is there already and stays as it is.
"""

from __future__ import annotations

import os
from pathlib import Path

from rehearsal.controllers.passes import run
from rehearsal.controllers.pod_sync import PodSync
from rehearsal.controllers.world import Cluster, Controller, Kubernetes

from .cluster import connected
from .front import Front
from .namespaces import Namespaces
from .plugins import Plugins
from .provisioners import Provisioners


def controllers(kubeconfig: Path, distribution: str, gpus: str) -> list[Controller[Cluster]]:
    """All of them, in the order in which each pass calls them."""
    plugins = [Plugins(distribution)] if gpus == "stack" else []
    return [*plugins, Provisioners(), Front(), PodSync(), Namespaces(connected(kubeconfig))]


def main() -> None:
    """Goes on until the process is ended."""
    kubeconfig = Path(os.environ["KUBECONFIG"])
    cluster = Cluster(kubernetes=Kubernetes(kubeconfig))
    run(cluster, controllers(kubeconfig, os.environ["GPULAB_DISTRIBUTION"], os.environ["GPULAB_GPUS"]))


if __name__ == "__main__":
    main()
