"""Runs all controllers until the rehearsal ends: `python -m rehearsal.controllers`.

Environment: `KUBECONFIG` (the administrator's), `AWS_ENDPOINT_URL` and the rehearsal's key, `AWS_DEFAULT_REGION`,
`GPULAB_KARPENTER` (the program), `GPULAB_FOLDER` (a folder to work in), `GPULAB_ZONES` (comma-separated). Where nodes
are to go soon, `GPULAB_CONSOLIDATE_AFTER` and `GPULAB_GRACE_PERIOD` are the most seconds that they wait (see
`passing_time`).
"""

from __future__ import annotations

import os
from pathlib import Path

from rehearsal.cloud import nodes
from rehearsal.controllers.growth import Growth
from rehearsal.controllers.karpenter import Karpenter
from rehearsal.controllers.kubelets import Kubelets
from rehearsal.controllers.load_balancers import LoadBalancers
from rehearsal.controllers.passes import run
from rehearsal.controllers.passing_time import Durations, PassingTime
from rehearsal.controllers.pod_sync import PodSync
from rehearsal.controllers.snapshots import Snapshots
from rehearsal.controllers.target_groups import TargetGroups
from rehearsal.controllers.volumes import Volumes
from rehearsal.controllers.world import Aws, Controller, Kubernetes, World


def controllers() -> list[Controller[World]]:
    """All of them, in the order in which each pass calls them."""
    return [
        Karpenter(Path(os.environ["GPULAB_KARPENTER"])),
        Kubelets(),
        PassingTime(Durations.of(os.environ)),
        *([] if nodes.are_real() else [PodSync()]),
        Snapshots(),
        Volumes(),
        Growth(),
        LoadBalancers(),
        TargetGroups(),
    ]


def main() -> None:
    """Goes on until the process is ended."""
    world = World(
        kubernetes=Kubernetes(Path(os.environ["KUBECONFIG"])),
        aws=Aws(os.environ["AWS_DEFAULT_REGION"]),
        folder=Path(os.environ["GPULAB_FOLDER"]),
        zones=tuple(os.environ["GPULAB_ZONES"].split(",")),
    )
    run(world, controllers())


if __name__ == "__main__":
    main()
