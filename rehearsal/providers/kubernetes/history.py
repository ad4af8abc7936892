"""Helm's record of a release: a Secret for each revision (helm.sh/release.v1)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import yaml

from contracts.helm import record_in

from .client import Cluster
from .objects import Object
from .stand_in_chart import ANNOTATION, OWN_TEMPLATES

# Read as text, because YAML 1.1 would change values that look like dates.
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True, kw_only=True)
class Revision:
    """One revision of a release: the installed objects and the values.

    `is_stand_in` means that the chart was made from its contract, `has_own_templates` that it has templates of the
    rehearsal besides. `hooks` has the name of each hook that Helm ran, with the result of its last run.
    """

    name: str
    namespace: str
    number: int
    status: str
    chart: str
    chart_version: str
    app_version: str
    values: dict[str, Any]
    manifest: str
    hooks: dict[str, str]
    is_stand_in: bool
    has_own_templates: bool

    @cached_property
    def objects(self) -> list[Object]:
        """The objects that Helm installed, without hooks and without the definitions in crds/."""
        return [document for document in yaml.load_all(self.manifest, _Loader) if document]

    @classmethod
    def from_secret(cls, secret: Object) -> Revision:
        """The revision in a Secret of Helm."""
        record = record_in(secret)
        metadata = record["chart"]["metadata"]
        annotations = metadata.get("annotations") or {}
        return cls(
            name=record["name"],
            namespace=record["namespace"],
            number=record["version"],
            status=record["info"]["status"],
            chart=metadata["name"],
            chart_version=metadata["version"],
            app_version=metadata.get("appVersion") or "",
            values=record.get("config") or {},
            manifest=record.get("manifest") or "",
            hooks={hook["name"]: (hook.get("last_run") or {}).get("phase", "") for hook in record.get("hooks") or []},
            is_stand_in=ANNOTATION in annotations,
            has_own_templates=OWN_TEMPLATES in annotations,
        )


def latest(cluster: Cluster, namespace: str, name: str) -> Revision | None:
    """The newest revision of a release, or None."""
    selector = f"owner=helm,name={name}"
    found = cluster.objects(cluster.kind("v1", "Secret"), namespace, labelSelector=selector)
    newest = max(found, key=lambda secret: int(secret["metadata"]["labels"]["version"]), default=None)
    return Revision.from_secret(newest) if newest else None
