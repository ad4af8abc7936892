"""`gpulab:charts`: where Helm charts come from at sites that cannot reach the charts' own repositories."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.language.section import Facts, Findings, Section, rule, unknown_key
from settings.language.values import Check

CHART_NAMES = (
    "karpenter",
    "karpenter-crd",
    "gpu-operator",
    "nvidia-device-plugin",
    "aws-load-balancer-controller",
    "keycloakx",
    "cloudnative-pg",
    "jupyterhub",
    "traefik",
    "cert-manager",
    "csi-driver-nfs",
    "seaweedfs-csi-driver",
)
"""The charts that the platform installs, and so those that can come from elsewhere."""


def _repository(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, _, _ = rest.partition("/")
    if "@" in host:
        raise ValueError("must hold no user name or password: `helm registry login` keeps them out of the stack file")
    if scheme not in ("oci", "https") or not host or any(map(str.isspace, url)):
        raise ValueError("must be an address that begins with oci:// or https://")
    return url.rstrip("/")


def _path(path: str) -> str:
    if not path.strip() or "://" in path:
        raise ValueError("must be the path of a chart's archive or folder; for an address use repository")
    return path


def _chart_name(name: str) -> str:
    if name not in CHART_NAMES:
        raise ValueError(unknown_key(name, CHART_NAMES))
    return name


ChartName = Annotated[str, Check(_chart_name, {"enum": list(CHART_NAMES)})]


class ChartSource(Section):
    """Where a chart comes from instead of its own repository. Its version stays the platform's."""

    repository: Annotated[str, Check(_repository)] | None = Field(
        default=None, description="A mirror's address, oci:// or https://, without the chart's name."
    )
    path: Annotated[str, Check(_path)] | None = Field(
        default=None, description="A chart's archive or folder, relative to the project's folder."
    )

    @rule
    def _exactly_one_source(self, facts: Facts) -> Findings:
        if (self.repository is None) == (self.path is None):
            yield (), f"must have either repository or path, and has {'both' if self.repository else 'neither'}"
