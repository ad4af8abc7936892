"""Drivers of volumes on a machine: `python -m rehearsal.node.csi PID NODE FOLDER DRIVER …`.

PID is the machine's first process, and FOLDER has the rig's volumes on the host. It runs on the host, whose Python it
needs, and mounts in the machine's namespaces.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rehearsal.node import namespaces
from rehearsal.site import provisioners

from .driver import Driver, MountFailed, serve

_SOCKETS = Path("/var/lib/kubelet/plugins_registry")


@dataclass(frozen=True)
class MachineMounts:
    """Bind mounts in a machine. `volumes` is on the host what the machine has as `provisioners.FOLDER`."""

    pid: int
    volumes: Path

    def make(self, folder: str) -> None:
        """Makes the folder of a volume, unless it is there."""
        provisioners.make_folder(self.volumes / folder)

    def has(self, folder: str) -> bool:
        """Whether there is the folder of a volume."""
        return (self.volumes / folder).is_dir()

    def bind(self, folder: str, target: str, *, read_only: bool) -> None:
        """Mounts the folder of a volume at `target`, unless something is mounted there."""
        if self._is_mounted(target):
            return
        self._run("mkdir", "-p", target)
        options = "ro" if read_only else "rw"
        self._run("mount", "--bind", "-o", options, str(provisioners.FOLDER / folder), target)

    def unbind(self, target: str) -> None:
        """Takes it away again, unless it is gone."""
        if self._is_mounted(target):
            self._run("umount", target)
        # kubelet takes a folder that is left for a volume that is left.
        self._run("rm", "--dir", "--force", target)

    def _is_mounted(self, target: str) -> bool:
        return not self._result("mountpoint", "--quiet", target).returncode

    def _run(self, *command: str) -> None:
        done = self._result(*command)
        if done.returncode:
            raise MountFailed(f"`{' '.join(command)}` failed: {done.stderr.strip()}")

    def _result(self, *command: str) -> subprocess.CompletedProcess[str]:
        inside = namespaces.command_in(self.pid, *command)
        return subprocess.run(inside, check=False, capture_output=True, text=True)


def main(pid: str, node: str, volumes: str, *names: str) -> None:
    """Goes on until the process is ended."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    mounts = MachineMounts(int(pid), Path(volumes))
    # kubelet finds new sockets in this folder, and talks to a driver at the same one.
    sockets = Path(f"/proc/{pid}/root") / _SOCKETS.relative_to("/")
    sockets.mkdir(parents=True, exist_ok=True)
    servers = []
    for name in names:
        socket = f"{name}-reg.sock"
        servers.append(serve(Driver(name, node, str(_SOCKETS / socket), mounts), f"unix:{sockets / socket}"))
    for server in servers:
        server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
