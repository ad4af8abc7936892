"""Whatever ends a rig, the host is as it was before."""

from __future__ import annotations

import contextlib
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from karpenter_lab import until

from rehearsal.machine.processes import marked
from rehearsal.machine.workspace import PROJECT
from rehearsal.node import leftovers
from tests.node.host_state import host_state, left

pytestmark = [pytest.mark.seconds(60), pytest.mark.xdist_group("node")]


class BareRig:
    """A process that runs a rig. `machine` is the first process of its node."""

    def __init__(self, folder: Path) -> None:
        self.id = f"bare-{secrets.token_hex(4)}"
        self.folder = folder / self.id
        command = [sys.executable, "-m", "tests.node.bare_rig", self.folder, self.id]
        self.process = subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        ready = self.process.stdout.readline().split()
        assert ready[:1] == ["ready"], f"the rig has not started: {self.process.wait()}"
        self.machine = psutil.Process(int(ready[1]))

    def part(self, program: str) -> psutil.Process:
        """A process of its node."""
        (found,) = [one for one in marked(self.id) if one.name() == program]
        return found

    def end(self) -> None:
        """Ends it as Ctrl-C does."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[], BareRig]]:
    """Starts rigs, which all end with the test."""
    made: list[BareRig] = []

    def start() -> BareRig:
        made.append(BareRig(tmp_path))
        return made[-1]

    yield start
    for one in made:
        with contextlib.suppress(ProcessLookupError):
            one.process.kill()
        one.process.wait()


def nothing_is_left(rig: BareRig) -> bool:
    return not left(rig.id) and not leftovers.left(rig.id)


def kill_the_rehearsal(rig: BareRig) -> None:
    rig.process.kill()


def kill_the_machine(rig: BareRig) -> None:
    rig.machine.kill()
    rig.end()


def kill_containerd(rig: BareRig) -> None:
    rig.part("containerd").kill()
    rig.end()


def kill_kubelet(rig: BareRig) -> None:
    rig.part("kubelet").kill()
    rig.end()


@pytest.mark.parametrize(
    "end",
    [
        BareRig.end,
        kill_the_rehearsal,
        *(
            pytest.param(kill, marks=pytest.mark.endurance)
            for kill in (kill_the_machine, kill_containerd, kill_kubelet)
        ),
    ],
    ids=lambda one: one.__name__,
)
def test_the_host_is_as_before(started: Callable[[], BareRig], end: Callable[[BareRig], None]) -> None:
    before = host_state()
    rig = started()
    assert left(rig.id)
    assert leftovers.left(rig.id)
    end(rig)
    until(lambda: nothing_is_left(rig), "everything of the rig is gone")
    assert host_state() == before


def test_two_rigs_run_side_by_side(started: Callable[[], BareRig]) -> None:
    before = host_state()
    one, other = started(), started()
    one.end()
    assert other.machine.is_running()
    assert other.part("kubelet").is_running()
    other.end()
    until(lambda: nothing_is_left(one) and nothing_is_left(other), "everything of both rigs is gone")
    assert host_state() == before
