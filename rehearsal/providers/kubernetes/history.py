"""Helm's record of a release: a Secret for each revision, readable by Helm itself (helm.sh/release.v1)."""

from __future__ import annotations

import base64
import gzip
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

from .charts import RecordedChart
from .client import ApiError, Cluster
from .objects import Object

_TYPE = "helm.sh/release.v1"
DEPLOYED, SUPERSEDED = "deployed", "superseded"
_DOCUMENT = "---\n"
# On the chart of a release that the rehearsal wrote, in place of one that Helm rendered.
_RECORDED = "gpulab.dev/recorded"
# Helm's manifests hold what YAML 1.1 takes for dates and the like: read as text they can't go wrong.
_Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(kw_only=True)
class Revision:
    """One revision of a release: what was installed, with which values.

    `recorded` says that the chart's contract stood for it; then `objects` is all there was to install. `hooks` are the
    names of the hooks that Helm ran, each with how the last run ended.
    """

    name: str
    namespace: str
    number: int
    status: str
    chart: str
    chart_version: str
    app_version: str
    values: dict[str, Any]
    objects: list[Object]
    description: str
    first_deployed: str
    last_deployed: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    recorded: bool = False
    hooks: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, chart: RecordedChart, rendered: list[Object], inputs: Mapping[str, Any], before: Revision | None = None
    ) -> Revision:
        """The revision that installs `chart`, or upgrades to it from the revision `before`."""
        now = datetime.now(UTC).isoformat()
        action = "Upgrade" if before else "Install"
        return cls(
            name=inputs["name"],
            namespace=inputs["namespace"],
            number=before.number + 1 if before else 1,
            status=DEPLOYED,
            chart=chart.name,
            chart_version=chart.version,
            app_version=chart.app_version or "",
            values=dict(inputs.get("values") or {}),
            objects=rendered,
            description=inputs.get("description") or f"{action} complete",
            first_deployed=before.first_deployed if before else now,
            last_deployed=now,
            recorded=True,
        )

    def secret(self) -> Object:
        """The Secret that holds this revision."""
        # JSON is YAML, and read much faster.
        manifest = "".join(f"{_DOCUMENT}{json.dumps(obj)}\n" for obj in self.objects)
        record = {
            "name": self.name,
            "info": {
                "first_deployed": self.first_deployed,
                "last_deployed": self.last_deployed,
                "deleted": "",
                "description": self.description,
                "status": self.status,
            },
            "chart": {
                "metadata": {
                    "apiVersion": "v2",
                    "name": self.chart,
                    "version": self.chart_version,
                    "appVersion": self.app_version,
                    "annotations": {_RECORDED: "true"} if self.recorded else {},
                },
                "templates": [],
                "values": {},
            },
            "config": self.values,
            "manifest": manifest,
            "version": self.number,
            "namespace": self.namespace,
        }
        encoded = base64.b64encode(gzip.compress(json.dumps(record).encode()))
        labels = {
            "name": self.name,
            "owner": "helm",
            "status": self.status,
            "version": str(self.number),
            "modifiedAt": str(int(time.time())),
        }
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._secret_name, "namespace": self.namespace, "labels": labels},
            "type": _TYPE,
            "data": {"release": base64.b64encode(encoded).decode()},
        }

    @property
    def _secret_name(self) -> str:
        return f"sh.helm.release.v1.{self.name}.v{self.number}"

    @classmethod
    def from_secret(cls, secret: Object) -> Revision:
        """The revision in a Secret, whether Helm or the rehearsal wrote it."""
        record = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(secret["data"]["release"]))))
        metadata, info = record["chart"]["metadata"], record["info"]
        recorded = _RECORDED in (metadata.get("annotations") or {})
        manifest = record.get("manifest") or ""
        if recorded:
            objects = [json.loads(document) for document in manifest.split(_DOCUMENT) if document.strip()]
        else:
            objects = [document for document in yaml.load_all(manifest, _Loader) if document]
        return cls(
            name=record["name"],
            namespace=record["namespace"],
            number=record["version"],
            status=info["status"],
            chart=metadata["name"],
            chart_version=metadata["version"],
            app_version=metadata.get("appVersion") or "",
            values=record.get("config") or {},
            objects=objects,
            description=info.get("description") or "",
            first_deployed=info["first_deployed"],
            last_deployed=info["last_deployed"],
            recorded=recorded,
            hooks={hook["name"]: (hook.get("last_run") or {}).get("phase", "") for hook in record.get("hooks") or []},
        )


class History:
    """The revisions of one release in a cluster."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name

    def revisions(self) -> list[Revision]:
        """Every revision that is kept, the oldest first."""
        found = self._cluster.objects(
            self._cluster.kind("v1", "Secret"), self._namespace, labelSelector=f"owner=helm,name={self._name}"
        )
        return sorted((Revision.from_secret(secret) for secret in found), key=lambda revision: revision.number)

    def latest(self) -> Revision | None:
        """The revision in force, if there is any."""
        return next(reversed(self.revisions()), None)

    def add(self, revision: Revision, *, longest: int = 0) -> None:
        """Writes a new revision and marks the one before as superseded; keeps at most `longest`, 0 for all."""
        before = self.revisions()
        self._cluster.create(revision.secret(), field_manager="helm")
        for old in before:
            if old.status == DEPLOYED:
                old.status = SUPERSEDED
                self._cluster.replace(old.secret(), field_manager="helm")
        if longest:
            self._remove(before[: max(0, len(before) + 1 - longest)])

    def clear(self) -> None:
        """Removes every revision."""
        self._remove(self.revisions())

    def _remove(self, revisions: list[Revision]) -> None:
        for revision in revisions:
            try:
                self._cluster.delete(revision.secret(), propagation="Background")
            except ApiError as error:
                if not error.is_not_found:
                    raise
