"""Starts the controllers of a rehearsal as a process of their own."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rehearsal.machine.processes import Processes
from rehearsal.machine.workspace import PROJECT

# What takes minutes and hours on AWS, and is not what a rehearsal is about. A node is empty until its first pod is
# bound, which takes the scheduler some seconds on a busy machine.
CONSOLIDATE_AFTER_SECONDS = 8
GRACE_PERIOD_SECONDS = 5

_NAME = "controllers"


def folder(processes: Processes) -> Path:
    """Where the controllers of these processes keep their files, beside the logs: Karpenter's own log is there."""
    return processes.logs / _NAME


def start(
    processes: Processes,
    *,
    program: Path,
    environment: Mapping[str, str],
    kubeconfig: Path,
    region: str,
    zones: Sequence[str],
) -> None:
    """Starts them and returns at once: what they do shows when there is something to do.

    `program` is Karpenter, `environment` has AWS's address and key, `kubeconfig` is the administrator's.
    """
    folder(processes).mkdir(exist_ok=True)
    processes.start(
        _NAME,
        [sys.executable, "-m", "rehearsal.controllers"],
        {
            **environment,
            "PYTHONPATH": str(PROJECT),
            "KUBECONFIG": str(kubeconfig),
            "AWS_DEFAULT_REGION": region,
            "GPULAB_KARPENTER": str(program),
            "GPULAB_FOLDER": str(folder(processes)),
            "GPULAB_ZONES": ",".join(zones),
            "GPULAB_CONSOLIDATE_AFTER": str(CONSOLIDATE_AFTER_SECONDS),
            "GPULAB_GRACE_PERIOD": str(GRACE_PERIOD_SECONDS),
        },
    )
