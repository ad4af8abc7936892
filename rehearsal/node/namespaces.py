"""The namespaces of a machine: mounts, network and processes that all end with its first process.

Nothing of it is on the host: no mount, no link, no rule of a firewall. The kernel removes all of it, also after a kill.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from rehearsal.machine.cache import cache_folder
from rehearsal.machine.processes import Processes, ProcessFailed
from rehearsal.machine.tools import ToolMissing

from .cached import checked, node_cache
from .root import PATH

_CLONE_NEWNET = 0x40000000
_NAMESPACES = ("mount", "net", "pid", "ipc", "uts")
# `--kill-child`: the first process ends with `unshare`, and the kernel then ends all others.
_UNSHARE = (
    "unshare",
    *(f"--{one}" for one in _NAMESPACES),
    *("--fork", "--kill-child", "--propagation=private", "--"),
)
# Rules of the firewall for what goes over a bridge, such as from pod to pod.
_BRIDGES = Path("/proc/sys/net/bridge")
_SCRIPT = Path(__file__).with_name("machine.sh")
_READY_SECONDS = 60

PREFIX = 24
"""Bits of the network of machines, 10.99.0.0."""
POD_NETWORK = "10.244.0.0/16"
"""The network of all pods, of which each machine has a part."""


class NoNamespaces(ToolMissing):
    """A machine of its own can't be made here. The message says why, and what to do instead."""


def refuse_without() -> None:
    """Raises NoNamespaces where this system or user can have no namespaces of this kind."""
    instead = "Name a cluster that has kubelets of its own with --kubeconfig FILE, such as one of kind or k3s."
    if sys.platform != "linux":
        raise NoNamespaces(f"A node needs Linux, and this is {sys.platform}. {instead}")
    if os.geteuid() != 0:
        raise NoNamespaces(f"A node needs root, as it makes mounts and a network of its own. {instead}")
    missing = [program for program in ("unshare", "nsenter", "pivot_root") if not shutil.which(program, path=PATH)]
    if missing:
        raise NoNamespaces(f"A node needs {' and '.join(missing)} of util-linux in {PATH}. {instead}")
    tried = subprocess.run([*_UNSHARE, "true"], env={"PATH": PATH}, capture_output=True, text=True, check=False)
    if tried.returncode:
        text = f"A node needs namespaces, which root may not make here ({tried.stderr.strip()})."
        raise NoNamespaces(f"{text} In a container, start it with --privileged. {instead}")
    if not _BRIDGES.exists():
        text = "A node needs the kernel's module br_netfilter: load it with `modprobe br_netfilter`."
        raise NoNamespaces(f"{text} {instead}")


def command_in(pid: int, *command: str | Path) -> list[str]:
    """A command line that runs `command` in the machine whose first process is `pid`."""
    inside = [f"--{one}" for one in _NAMESPACES]
    return ["nsenter", f"--target={pid}", *inside, "--", *map(str, command)]


@dataclass(frozen=True)
class Machine:
    """A running machine. `pid` is its first process, as the host sees it; `folder` has its files.

    Its `number` is in its addresses.
    """

    pid: int
    folder: Path
    name: str
    number: int
    _processes: Processes = field(repr=False)

    @property
    def address(self) -> str:
        """Its address in the network of machines."""
        return f"10.99.0.{self.number}"

    @property
    def pods(self) -> str:
        """The network of its pods."""
        return f"10.244.{self.number}.0/24"

    @property
    def rig(self) -> str:
        """The id of the rig that it belongs to."""
        return self._processes.rehearsal_id

    def command(self, *command: str | Path) -> list[str]:
        """A command line that runs `command` in the machine."""
        return command_in(self.pid, *command)

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
        """Starts a process in the machine."""
        self._processes.start(self._process(name), self.command(*command), env)

    def start_beside(self, name: str, command: Sequence[str | Path], env: Mapping[str, str]) -> None:
        """Starts a process of the host that serves the machine. It has none of the user's settings."""
        self._processes.start(self._process(name), command, {"HOME": str(self._processes.logs), **env})

    def run(self, *command: str | Path) -> str:
        """Runs a command in the machine and returns what it printed. Raises ProcessFailed."""
        done = subprocess.run(self.command(*command), check=False, capture_output=True, text=True)
        if done.returncode:
            raise ProcessFailed(f"`{' '.join(map(str, command))}` failed on {self.name}: {done.stderr.strip()}")
        return done.stdout

    def end(self, beside: Sequence[str] = ()) -> None:
        """Ends it with all that runs there, and what `beside` it serves it. Its files stay until the rig ends."""
        for name in (*map(self._process, beside), self.name):
            self._processes.end_one(name)

    def join(self, other: Machine) -> None:
        """Connects its network with that of another machine."""
        port = f"port-{self.number}"
        self.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", port)
        self.run("ip", "link", "set", "uplink", "master", "node0", "up")
        # Only a process among the host's knows both machines by their ids. The host may have no `ip`.
        link = ["ip", "link", "set", port, "netns", str(other.pid)]
        checked(["nsenter", f"--target={self.pid}", "--mount", "--net", "--", *link], f"joining {self.name}")
        other.run("ip", "link", "set", port, "master", "node0", "up")

    def route_to(self, others: Sequence[Machine]) -> None:
        """Makes it reach the pods of other machines."""
        for other in others:
            self.run("ip", "route", "add", other.pods, "via", other.address)

    def wait_until(self, name: str, ready: Callable[[], bool], *, seconds: float) -> None:
        """Waits for a process of the machine. Raises ProcessFailed."""
        self._processes.wait_until(self._process(name), ready, seconds=seconds)

    def path(self, path: str | Path) -> Path:
        """A file of the machine, as the host sees it."""
        return Path(f"/proc/{self.pid}/root") / Path(path).relative_to("/")

    def write(self, path: str | Path, text: str) -> None:
        """Writes a file of the machine that only root may read."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(text, encoding="utf-8")

    def enter_network(self) -> None:
        """This thread, and the processes and threads that it starts from now on, have the machine's network."""
        with self._open_network() as inside:
            _set_network(inside)

    @contextlib.contextmanager
    def _open_network(self) -> Iterator[int]:
        with Path(f"/proc/{self.pid}/ns/net").open("rb") as file:
            yield file.fileno()

    def _process(self, name: str) -> str:
        """The name of a process of the machine among those of the rig."""
        return f"{self.name}-{name}"


def start(processes: Processes, folder: Path, *, root: Path, name: str, number: int) -> Machine:
    """Starts a machine with the Debian root filesystem `root`, which stays as it is. It has the cache at its path.

    Raises ProcessFailed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A link of the host leads elsewhere in the machine.
    folder = folder.resolve()
    arguments = [root, folder, name, f"10.99.0.{number}/{PREFIX}", *_shared()]
    processes.start(name, [*_UNSHARE, "/bin/sh", _SCRIPT, *map(str, arguments)], {"PATH": PATH})
    processes.wait_until(name, (folder / "ready").exists, seconds=_READY_SECONDS)
    children = psutil.Process(processes.pid(name)).children()
    if not children:
        raise ProcessFailed(f"the machine {name} has ended; its log: {processes.log_path(name)}")
    return Machine(children[0].pid, folder, name, number, processes)


@contextlib.contextmanager
def own_network() -> Iterator[None]:
    """After the block this thread is in the network where it was before, whichever it entered meanwhile."""
    with Path("/proc/thread-self/ns/net").open("rb") as before:
        try:
            yield
        finally:
            _set_network(before.fileno())


def _shared() -> list[Path]:
    """The folders of the host that a machine has at the same paths: the cache, and where parts of it really are."""
    parts = (cache_folder() / "toolchain", node_cache())
    return [cache_folder(), *(part.resolve() for part in parts if part.is_symlink())]


def _set_network(descriptor: int) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if library.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot enter a network")
