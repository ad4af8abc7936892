"""A chart that is made from its contract. Helm installs it if the real one is missing.

It has the name, version, default values, schema and definitions of the real chart, but nothing that runs.
Of a controller that the rehearsal runs itself, it has the service account and its roles.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import contracts

# One of these is on the chart, and Helm keeps it in the record of a release. The second is on charts that run the real
# images by templates of the rehearsal (`rehearsal.node.charts`).
ANNOTATION = "gpulab.dev/stand-in"
OWN_TEMPLATES = "gpulab.dev/own-templates"
# Charts whose custom resource definitions are templates, and so go with the release, and the value that turns them on.
# In all others they lie in the chart's crds/ folder: Helm installs those before the release and never removes them.
_TEMPLATED_CRDS: Mapping[str, str] = {
    "cert-manager": "crds.enabled",
    "cloudnative-pg": "crds.create",
    "karpenter-crd": "",
    "kueue": "",
}
_KEEP_CRDS: Mapping[str, str] = {"cert-manager": "crds.keep"}
# A `-crd` chart has no contract of its own: its only value is what it writes on each definition.
_CRD_CHART_VALUES: Mapping[str, Any] = {"additionalAnnotations": {}}
_TEMPLATE = """\
{{- range $path, $_ := .Files.Glob "definitions/*.json" }}
{{- $definition := $.Files.Get $path | fromJson }}
{{- $annotations := mergeOverwrite (dict) ($definition.metadata.annotations | default dict) (%s) }}
---
{{ mergeOverwrite $definition (dict "metadata" (dict "annotations" $annotations)) | toJson }}
{{- end }}
"""
_ADDITIONAL = "$.Values.additionalAnnotations | default dict"
_KEEP = '$.Values.%s | ternary (dict "helm.sh/resource-policy" "keep") dict'


def defaults(contract: contracts.Chart) -> Mapping[str, Any]:
    """The chart's default values."""
    return _CRD_CHART_VALUES if contract.name.endswith("-crd") else contract.values


def write(contract: contracts.Chart, folder: Path, annotation: str = ANNOTATION) -> None:
    """Writes the chart into `folder`, which is created. `annotation` says what it is."""
    metadata = {"apiVersion": "v2", "name": contract.name, "version": contract.version}
    metadata |= {"appVersion": contract.app_version or "", "annotations": {annotation: "true"}}
    # JSON is YAML.
    files = {"Chart.yaml": json.dumps(metadata), "values.yaml": json.dumps(defaults(contract))}
    if contract.schema is not None:
        files["values.schema.json"] = json.dumps(contract.schema)
    switch = _TEMPLATED_CRDS.get(contract.name)
    crds = "crds" if switch is None else "definitions"
    files |= {f"{crds}/{crd['metadata']['name']}.json": json.dumps(crd) for crd in contract.crds}
    if switch is not None:
        keep = _KEEP_CRDS.get(contract.name)
        template = _TEMPLATE % (_KEEP % keep if keep else _ADDITIONAL)
        files["templates/definitions.yaml"] = _switched(template, switch)
    files |= {f"templates/rbac-{number}.json": json.dumps(one) for number, one in enumerate(contract.rbac)}
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _switched(template: str, switch: str) -> str:
    return f"{{{{- if .Values.{switch} }}}}\n{template}{{{{- end }}}}\n" if switch else template
