"""Checks of versions: Kubernetes and the charts, against what this version of gpulab pins and EKS supports."""

from __future__ import annotations

import contracts
from components.hub.inside.sections import Section
from contracts import eks
from contracts.helm import record_in
from settings import EksSettings, Settings
from verify.checks import Check, Failed, Skipped, Steps, checks_of
from verify.cluster_api import ClusterApi, Object

GROUP = "versions"
_RELEASES = {"labelSelector": "owner=helm,status=deployed"}


def checks(api: ClusterApi, settings: Settings) -> list[Check]:
    """Those of the cluster, and those of the releases in it."""
    steps: Steps = {
        "Kubernetes is supported": (lambda: kubernetes_is_supported(api, settings), Section.VERSIONS),
        "charts are those that gpulab pins": (lambda: charts_are_pinned(api), Section.VERSIONS),
    }
    return checks_of(GROUP, steps)


def kubernetes_is_supported(api: ClusterApi, settings: Settings) -> str:
    """On EKS: the stack's version, which has support left."""
    found = api.request("GET", "/version")
    version = f"{found['major']}.{found['minor'].rstrip('+')}"
    if not isinstance(settings, EksSettings):
        raise Skipped(f"Kubernetes {version} is the site's own")
    if version != settings.cluster.version:
        text = f"the cluster has Kubernetes {version}, the stack file says {settings.cluster.version}"
        raise Failed(text, Section.VERSIONS)
    known = eks.versions().get(version)
    if known is None:
        raise Failed(f"EKS's support of Kubernetes {version} is not known to this gpulab", Section.VERSIONS)
    if notice := known.notice(eks.today(), settings.cluster.upgrade_policy):
        raise Failed(notice, Section.VERSIONS)
    return f"Kubernetes {version}"


def charts_are_pinned(api: ClusterApi) -> str:
    """Each deployed chart that gpulab knows has the version that it pins."""
    counted, differing = 0, []
    for secret in api.list("/api/v1/secrets", **_RELEASES):
        name, version = _chart(secret)
        pinned = _pinned(name)
        if pinned is None:
            continue
        counted += 1
        if version != pinned:
            differing.append(f"{name} is {version}, not {pinned}")
    if differing:
        raise Failed("; ".join(differing), Section.VERSIONS, "`pulumi up` brings the pinned versions.")
    if not counted:
        raise Skipped("no release of a chart that gpulab knows is deployed")
    return f"{counted} releases"


def _chart(release: Object) -> tuple[str, str]:
    """The chart's name and version in the record that Helm keeps of a release."""
    metadata = record_in(release)["chart"]["metadata"]
    return metadata["name"], metadata["version"]


def _pinned(chart: str) -> str | None:
    try:
        return contracts.chart(chart).version
    except KeyError:
        return None
