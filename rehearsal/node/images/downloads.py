"""Packages of PyPI, npm and Maven that images are made of, downloaded on the host by the host's own clients.

So they come from where its pip, npm and Maven are configured to look, and images need no network for them.
"""

from __future__ import annotations

import platform
import shutil
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from rehearsal.machine import java_tools
from rehearsal.machine.tools import ToolMissing
from rehearsal.node.cached import checked

FILES = Path(__file__).with_name("files")
_PYTHON = "3.13"
# glibc of Debian 13 is 2.41, so wheels for all these older ones run on it.
_GLIBC = (*("2_17", "2_24", "2_26", "2_27", "2_28", "2_31", "2_34", "2_35", "2_38", "2_39"), "2014")


class Download(ABC):
    """Something that an image needs in a folder of /downloads."""

    @property
    @abstractmethod
    def version(self) -> str:
        """A text that changes when the content changes."""

    @abstractmethod
    def into(self, folder: Path) -> None:
        """Downloads it into a folder of its own below `folder`. Raises ToolMissing."""


@dataclass(frozen=True)
class Wheels(Download):
    """Packages of PyPI: those of a list with every version, a file below files/. They and the list are in `wheels`."""

    requirements: str

    @property
    def version(self) -> str:
        """The list itself."""
        return (FILES / self.requirements).read_text(encoding="utf-8")

    def into(self, folder: Path) -> None:
        """Downloads the wheels for Debian's Python, whatever Python this is."""
        wheels = folder / "wheels"
        wheels.mkdir()
        shutil.copy(FILES / self.requirements, wheels)
        machine = platform.machine()
        checked(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
                *("--no-deps", "--only-binary=:all:", f"--python-version={_PYTHON}"),
                *(f"--platform=manylinux{'' if glibc == '2014' else '_'}{glibc}_{machine}" for glibc in _GLIBC),
                *(f"--dest={wheels}", f"--requirement={FILES / self.requirements}"),
            ],
            f"the download of the packages in {self.requirements}",
            advice="Look whether `pip download` works on this machine; then run the same command again.",
        )


@dataclass(frozen=True)
class Modules(Download):
    """Packages of npm: those of the package-lock.json in a folder below files/. They are in `modules`."""

    folder: str

    @property
    def version(self) -> str:
        """The lock file itself."""
        return (FILES / self.folder / "package-lock.json").read_text(encoding="utf-8")

    def into(self, folder: Path) -> None:
        """Installs them; no package may run a program meanwhile."""
        if not shutil.which("npm"):
            raise ToolMissing("The image of the hub's proxy is made of packages of npm: put `npm` on PATH (Node.js).")
        modules = folder / "modules"
        modules.mkdir()
        for name in ("package.json", "package-lock.json"):
            shutil.copy(FILES / self.folder / name, modules)
        checked(
            ["npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"],
            "the download of the hub's proxy",
            cwd=modules,
            advice="Look whether `npm ping` works on this machine; then run the same command again.",
        )


@dataclass(frozen=True)
class KeycloakServer(Download):
    """Keycloak as it is released, in `keycloak`."""

    @property
    def version(self) -> str:
        """The pinned version."""
        return java_tools.KEYCLOAK

    def into(self, folder: Path) -> None:
        """Downloads and unpacks the release."""
        java_tools.unpack_keycloak(folder).rename(folder / "keycloak")
