"""NVIDIA's real Helm chart, with that of node feature discovery inside, from the Go modules that they are published in.

The module of the contract's own version may not be there to download. Then the templates are those of the version that
`tools/` pins, and the chart bears the contract's version, so that Helm and the stack get what they ask for.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

import contracts

from . import modules
from .tools import DEVICE_PLUGIN, NODE_FEATURES, Tool

NAME, FEATURES = "nvidia-device-plugin", "node-feature-discovery"
_TEMPLATES = "gpulab.dev/templates"
_FOLDER, _FEATURES_FOLDER = f"deployments/helm/{NAME}", f"deployment/helm/{FEATURES}"


def charts(folder: Path) -> Path:
    """Writes the chart to `folder`/nvidia-device-plugin, completely or not at all. Raises ToolMissing."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".making-") as making:
        chart = Path(making) / NAME
        _copy(DEVICE_PLUGIN, _FOLDER, chart)
        # The module has the chart of an older feature discovery as an archive.
        shutil.rmtree(chart / "charts")
        (chart / "Chart.lock").unlink()
        inside = chart / "charts" / FEATURES
        _copy(NODE_FEATURES, _FEATURES_FOLDER, inside)
        contract = contracts.chart(NAME)
        features = _features_version()
        _change(inside, {"version": features})
        _change(
            chart,
            {
                "version": contract.version,
                "appVersion": contract.app_version,
                "dependencies": [_dependency(chart, features)],
                "annotations": {_TEMPLATES: DEVICE_PLUGIN.version},
            },
        )
        shutil.rmtree(folder / NAME, ignore_errors=True)
        chart.rename(folder / NAME)
    return folder / NAME


def differences() -> list[str]:
    """How the chart differs from the release that the stack pins, a sentence each. Raises ToolMissing."""
    contract = contracts.chart(NAME)
    found = []
    if DEVICE_PLUGIN.version != f"v{contract.version}":
        found.append(
            f"The stack pins {NAME} {contract.version}; its Go module is not there to download, so programs and"
            f" templates are those of {DEVICE_PLUGIN.version}."
        )
    if NODE_FEATURES.version != f"v{_features_version()}":
        found.append(f"{NAME} pins {FEATURES} {_features_version()}, and this is {NODE_FEATURES.version}.")
    module = modules.folder(DEVICE_PLUGIN.name, DEVICE_PLUGIN.module)
    values = yaml.safe_load((module / _FOLDER / "values.yaml").read_text(encoding="utf-8"))
    found += [f"The default of {path} is another one." for path in _differing(contract.values, values)]
    return found


def _features_version() -> str:
    """The version of node feature discovery that the contract's chart has as its dependency."""
    return contracts.chart(NAME).dependencies[FEATURES]


def _copy(tool: Tool, inside: str, target: Path) -> None:
    """Copies a folder of a module. Files in Go's cache are read-only, and copies are not."""
    source = modules.folder(tool.name, tool.module) / inside
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _dependency(chart: Path, version: str) -> dict[str, Any]:
    """The chart's dependency with another version: it is in the folder, and nobody downloads it."""
    (dependency,) = yaml.safe_load((chart / "Chart.yaml").read_text(encoding="utf-8"))["dependencies"]
    return {**dependency, "version": version}


def _change(chart: Path, changes: dict[str, Any]) -> None:
    path = chart / "Chart.yaml"
    content = {**yaml.safe_load(path.read_text(encoding="utf-8")), **changes}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def _differing(contract: Any, module: Any, path: str = "") -> list[str]:
    """The paths at which the values differ."""
    if not isinstance(contract, dict) or not isinstance(module, dict):
        return [] if contract == module else [path]
    found = []
    for key in sorted({*contract, *module}):
        found += _differing(contract.get(key), module.get(key), f"{path}.{key}".lstrip("."))
    return found
