"""Runs all controllers until the rehearsal ends: `python -m rehearsal.controllers`.

Environment: `KUBECONFIG` (the administrator's), `AWS_ENDPOINT_URL` and the rehearsal's key, `AWS_DEFAULT_REGION`,
`GPULAB_KARPENTER` (the program), `GPULAB_FOLDER` (a folder to work in), `GPULAB_ZONES` (comma-separated). Where nodes
are to go soon, `GPULAB_CONSOLIDATE_AFTER` and `GPULAB_GRACE_PERIOD` are the most seconds that they wait (see
`passing_time`).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path

import urllib3
from botocore.exceptions import BotoCoreError, ClientError

from rehearsal.controllers.growth import Growth
from rehearsal.controllers.karpenter import Karpenter
from rehearsal.controllers.kubelets import Kubelets
from rehearsal.controllers.load_balancers import LoadBalancers
from rehearsal.controllers.passing_time import Durations, PassingTime
from rehearsal.controllers.pod_sync import PodSync
from rehearsal.controllers.snapshots import Snapshots
from rehearsal.controllers.target_groups import TargetGroups
from rehearsal.controllers.volumes import Volumes
from rehearsal.controllers.world import Aws, Controller, Kubernetes, World
from rehearsal.providers.kubernetes.client import ApiError, Unreachable

PASS_SECONDS = 0.5

_LOG = logging.getLogger("controllers")
# What the other sides may answer in the middle of a change; anything else is a bug, and shows its traceback.
_EXPECTED = (ApiError, Unreachable, ClientError, BotoCoreError, urllib3.exceptions.HTTPError, OSError)


def controllers() -> list[Controller]:
    """All of them, in the order in which each pass calls them."""
    return [
        Karpenter(Path(os.environ["GPULAB_KARPENTER"])),
        Kubelets(),
        PassingTime(Durations.of(os.environ)),
        PodSync(),
        Snapshots(),
        Volumes(),
        Growth(),
        LoadBalancers(),
        TargetGroups(),
    ]


def one_pass(world: World, reconcilers: Sequence[Controller]) -> None:
    """Calls each controller once. What one raises is logged and keeps no other from its work."""
    world.begin_pass()
    for controller in reconcilers:
        name = type(controller).__name__
        try:
            controller.reconcile(world)
        except _EXPECTED as error:
            _LOG.warning("%s: %s: %s", name, type(error).__name__, error)
        except Exception:
            _LOG.exception("%s", name)


def main() -> None:
    """Goes on until the process is ended."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("botocore").setLevel(logging.WARNING)
    world = World(
        kubernetes=Kubernetes(Path(os.environ["KUBECONFIG"])),
        aws=Aws(os.environ["AWS_DEFAULT_REGION"]),
        folder=Path(os.environ["GPULAB_FOLDER"]),
        zones=tuple(os.environ["GPULAB_ZONES"].split(",")),
    )
    reconcilers = controllers()
    while True:
        one_pass(world, reconcilers)
        time.sleep(PASS_SECONDS)


if __name__ == "__main__":
    main()
