"""A chart for the real Helm, and releases of it through the stand-in for pulumi-kubernetes.

The chart: a Deployment whose pods run on a KWOK node, and a Job as a hook before each install.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import yaml

from rehearsal.machine.control_plane import ControlPlane
from rehearsal.providers.kubernetes.provider import KubernetesProvider
from rehearsal.providers.kubernetes.release import Release
from rehearsal.providers.protocol.model import Difference, Properties, Request

NAME = "greeter"
NODE_LABELS = {"gpulab.dev/test": NAME}
SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "replicas": {"type": "integer", "minimum": 0},
        "greeting": {"type": ["string", "null"]},
        "nodeSelector": {"type": "object"},
        "secret": {"type": "string"},
        "global": {"type": "object"},
    },
}
DEFAULTS = {"replicas": 1, "greeting": "hello", "nodeSelector": NODE_LABELS, "secret": ""}
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  annotations: {greeting: {{ .Values.greeting | quote }}}
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec:
      nodeSelector: {{ toJson .Values.nodeSelector }}
      containers: [{name: greeter, image: greeter}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: {{ .Release.Name }}}
data:
  # What YAML 1.1 would take for other things, and what looks like the end of a document.
  text: |
    ---
    on: =
  secret: {{ .Values.secret | quote }}
"""
HOOK = """\
apiVersion: batch/v1
kind: Job
metadata:
  name: {{ .Release.Name }}-before
  annotations: {"helm.sh/hook": "pre-install,pre-upgrade", "helm.sh/hook-delete-policy": before-hook-creation}
spec:
  template:
    spec:
      restartPolicy: Never
      nodeSelector: {{ toJson .Values.nodeSelector }}
      containers: [{name: hook, image: hook}]
"""

names = (f"helm-{number}" for number in itertools.count(1))


def write_chart(folder: Path, version: str = "1.2.3", name: str = NAME) -> Path:
    """A chart folder NAME in `folder`."""
    chart = folder / name
    (chart / "templates").mkdir(parents=True)
    metadata = {"apiVersion": "v2", "name": name, "version": version, "appVersion": "4.5.6"}
    (chart / "Chart.yaml").write_text(yaml.safe_dump(metadata), encoding="utf-8")
    (chart / "values.yaml").write_text(yaml.safe_dump(DEFAULTS), encoding="utf-8")
    (chart / "values.schema.json").write_text(json.dumps(SCHEMA), encoding="utf-8")
    (chart / "templates" / "deployment.yaml").write_text(DEPLOYMENT, encoding="utf-8")
    (chart / "templates" / "hook.yaml").write_text(HOOK, encoding="utf-8")
    return chart


class Lab:
    """A namespace, and releases in it, made as the engine makes them."""

    def __init__(self, provider: KubernetesProvider, cluster: ControlPlane) -> None:
        self.cluster = cluster
        self.provider = provider
        self.namespace = next(names)
        self.kind = Release(provider.connection)
        self.request = Request(urn="urn:pulumi:s::p::kubernetes:helm.sh/v3:Release::greeter", provider=provider)
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})

    def inputs(self, chart: Path | str, **more: Any) -> Properties:
        given = {"chart": str(chart), "name": NAME, "namespace": self.namespace, "timeout": 60, **more}
        return self.kind.check(given, {}, self.request)

    def create(self, inputs: Properties) -> Properties:
        id, outputs = self.kind.create(inputs, self.request)
        assert id == f"{self.namespace}/{NAME}"
        return outputs

    def update(self, inputs: Properties, olds: Properties) -> Properties:
        return self.kind.update(f"{self.namespace}/{NAME}", inputs, olds, olds, self.request)

    def refresh(self, inputs: Properties, outputs: Properties) -> Difference | None:
        found = self.kind.read(f"{self.namespace}/{NAME}", inputs, outputs, self.request)
        return found and self.kind.difference(inputs, found[0], outputs)

    def delete(self, outputs: Properties) -> None:
        self.kind.delete(f"{self.namespace}/{NAME}", outputs, self.request)

    def get(self, plural: str, name: str = NAME, group: str = "apps/v1") -> dict[str, Any] | None:
        root = f"/apis/{group}" if "/" in group else f"/api/{group}"
        try:
            return self.cluster.request("GET", f"{root}/namespaces/{self.namespace}/{plural}/{name}")
        except HTTPError as error:
            if error.code != 404:
                raise
            return None

    def ready_replicas(self) -> int:
        deployment = self.get("deployments")
        return deployment["status"].get("readyReplicas", 0) if deployment else 0
