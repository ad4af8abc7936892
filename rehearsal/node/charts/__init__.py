"""Helm charts of ours that run the real images, for a rehearsal's node where the real archives can't be had.

Each is made of its contract (name, version, default values, schema, definitions) and of the templates in the folder of
its name. They support what the platform's values use: objects, names, labels, ports, environment and files are those of
the real chart. `only.yaml` lists the values of which a chart knows one setting; it refuses others.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import contracts
from rehearsal.providers.kubernetes import stand_in_chart

NAMES = ("cloudnative-pg", "jupyterhub", "keycloakx", "traefik")
DRIVERS = ("csi-driver-nfs", "seaweedfs-csi-driver")
"""Charts of drivers that run in no pod here (`rehearsal.node.csi`): they only tell Kubernetes what these can do."""

_HERE = Path(__file__).parent
_REFUSAL = """\
{{- range $path, $only := .Files.Get "only.yaml" | fromYaml }}
{{- $found := $.Values }}
{{- range splitList "." $path }}{{ $found = index $found . }}{{ end }}
{{- if ne (toJson $found) (toJson $only) }}
{{- $reason := "the rehearsal's own chart has templates only for" }}
{{- fail (printf "%s: %s: %s %s" $path (toJson $found) $reason (toJson $only)) }}
{{- end }}
{{- end }}
"""


def write(folder: Path) -> None:
    """Writes the charts as folder/NAME, where `GPULAB_CHARTS=folder` finds them."""
    for name in (*NAMES, *DRIVERS):
        what = stand_in_chart.ANNOTATION if name in DRIVERS else stand_in_chart.OWN_TEMPLATES
        stand_in_chart.write(contracts.chart(name), folder / name, what)
        shutil.copytree(_HERE / name, folder / name, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / name / "templates" / "refusal.yaml").write_text(_REFUSAL, encoding="utf-8")
