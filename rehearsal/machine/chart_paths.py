"""Charts for the real kubernetes plugin. It does not search folders of charts, so the stack file must name them.

Each chart that is at hand is written to `gpulab:charts` in the rehearsal's copy of the stack file. Missing charts are
downloaded after the first preview, which names them, so that no update waits for a download.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import contracts
from rehearsal.providers.kubernetes import archives
from rehearsal.providers.protocol.model import Refused
from settings.charts import CHART_NAMES


def at_hand(folders: Sequence[Path]) -> dict[str, Path]:
    """The paths of the platform's charts in `folders`, by name.

    Raises FileNotFoundError for a chart of another version.
    """
    found = {}
    for name in CHART_NAMES:
        try:
            archive = archives.find(name, contracts.chart(name).version, folders)
        except Refused as refused:
            raise FileNotFoundError(str(refused)) from refused
        if archive:
            found[name] = archive.path
    return found


def pulled(needed: Iterable[Mapping[str, str]], folder: Path, helm: Path) -> tuple[dict[str, Path], list[str]]:
    """Downloads the charts of releases (`chart`, `version`, `repository`) that are in no folder.

    Returns the paths by the chart's name, and the names of charts that cannot be downloaded.
    """
    found: dict[str, Path] = {}
    missing = []
    for release in needed:
        chart = release["chart"]
        name = chart.rpartition("/")[2]
        if archives.at(chart) is None:
            repository = release.get("repository")
            path = archives.pull_into(folder, str(helm), chart, release.get("version", ""), repository)
            if path:
                found[name] = path
            else:
                missing.append(name)
    return found, missing
