"""Helm releases: their chart and their effective values (the chart's defaults merged with the release's own values)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import pulumi
from pulumi_policy.proxy import UnknownValueError

import contracts
from policies.reading.resources import NotDecided, Resource, Stack, Undecided, at, is_type, items, parsed, undecided_by

RELEASE_TYPES = ("kubernetes:helm.sh/v3:Release", "kubernetes:helm.sh/v3:Chart", "kubernetes:helm.sh/v4:Chart")

Values = Mapping[str, Any]


RELEASES = is_type(*RELEASE_TYPES)
"""Resources that install a Helm chart, as `concerns` of a policy."""


def is_release(resource: Resource) -> bool:
    """Whether a resource installs a Helm chart."""
    return RELEASES(resource.resource_type)


def releases(stack: Stack, chart: str | None = None) -> Iterator[Resource]:
    """The releases of a stack; of one chart only if `chart` is given."""
    for release in stack.of_type(*RELEASE_TYPES):
        if chart is None or chart_name(release) == chart:
            yield release


def of_chart(*names: str) -> Any:
    """Only releases of these charts, and all resources that are not releases, as `where` of a policy."""
    return lambda resource: not is_release(resource) or chart_name(resource) in names


def chart_name(release: Resource) -> str:
    """The chart's name without its repository, folder or version."""
    return contracts.chart_name(str(at(release.props, "chart", "")))


def namespace(release: Resource) -> str | None:
    """The namespace that a release goes to."""
    return at(release.props, "namespace")


def values(release: Resource) -> Values:
    """The effective values of a release. Without a contract for its chart, these are only the release's own values.

    Raises UnknownValueError if one of the layers is not known.
    """
    merged: Any = {}
    for layer in (_defaults(chart_name(release)), *_files(release), at(release.props, "values", {})):
        merged = _merged(merged, layer)
    return merged


def own_values(release: Resource) -> Iterator[tuple[str, Values]]:
    """The release's own values, as the program has them, each layer with its place."""
    for index, layer in enumerate(_files(release)):
        yield f"valueYamlFiles.{index}", layer
    yield "values", at(release.props, "values", {})


@cache
def _defaults(chart: str) -> Values:
    try:
        return contracts.chart(chart).values
    except KeyError:
        return {}


def _files(release: Resource) -> Iterator[Values]:
    for asset in items(release.props.get("valueYamlFiles")):
        document = _file(asset)
        if document is not None:
            yield document


def _file(asset: Any) -> Values | None:
    """The values of a file; None if the pack cannot read it or it has no values."""
    text = None
    if isinstance(asset, pulumi.StringAsset):
        text = asset.text
    elif isinstance(asset, pulumi.FileAsset):
        try:
            with open(asset.path, encoding="utf-8") as file:  # noqa: PTH123 - a path as the program gave it
                text = file.read()
        except OSError:
            return None
    if text is None:
        return None
    document = parsed(text)
    return document if isinstance(document, Mapping) else None if text.strip() else {}


def unread_files(release: Resource) -> Iterator[Undecided]:
    """The value files that the pack cannot read."""
    try:
        assets = items(release.props.get("valueYamlFiles"))
    except UnknownValueError as error:
        yield undecided_by(error)
        return
    for index, asset in enumerate(assets):
        if _file(asset) is None:
            named = f" ({asset.path})" if isinstance(asset, pulumi.FileAsset) else ""
            yield NotDecided(f"valueYamlFiles.{index}{named} of {release.name}: the policy pack cannot read it")


def _merged(below: Any, above: Any) -> Any:
    """Merges as Helm does: mappings key by key, other values replaced. Unknown values raise only when read."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return _Layers(above, below)


class _Layers(Mapping[str, Any]):
    """Two layers of values, merged when they are read: an unknown value raises only for the reader of its key."""

    def __init__(self, above: Values, below: Values) -> None:
        self._above, self._below = above, below

    def __getitem__(self, key: str) -> Any:
        if key not in _keys(self._above):
            return self._below[key]
        value = self._above[key]
        if key not in _keys(self._below):
            return value
        if value is None:
            return None
        return _merged(self._below[key], value)

    def __contains__(self, key: object) -> bool:
        return key in _keys(self._above) or key in _keys(self._below)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self._above, *self._below]))

    def __len__(self) -> int:
        return len({*self._above, *self._below})


def _keys(mapping: Values) -> set[str]:
    # `key in mapping` on a mapping of pulumi-policy reads the value, which may not be known.
    return set(mapping)
