"""What no namespace takes along when it ends: a rig's folder and the cgroups of its containers.

`python -m rehearsal.node.leftovers ID` reads ids of processes until its input ends, and waits until these end too.
Then it removes what is left, also if the rehearsal was killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rehearsal.machine.cache import cache_folder
from rehearsal.machine.processes import marked
from rehearsal.machine.tools import ToolMissing
from rehearsal.machine.workspace import PROJECT

from .cached import node_cache

MOUNTED = Path("/sys/fs/cgroup")
_PARENT = "gpulab"
# A new cpuset of cgroups v1 is empty, and takes no process.
_CPUSET = ("cpuset.cpus", "cpuset.mems")
# Without one of these that the root has, kubelet refuses its cgroup of v2.
_OF_KUBELET = frozenset(("cpu", "cpuset", "hugetlb", "memory", "pids"))
_CONTROLLERS, _PASSED_ON = "cgroup.controllers", "cgroup.subtree_control"
_PATIENCE_SECONDS, _LOOK_SECONDS = 30, 0.1
_ATTEMPTS = 5


def cgroup(rig_id: str, machine: str) -> str:
    """The cgroup of a machine, as its kubelet calls it: a kubelet removes those of pods that it does not know."""
    return f"/{_PARENT}/{rig_id}/{machine}"


def folder(rig_id: str) -> Path:
    """The folder of a rig's machines."""
    return node_cache().resolve() / "rigs" / rig_id


def volumes(rig_id: str) -> Path:
    """The folder of a rig's volumes, which all its machines have."""
    return folder(rig_id) / "volumes"


@contextlib.contextmanager
def removed_afterwards(rig_id: str) -> Iterator[Callable[[int], None]]:
    """Makes the folder and the cgroups of a rig. They go after the block, or if this process is killed before its end.

    The function that the block gets takes the id of a process that needs them: they stay until that has ended too.
    """
    rigs = node_cache() / "rigs"
    rigs.mkdir(parents=True, exist_ok=True)
    with _locked(rigs):
        _remove_forgotten(rigs)
        volumes(rig_id).mkdir(parents=True)
        with _locked(folder(rig_id)) as held:
            remover = _remover(rig_id, held)
    # Its input ends with the block, and with this process.
    with os.fdopen(remover, "w") as pids:

        def keep_for(pid: int) -> None:
            print(pid, file=pids, flush=True)

        make_cgroups(rig_id)
        yield keep_for


def make_cgroups(rig_id: str, machine: str = "") -> None:
    """Makes the cgroup of a rig, or that of a machine in it, in each hierarchy. Raises ToolMissing, OSError."""
    names = [_PARENT, rig_id, *([machine] if machine else [])]
    for hierarchy in _hierarchies():
        for attempt in range(_ATTEMPTS):
            try:
                _make_cgroup(hierarchy, names)
                break
            except FileNotFoundError:  # the last of the other rigs has just removed that of all
                if attempt == _ATTEMPTS - 1:
                    raise


def _make_cgroup(hierarchy: Path, names: Sequence[str]) -> None:
    made = hierarchy
    for name in names:
        parent, made = made, made / name
        _pass_controllers_on(parent)
        made.mkdir(exist_ok=True)
        for file in _CPUSET:
            if (made / file).exists() and not (made / file).read_text().strip():
                (made / file).write_text((parent / file).read_text())


def _pass_controllers_on(parent: Path) -> None:
    """Lets the cgroups below one of v2 have the controllers that kubelet asks for. Raises ToolMissing."""
    if not (parent / _CONTROLLERS).exists():
        return
    passed_on = parent / _PASSED_ON
    missing = _OF_KUBELET & set((parent / _CONTROLLERS).read_text().split()) - set(passed_on.read_text().split())
    if not missing:
        return
    try:
        passed_on.write_text(" ".join(f"+{one}" for one in sorted(missing)))
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # cgroup-v2.rst, "No Internal Process Constraint"
        text = f"A node needs the controllers {', '.join(sorted(missing))} below {parent}, where processes run."
        raise ToolMissing(f"{text} Give this container the host's cgroups, such as by `--cgroupns=host`.") from error


def remove(rig_id: str) -> None:
    """Removes the folder and the cgroups of a rig, whose processes are ending."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left(rig_id) and time.monotonic() < deadline:
        for hierarchy in _hierarchies():
            for one, _, _ in os.walk(hierarchy / _PARENT / rig_id, topdown=False):
                with contextlib.suppress(OSError):
                    Path(one).rmdir()
            # That of all rigs, if this was the last one.
            with contextlib.suppress(OSError):
                (hierarchy / _PARENT).rmdir()
        shutil.rmtree(folder(rig_id), ignore_errors=True)
        time.sleep(_LOOK_SECONDS)


def left(rig_id: str) -> list[Path]:
    """The cgroups and the folder of a rig that are there."""
    places = [*(hierarchy / _PARENT / rig_id for hierarchy in _hierarchies()), folder(rig_id)]
    return [one for one in places if one.exists()]


def _remover(rig_id: str, lock: int) -> int:
    """Starts the process that removes what is left of a rig. It holds `lock` as long as it runs. Returns its input."""
    command = [sys.executable, "-m", "rehearsal.node.leftovers", rig_id]
    environment = {"PYTHONPATH": str(PROJECT), "PATH": os.environ.get("PATH", ""), "GPULAB_CACHE": str(cache_folder())}
    nothing = subprocess.DEVNULL
    reading, writing = os.pipe()
    subprocess.Popen(
        command,
        env=environment,
        stdin=reading,
        stdout=nothing,
        stderr=nothing,
        start_new_session=True,
        pass_fds=[lock],
        # One that ends with its folder would hold no other.
        cwd="/",
    )
    os.close(reading)
    return writing


def _remove_forgotten(rigs: Path) -> None:
    """Removes rigs whose remover was killed too, or ended with the system."""
    for one in rigs.iterdir():
        with contextlib.suppress(OSError), _locked(one, wait=False):
            if not marked(one.name):
                remove(one.name)


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[int]:
    """Holds the lock of a folder, with the descriptor. Raises BlockingIOError if another has it and this can't wait."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)


def _hierarchies() -> Iterator[Path]:
    """The roots of cgroups: one of v2, or one for each controller of v1."""
    if (MOUNTED / _CONTROLLERS).exists():
        yield MOUNTED
        return
    yield from (one for one in MOUNTED.iterdir() if one.is_dir() and not one.is_symlink() and one.is_mount())


def main(rig_id: str) -> None:
    """Waits until the rehearsal and the processes have ended, and removes what is left."""
    for pid in sys.stdin.readlines():
        with contextlib.suppress(ProcessLookupError):
            select.select([os.pidfd_open(int(pid))], [], [])
    remove(rig_id)


if __name__ == "__main__":
    main(sys.argv[1])
