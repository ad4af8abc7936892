"""NVIDIA's own container runtime in a machine with cards that are not there: what a container sees of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.console import Console

from rehearsal.machine.cache import cache_folder
from rehearsal.machine.filling import is_whole
from rehearsal.machine.processes import Processes
from rehearsal.node import namespaces, root
from rehearsal.node.cached import node_cache
from rehearsal.node.gpu import library, runtime
from rehearsal.node.gpu.cards import CARDS, Card, gpus
from rehearsal.node.gpu.tools import CONTAINER_TOOLKIT
from rehearsal.node.namespaces import Machine
from rehearsal.progress import Display

# Other tests have a cache of their own, without the machine root.
CACHE = cache_folder()
CARDS_OF_MACHINE: Sequence[Card] = (CARDS["T4"], CARDS["A100-MIG"])
T4, A100 = gpus(CARDS_OF_MACHINE)
_TRIES = 100


@dataclass(frozen=True)
class Containers:
    """A machine, and the Debian root filesystem that is the image of its containers."""

    machine: Machine
    debian: Path

    def prints(self, name: str, devices: str | None) -> list[str]:
        """The words that a container with these NVIDIA_VISIBLE_DEVICES prints of its GPUs and their nodes."""
        bundle, machine = Path(f"/run/bundles/{name}"), self.machine
        for part in ("rootfs", "changes", "work"):
            machine.path(bundle / part).mkdir(parents=True)
        layers = f"lowerdir={self.debian},upperdir={bundle}/changes,workdir={bundle}/work"
        machine.run("mount", "-t", "overlay", "overlay", "-o", layers, bundle / "rootfs")
        machine.run("runc", "spec", "--bundle", bundle)
        spec = json.loads(machine.path(bundle / "config.json").read_text(encoding="utf-8"))
        script = "nvidia-smi -L; find /dev -name 'nvidia*'; echo end"
        spec["process"] |= {"terminal": False, "args": ["sh", "-c", script]}
        spec["process"]["env"] += [f"NVIDIA_VISIBLE_DEVICES={devices}"] if devices else []
        spec["root"]["readonly"] = False
        machine.write(bundle / "config.json", json.dumps(spec))
        printed = machine.folder / f"{name}.log"
        create = [runtime.runtimes()[runtime.RUNTIME], "create", "--bundle", bundle, name]
        with printed.open("wb") as log:
            for command in (create, ["runc", "start", name]):
                done = subprocess.run(machine.command(*command), stdout=log, stderr=log, check=False)
                assert done.returncode == 0, printed.read_text(encoding="utf-8")
        for _ in range(_TRIES):
            if "end" in printed.read_text(encoding="utf-8").split():
                break
            time.sleep(0.1)
        return printed.read_text(encoding="utf-8").replace("(", " ").replace(")", " ").split()


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """A machine with a T4, and an A100 in seven partitions."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("a machine of its own needs Linux and root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPULAB_CACHE", str(CACHE))
        toolkit = CACHE / "toolchain" / CONTAINER_TOOLKIT.folder_name
        if not is_whole(CONTAINER_TOOLKIT, toolkit) or not list(node_cache().glob("root-*")):
            pytest.skip("no rehearsal with a node has filled the cache yet: `make node` does")
        display = Display(Console(stderr=True))
        debian = root.ensure(display)
        folder = tmp_path_factory.mktemp("machine")
        processes = Processes("gpu-runtime", folder / "logs")
        try:
            started = namespaces.start(processes, folder / "machine", root=debian, name="a", number=1)
            runtime.install(started, library.build(display, debian), CARDS_OF_MACHINE)
            yield Containers(started, debian)
        finally:
            processes.end()


def test_a_container_without_a_gpu_has_no_trace_of_one(containers: Containers) -> None:
    printed = containers.prints("without", None)
    assert "nvidia-smi:" in printed, "the shell does not find it"
    assert not [word for word in printed if word.startswith("/dev/nvidia")]


def test_a_container_sees_the_card_that_it_was_given_and_no_other(containers: Containers) -> None:
    printed = containers.prints("card", T4.uuid)
    assert T4.uuid in printed
    assert A100.uuid not in printed
    assert "/dev/nvidia0" in printed
    assert "/dev/nvidia1" not in printed


def test_a_container_sees_the_partition_that_it_was_given_and_no_other(containers: Containers) -> None:
    partition = A100.instances[2]
    printed = containers.prints("partition", partition.uuid)
    assert [one for one in A100.instances if one.uuid in printed] == [partition]
    assert T4.uuid not in printed
    nodes = {word for word in printed if word.startswith("/dev/nvidia-caps/")}
    assert nodes == {f"/dev/nvidia-caps/nvidia-cap{partition.capability + more}" for more in (0, 1)}
