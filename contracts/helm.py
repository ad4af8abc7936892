"""Helm charts at the versions that the platform is made for, with their CRDs."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from contracts.files import FOLDER, read

_ARCHIVE = re.compile(r"-v?[0-9]+\.[0-9].*\.tgz$|\.tgz$")

# The API groups of a chart's CRDs. A `-crd` chart has only CRDs.
_CHART_CRD_GROUPS: Mapping[str, tuple[str, ...]] = {
    "aws-load-balancer-controller": ("elbv2.k8s.aws", "gateway.k8s.aws", "aga.k8s.aws"),
    "cert-manager": ("cert-manager.io",),
    "cloudnative-pg": ("postgresql.cnpg.io",),
    "gpu-operator": ("nvidia.com",),
    "karpenter": ("karpenter.sh", "karpenter.k8s.aws"),
    "karpenter-crd": ("karpenter.sh", "karpenter.k8s.aws"),
    "kube-prometheus-stack": ("monitoring.coreos.com",),
    "kuberay-operator": ("ray.io",),
    "kueue": ("kueue.x-k8s.io",),
}


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A Helm chart at the version that the platform is made for."""

    name: str
    version: str
    app_version: str | None
    repository: str
    """`https://…` for an index of charts, or `oci://…` for the chart itself."""
    values: Mapping[str, Any]
    """The chart's default values."""
    schema: Mapping[str, Any] | None
    """The JSON Schema of its values; None if the chart has none."""
    dependencies: Mapping[str, str]
    """The versions of its subcharts, by name."""
    rbac: tuple[Mapping[str, Any], ...] = ()
    """The service account of its controllers with its roles and bindings, where the rehearsal runs them."""

    @property
    def crds(self) -> tuple[Mapping[str, Any], ...]:
        """The chart's custom resource definitions."""
        return tuple(crd for group in _CHART_CRD_GROUPS.get(self.name, ()) for crd in crds(group))


@cache
def chart(name: str) -> Chart:
    """The chart of that name. Raises KeyError if there is no contract of it.

    karpenter-crd is published with karpenter: it has the same version and no values.
    """
    if name == "karpenter-crd":
        karpenter = chart("karpenter")
        repository = f"{karpenter.repository}-crd"
        return dataclasses.replace(karpenter, name=name, repository=repository, values={}, schema=None, rbac=())
    try:
        facts = read(f"charts/{name}.json")
    except FileNotFoundError:
        raise KeyError(f"there is no contract of a chart {name}") from None
    return Chart(
        name=facts["name"],
        version=facts["version"],
        app_version=facts["appVersion"],
        repository=facts["repository"],
        values=facts["values"],
        schema=facts["schema"],
        dependencies={chart["name"]: chart["version"] for chart in facts["dependencies"]},
        rbac=_rbac(name),
    )


def _rbac(name: str) -> tuple[Mapping[str, Any], ...]:
    try:
        return tuple(read(f"rbac/{name}.json")["manifests"])
    except FileNotFoundError:
        return ()


def chart_name(chart: str) -> str:
    """The name of a chart without its repository, folder or version: `karpenter` of `charts/karpenter-1.14.1.tgz`."""
    return _ARCHIVE.sub("", chart.rstrip("/").rpartition("/")[2])


@cache
def crd(name: str) -> Mapping[str, Any]:
    """The CRD of that name (`nodepools.karpenter.sh`). Raises KeyError if there is no contract of it."""
    try:
        return read(f"crds/{name}.json")
    except FileNotFoundError:
        raise KeyError(f"there is no contract of a custom resource definition {name}") from None


@cache
def crds(group_suffix: str = "") -> tuple[Mapping[str, Any], ...]:
    """The CRDs of an API group and its subgroups, sorted by name; all CRDs if no group is given."""
    names = sorted(path.stem for path in (FOLDER / "crds").glob("*.json"))
    return tuple(crd(name) for name in names if not group_suffix or name.endswith(f".{group_suffix}"))


def record_in(secret: Mapping[str, Any]) -> dict[str, Any]:
    """The data that Helm wrote into a Secret."""
    packed = base64.b64decode(base64.b64decode(secret["data"]["release"]))
    return json.loads(gzip.decompress(packed))
