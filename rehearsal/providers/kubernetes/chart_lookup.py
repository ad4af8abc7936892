"""Finds the chart of a release: an archive or a folder, or else a stand-in that is made from its contract."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import contracts
from rehearsal.providers.protocol.model import UNKNOWN, Refused

from . import archives, chart_values, stand_in_chart

_ARCHIVE_VERSION = re.compile(r"-v?\d+\.\d+\.\d+.*$")


class ArchivedChart:
    """A chart with its archive or folder."""

    is_stand_in = False

    def __init__(self, archive: archives.Archive, contract: contracts.Chart | None = None) -> None:
        self._archive = archive
        self._contract = contract
        self.name = str(archive.metadata["name"])
        self.version = str(archive.metadata["version"])

    def check_values(self, values: Mapping[str, Any]) -> list[Refused]:
        """Checks with the schema of the chart, or else with the contract of its version, if there is one."""
        self._archive.load()
        if self._archive.schema is not None:
            return chart_values.check(values, self._archive.defaults, self._archive.schema)
        if self._contract and archives.same_version(self.version, self._contract.version):
            return StandInChart(self._contract).check_values(values)
        return []

    @contextlib.contextmanager
    def path(self) -> Iterator[Path]:
        """The archive or folder, for Helm."""
        yield self._archive.path


class StandInChart:
    """A chart with only its contract."""

    is_stand_in = True

    def __init__(self, contract: contracts.Chart) -> None:
        self._contract = contract
        self.name = contract.name
        self.version = contract.version

    def check_values(self, values: Mapping[str, Any]) -> list[Refused]:
        """Checks with the schema of the chart, or else with its defaults."""
        return chart_values.check(values, stand_in_chart.defaults(self._contract), self._contract.schema)

    @contextlib.contextmanager
    def path(self) -> Iterator[Path]:
        """The chart in its own folder, for Helm. The folder is deleted at the end of the block."""
        with tempfile.TemporaryDirectory(prefix="gpulab-chart-") as made:
            folder = Path(made) / self.name
            stand_in_chart.write(self._contract, folder)
            yield folder


Chart: TypeAlias = ArchivedChart | StandInChart


def find(reference: str, version: Any, repository: str | None = None) -> Chart:
    """The chart of a release, which has its name, its OCI address, or the path of an archive or folder.

    `version` is empty for the pinned one, and UNKNOWN if a preview does not know it. `repository` is the HTTP index of
    the chart. A chart at a path can have any version, every other chart must have the version of its contract. If there
    is no archive, a stand-in is made from the contract. Raises Refused.
    """
    asked = None if version is UNKNOWN else version or None
    name = _ARCHIVE_VERSION.sub("", reference.rstrip("/").rpartition("/")[2].removesuffix(".tgz"))
    contract = _contract(name)
    if archive := archives.at(reference):
        if asked and not archives.same_version(archive.metadata["version"], asked):
            raise Refused(f"{reference} is at version {archive.metadata['version']!r}, not {asked!r}", "version")
        return ArchivedChart(archive, _contract(archive.metadata["name"]))
    if reference.startswith((".", "/", "~")):
        raise Refused(f"path {reference!r} not found; check the chart name and repository configuration.", "chart")
    if asked and contract and not archives.same_version(asked, contract.version):
        raise Refused(
            f"{asked!r} is not the version of the contract of {contract.name}: {contract.version!r}",
            "version",
        )
    wanted = contract.version if contract else asked
    archive = wanted and (archives.find(name, wanted) or archives.pull(reference, wanted, repository))
    if archive:
        return ArchivedChart(archive, contract)
    if contract is None:
        raise Refused(
            f"there is no contract for the chart {reference!r}, so its release cannot be rehearsed; known:"
            f" {', '.join(_known())}. Give the folder of the chart with --charts, or name its archive under"
            " gpulab:charts, to rehearse another",
            "chart",
        )
    return StandInChart(contract)


def _contract(name: str) -> contracts.Chart | None:
    try:
        return contracts.chart(name)
    except KeyError:
        return None


def _known() -> list[str]:
    folder = Path(contracts.__path__[0]) / "charts"
    return sorted([*(path.stem for path in folder.glob("*.json")), "karpenter-crd"])
