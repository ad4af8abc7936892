"""Finds the folders or archives of charts.

`GPULAB_CHARTS` lists folders with charts as NAME/ or NAME-VERSION.tgz. A chart that is in none of them is pulled from
its repository into the folder `GPULAB_CHART_DOWNLOADS`. Without this variable the network is not used.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from rehearsal.providers.protocol.model import Refused

FOLDERS, DOWNLOADS = "GPULAB_CHARTS", "GPULAB_CHART_DOWNLOADS"

_PULL_SECONDS = 60
_VERSION_IN_NAME = re.compile(r"-v?[0-9]+\.[0-9].*\.tgz$|\.tgz$")
_pulled: dict[tuple[str, str], Path | None] = {}
_pulling = threading.Lock()


@dataclass(frozen=True)
class Archive:
    """A folder or archive of a chart. Raises Refused if it is not one."""

    path: Path

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The content of its Chart.yaml."""
        text = self._read("Chart.yaml")
        content = yaml.safe_load(text) if text else None
        if not isinstance(content, dict) or not {"name", "version"} <= content.keys():
            raise Refused(f"{self.path} is not a chart: it has no Chart.yaml with a name and a version", "chart")
        return content

    @cached_property
    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema of its values, if it has one."""
        text = self._read("values.schema.json")
        return json.loads(text) if text else None

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Its default values."""
        return yaml.safe_load(self._read("values.yaml") or "") or {}

    def load(self) -> None:
        """Reads all of it, as Helm does before it renders anything. Raises Refused.

        Refused are incomplete archives, and charts without their dependencies.
        """
        wanted = {dependency["name"] for dependency in self.metadata.get("dependencies") or []}
        missing = sorted(wanted - self._dependencies())
        if missing:
            raise Refused(
                f"found in Chart.yaml, but missing in charts/ directory: {', '.join(missing)}; check the chart name and"
                " repository configuration.",
                "chart",
            )

    def _dependencies(self) -> set[str]:
        """The names of the charts in its charts/ folder. Reads an archive to its end."""
        if self.path.is_dir():
            names = {path.name for path in (self.path / "charts").glob("*")}
        else:
            try:
                with tarfile.open(self.path) as tar:
                    parts = [member.name.removeprefix("./").split("/") for member in tar]
            except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
                raise Refused(f"{self.path} is not a chart archive: {error}", "chart") from error
            names = {inside[2] for inside in parts if len(inside) > 2 and inside[1] == "charts"}
        return {_VERSION_IN_NAME.sub("", name) for name in names}

    def _read(self, file: str) -> str | None:
        """The text of a file in the top folder of the chart, or None."""
        if self.path.is_dir():
            found = self.path / file
            return found.read_text(encoding="utf-8") if found.is_file() else None
        try:
            with tarfile.open(self.path) as tar:
                for member in tar:
                    # An archive has one folder with the name of the chart. Subcharts are deeper.
                    if member.name.removeprefix("./").partition("/")[2] == file:
                        content = tar.extractfile(member)
                        return content.read().decode() if content else None
        except (tarfile.TarError, EOFError, zlib.error) as error:
            raise Refused(f"{self.path} is not a chart archive: {error}", "chart") from error
        return None


def at(reference: str) -> Archive | None:
    """The chart at the path `reference`, which Helm tries first, or None."""
    path = Path(reference).expanduser()
    is_chart = path.is_file() or (path / "Chart.yaml").is_file()
    return Archive(path.resolve()) if is_chart else None


def find(name: str, version: str, folders: Iterable[Path] | None = None) -> Archive | None:
    """The chart `name` in folders, by default those of `GPULAB_CHARTS`.

    Raises Refused if only other versions are there.
    """
    others = []
    for folder in _folders() if folders is None else folders:
        archives = [folder / f"{name}-{prefix}{version.removeprefix('v')}.tgz" for prefix in ("", "v")]
        for path in (*archives, folder / name):
            if found := at(str(path)):
                if same_version(found.metadata["version"], version):
                    return found
                others.append(f"{found.path} is {found.metadata['version']}")
    if others:
        raise Refused(f"the chart {name} is pinned at {version}, but {' and '.join(others)}", "chart")
    return None


def pull(reference: str, version: str, repository: str | None) -> Archive | None:
    """The chart from its repository, or None if that is not allowed or fails. Each process tries once."""
    folder = os.environ.get(DOWNLOADS)
    helm = shutil.which("helm")
    if not folder or not helm:
        return None
    with _pulling:
        if (reference, version) not in _pulled:
            _pulled[reference, version] = pull_into(Path(folder), helm, reference, version, repository)
        path = _pulled[reference, version]
    return Archive(path) if path else None


def same_version(one: Any, other: str) -> bool:
    """Whether two versions are the same, with or without a leading v."""
    return str(one).removeprefix("v") == other.removeprefix("v")


def _folders() -> Iterator[Path]:
    for folder in os.environ.get(FOLDERS, "").split(os.pathsep):
        if folder:
            yield Path(folder)


def pull_into(folder: Path, helm: str, reference: str, version: str, repository: str | None) -> Path | None:
    """The archive of the chart that `helm pull` puts into `folder`, or None if that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pulling-") as pulling:
        command = [helm, "pull", reference, "--version", version, "--destination", pulling]
        command += ["--repo", repository] if repository else []
        try:
            subprocess.run(command, capture_output=True, timeout=_PULL_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        for archive in Path(pulling).glob("*.tgz"):
            return archive.rename(folder / archive.name)
    return None
