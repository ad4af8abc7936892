"""Charts for the real kubernetes plugin, which knows no folders of charts and no contracts: the stack file names them.

Each chart that is at hand is written to `gpulab:charts` of the rehearsal's copy of the stack file. What is not is asked
of its repository once the first preview has named it, and not in the middle of an update.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import contracts
from settings.charts import CHART_NAMES

from .providers.kubernetes import archives
from .providers.serving import Refused


def at_hand(folders: Sequence[Path]) -> dict[str, Path]:
    """The paths of the platform's charts that lie in `folders`, by name.

    Raises FileNotFoundError for a chart that is there at another version.
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


def pulled(asked: Iterable[Mapping[str, str]], folder: Path, helm: Path) -> tuple[dict[str, Path], list[str]]:
    """The charts of releases (`chart`, `version`, `repository`) that are in no folder, from their repositories.

    Returns the paths by the chart's name, and the names of those that cannot be had.
    """
    found: dict[str, Path] = {}
    missing = []
    for release in asked:
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
