"""The machine root: a Debian root filesystem of its own, with the programs that a node needs beside those of Go.

It is made once into the cache, by mmdebstrap, and read only. Nothing is installed on the host: mmdebstrap itself is
downloaded with apt-get into a folder of the cache and unpacked there. `run` runs a command in the root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rehearsal.machine.processes import die_with_parent
from rehearsal.machine.tools import ToolMissing
from rehearsal.progress import Display

from .cached import checked, kept, key, node_cache

SUITE = "bookworm"
"""Debian 12: its runc 1.1 works without the right to change how likely a process is killed for memory."""

_PACKAGES = (
    *("tini", "util-linux", "procps", "kmod", "iproute2", "iptables", "nftables", "ipset", "conntrack", "socat"),
    *("runc", "buildah", "ca-certificates"),
    # For the C libraries and programs that are made here: NVIDIA's plugin, the stand-in of NVML, pause.
    *("gcc", "libc6-dev"),
    # A browser without a window needs a third of the disk of one with it.
    *("chromium-headless-shell", "fonts-dejavu-core"),
)
_UNWANTED = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")
_BOOTSTRAP_PACKAGES = ("mmdebstrap", "debian-archive-keyring")
_KEYRING = Path("usr/share/keyrings/debian-archive-keyring.gpg")
_ENTER = Path(__file__).with_name("enter_root.sh")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ADVICE = "Look whether `apt-get update` works on this machine; then run the same command again."


@dataclass(frozen=True)
class Bind:
    """A file or folder of the host, and its path in the root. It is read-only if it is not `writable`."""

    source: Path
    target: str
    writable: bool = False


def ensure(display: Display) -> Path:
    """The machine root, which nobody may change. Raises ToolMissing where it can't be made."""
    recipe = [SUITE, *_PACKAGES, *_UNWANTED]
    path = node_cache() / f"root-{key(*recipe)}"
    if not path.exists():
        refuse_without()
    return kept(path, lambda making: bootstrap(making, _PACKAGES, display), display, "the machine root", seconds=110)


def refuse_without() -> None:
    """Raises ToolMissing, with one sentence, where no Debian root filesystem can be made."""
    needs = "A node needs its own Debian root filesystem, and"
    if sys.platform != "linux":
        raise ToolMissing(f"{needs} that can be made on Linux only, not on {sys.platform}.")
    if os.geteuid() != 0:
        raise ToolMissing(f"{needs} only root can make one: run the command as root.")
    missing = [name for name in ("apt-get", "dpkg-deb", "perl", "python3", "unshare") if not shutil.which(name)]
    if missing:
        raise ToolMissing(f"{needs} that is made with {', '.join(missing)}: use a machine with Debian or Ubuntu.")


def bootstrap(target: Path, packages: Iterable[str], display: Display, *, suite: str = SUITE) -> None:
    """Makes a small Debian with these packages: a folder, or an archive if `target` ends in .tar.

    Raises ToolMissing.
    """
    apt = _Apt()
    tools = kept(apt.folder / "tools", apt.unpack_tools, display, "mmdebstrap", seconds=10)
    command = [
        *("perl", str(tools / "usr/bin/mmdebstrap"), "--mode=root", "--variant=minbase"),
        *(f"--format={'tar' if target.suffix == '.tar' else 'directory'}", f"--keyring={tools / _KEYRING}"),
        f"--include={','.join(packages)}",
        '--aptopt=APT::Install-Recommends "false"',
        *(f"--dpkgopt=path-exclude={path}" for path in _UNWANTED),
        *(suite, str(target), *apt.sources(suite)),
    ]
    # Mounts that mmdebstrap makes end with it, even if it is killed.
    separate = ["unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
    # It runs its own `mmtarfilter` by name.
    path = f"{tools / 'usr/bin'}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8", "TMPDIR": str(target.parent)}
    checked([*separate, *command], "mmdebstrap", env=env, advice=_ADVICE)


def command_line(
    root: Path,
    command: Sequence[str | Path],
    *,
    binds: Iterable[Bind] = (),
    env: Mapping[str, str] | None = None,
    folder: str = "/",
    network: bool = True,
) -> list[str]:
    """The command line that runs `command` in `root`, in its own namespaces of mounts and processes.

    It writes to memory only, except in writable `binds`. With `network` it has the host's network, else none.
    """
    stage = node_cache() / "stage"  # empty, and never seen otherwise: each command mounts its own memory here
    stage.mkdir(parents=True, exist_ok=True)
    settings = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", **(env or {})}
    return [
        *("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child"),
        *(() if network else ("--net",)),
        *("--", "/bin/sh", str(_ENTER), str(stage), str(root), "network" if network else "none", folder),
        *(word for bind in binds for word in (str(bind.source), bind.target, "rw" if bind.writable else "ro")),
        *("--", "/usr/bin/env", "-i", *(f"{name}={value}" for name, value in settings.items()), *map(str, command)),
    ]


def run(
    root: Path,
    command: Sequence[str | Path],
    *,
    binds: Iterable[Bind] = (),
    env: Mapping[str, str] | None = None,
    folder: str = "/",
    network: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Runs `command` in `root` as `command_line` says, and returns how it ended and what it printed."""
    return subprocess.run(
        command_line(root, command, binds=binds, env=env, folder=folder, network=network),
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
        preexec_fn=die_with_parent,
    )


def proxies() -> str:
    """The part of the host's configuration of apt that says by which proxies it downloads."""
    lines = checked(["apt-config", "dump", "Acquire"], "apt-config dump").splitlines()
    return "".join(f"{line}\n" for line in lines if "proxy" in line.lower())


class _Apt:
    """The host's apt-get with its sources, keys and proxies, and lists and downloads in a folder of the cache."""

    def __init__(self) -> None:
        self.folder = node_cache() / "apt"
        self._options = [
            *("-o", f"Dir::State::lists={self.folder / 'lists'}"),
            *("-o", f"Dir::Cache={self.folder / 'cache'}"),
            # The downloads are for root only, so no other user could write them.
            *("-o", "APT::Sandbox::User=root"),
        ]

    def unpack_tools(self, target: Path) -> None:
        """Unpacks mmdebstrap and Debian's keys into `target`."""
        downloads = self.folder / "downloads"
        for folder in (self.folder / "lists/partial", self.folder / "cache/archives/partial", downloads):
            folder.mkdir(parents=True, exist_ok=True)
        checked(["apt-get", *self._options, "update"], "apt-get update", advice=_ADVICE)
        wanted = " and ".join(_BOOTSTRAP_PACKAGES)
        download = ["apt-get", *self._options, "download", *_BOOTSTRAP_PACKAGES]
        checked(download, f"the download of {wanted}", cwd=downloads, advice=_ADVICE)
        for package in downloads.glob("*.deb"):
            checked(["dpkg-deb", "-x", package, target], f"unpacking {package.name}")

    def sources(self, suite: str) -> list[str]:
        """Lines of a sources.list for a release of Debian, at the mirrors that the host uses; none for Debian's own."""
        form = "$(LABEL) $(REPO_URI)"
        printed = checked(
            ["apt-get", *self._options, "indextargets", "--format", form, "Created-By: Packages"],
            "apt-get indextargets",
        )
        mirrors = dict(line.split(maxsplit=1) for line in printed.splitlines() if "://" in line)
        if not {"Debian", "Debian-Security"} <= mirrors.keys():
            return []
        return [
            f"deb {mirrors['Debian']} {suite} main",
            f"deb {mirrors['Debian']} {suite}-updates main",
            f"deb {mirrors['Debian-Security']} {suite}-security main",
        ]
