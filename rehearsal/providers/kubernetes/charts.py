"""Charts as the rehearsal has them: at hand, for Helm to render, or recorded in their contracts."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import contracts
from rehearsal.providers.serving import UNKNOWN, Refused

from . import archives
from . import values as chart_values
from .objects import Object

# Charts whose custom resource definitions are templates, and so go with the release, and the value that turns them on.
# In all others they lie in the chart's crds/ folder: Helm installs those before the release and never removes them.
_TEMPLATED_CRDS: Mapping[str, tuple[str, ...]] = {
    "cert-manager": ("crds", "enabled"),
    "cloudnative-pg": ("crds", "create"),
    "karpenter-crd": (),
    "kueue": (),
}
_KEEP_CRDS: Mapping[str, tuple[str, ...]] = {"cert-manager": ("crds", "keep")}
_KEEP_ANNOTATION = "helm.sh/resource-policy"
# A `-crd` chart has no contract of its own: its only value is what it writes on each definition.
_CRD_CHART_VALUES: Mapping[str, Any] = {"additionalAnnotations": {}}
_ARCHIVE_VERSION = re.compile(r"-v?\d+\.\d+\.\d+.*$")


class ArchivedChart:
    """A chart whose archive or folder is at hand, so that Helm can render it."""

    def __init__(self, archive: archives.Archive, contract: contracts.Chart | None = None) -> None:
        self._archive = archive
        self._contract = contract
        self.path = archive.path
        self.name = str(archive.metadata["name"])
        self.version = str(archive.metadata["version"])

    def check_values(self, values: Mapping[str, Any]) -> list[Refused]:
        """By the chart's schema; of a chart that has none by the contract of its version, if there is one."""
        self._archive.load()
        if self._archive.schema is not None:
            return chart_values.check(values, self._archive.defaults, self._archive.schema)
        if self._contract and archives.same_version(self.version, self._contract.version):
            return RecordedChart(self._contract).check_values(values)
        return []


class RecordedChart:
    """A chart of which only the contract is at hand: its custom resource definitions are all that can be installed."""

    def __init__(self, contract: contracts.Chart) -> None:
        self._contract = contract
        self.name = contract.name
        self.version = contract.version
        self.app_version = contract.app_version
        self._defaults = _CRD_CHART_VALUES if contract.name.endswith("-crd") else contract.values

    def check_values(self, values: Mapping[str, Any]) -> list[Refused]:
        """By the chart's schema, else by its defaults."""
        return chart_values.check(values, self._defaults, self._contract.schema)

    def folder_crds(self) -> list[Object]:
        """The contract's definitions, unless the chart has them among its templates."""
        return [] if self.name in _TEMPLATED_CRDS else self._definitions()

    def render(self, values: Mapping[str, Any]) -> list[Object]:
        """The definitions, of a chart that has them among its templates and whose values turn them on."""
        switch = _TEMPLATED_CRDS.get(self.name)
        if switch is None or (switch and not self._value(values, switch)):
            return []
        definitions = self._definitions()
        keep = _KEEP_CRDS.get(self.name)
        for definition in definitions:
            annotations = definition["metadata"].setdefault("annotations", {})
            annotations.update(values.get("additionalAnnotations") or {})
            if keep and self._value(values, keep):
                annotations[_KEEP_ANNOTATION] = "keep"
        return definitions

    def _definitions(self) -> list[Object]:
        return [copy.deepcopy(dict(definition)) for definition in self._contract.crds]

    def _value(self, values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
        for source in (values, self._defaults):
            value: Any = source
            for key in path:
                value = value.get(key) if isinstance(value, Mapping) else None
            if value is not None:
                return value
        return None


Chart: TypeAlias = ArchivedChart | RecordedChart


def is_kept(obj: Object) -> bool:
    """Whether Helm leaves the object when its release goes."""
    return obj["metadata"].get("annotations", {}).get(_KEEP_ANNOTATION) == "keep"


def find(reference: str, version: Any, repository: str | None = None) -> Chart:
    """The chart that a release names: by name, by OCI address, or by the path of an archive or folder.

    `version` is the one asked for: empty for the pinned one, UNKNOWN where a preview can't know it. `repository` is the
    HTTP index that has it. A chart at a path is taken as it is; any other has to be at the version of its contract.
    Where it is not at hand, the contract stands for it. Raises Refused.
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
            f"{asked!r} is not the version that the contract of {contract.name} is about: {contract.version!r}",
            "version",
        )
    wanted = contract.version if contract else asked
    archive = wanted and (archives.find(name, wanted) or archives.pull(reference, wanted, repository))
    if archive:
        return ArchivedChart(archive, contract)
    if contract is None:
        raise Refused(
            f"no contract of the chart {reference!r} is at hand, so its release can't be rehearsed; known:"
            f" {', '.join(_known())}. Give the folder that holds the chart with --charts, or name its archive under"
            " gpulab:charts, to rehearse another",
            "chart",
        )
    return RecordedChart(contract)


def _contract(name: str) -> contracts.Chart | None:
    try:
        return contracts.chart(name)
    except KeyError:
        return None


def _known() -> list[str]:
    folder = Path(contracts.__path__[0]) / "charts"
    return sorted([*(path.stem for path in folder.glob("*.json")), "karpenter-crd"])
