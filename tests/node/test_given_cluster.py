"""A rehearsal on somebody's cluster, which is a rig here: `--kubeconfig`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from background import background
from karpenter_lab import until
from rich.console import Console

import settings
from rehearsal.machine.toolchain import filled
from rehearsal.machine.tools import ALL_TOOLS
from rehearsal.machine.workspace import PROJECT
from rehearsal.node import images, leftovers, references, rig, root, starting
from rehearsal.node.namespaces import own_network
from rehearsal.node.rig import Rig, RigArgs
from rehearsal.node.tools import NODE_TOOLS
from rehearsal.progress import Display
from rehearsal.site import cluster
from rehearsal.site.cluster import Snapshot
from rehearsal.stack_phases import REHEARSAL_DAY

pytestmark = [pytest.mark.seconds(240), pytest.mark.xdist_group("node"), pytest.mark.endurance]

_KEPT_BY_HELM = "CustomResourceDefinition"
STACK = PROJECT / "examples" / "one-machine.yaml"


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[Rig]:
    """A cluster with the stack file's machine and what k3s has; this thread is in its network during the block."""
    display = Display(Console(stderr=True))
    stack = settings.check_stack_file(STACK, stack="one-machine", today=REHEARSAL_DAY)
    assert isinstance(stack, settings.ExistingSettings)
    with (
        own_network(),
        filled(display, [*ALL_TOOLS, *NODE_TOOLS]) as toolchain,
        background(folder / "logs") as processes,
    ):
        args = RigArgs(
            root=root.ensure(display),
            images=images.ensure(references.of_stack(stack), display),
            nodes=starting.nodes_of(stack),
            objects=starting.of_site(stack),
        )
        running = rig.start(processes, folder, toolchain, args, display)
        serving = [sys.executable, "-m", "rehearsal.node", running.address, leftovers.volumes(processes.rehearsal_id)]
        kubeconfig = {"KUBECONFIG": str(running.plane.kubeconfig), "PYTHONPATH": str(PROJECT)}
        processes.start("serving", serving, kubeconfig)
        yield running


def test_a_stack_goes_up_and_comes_down_on_a_cluster_that_stays_as_it_was(tmp_path: Path) -> None:
    with running_cluster(tmp_path) as running:
        client = cluster.connected(running.plane.kubeconfig)
        before = Snapshot.of(client, [])
        command = [sys.executable, "-m", "rehearsal", STACK, "--kubeconfig", running.plane.kubeconfig]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

        def left() -> set[str]:
            return {str(one) for one in Snapshot.of(client, []).names - before.names if one.kind != _KEPT_BY_HELM}

        # Namespaces take some seconds to end.
        until(lambda: not left(), "everything but charts' definitions is gone", lambda: str(left()))
