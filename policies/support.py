"""Support: AWS supports the versions in use, and a warning comes before the support ends."""

from __future__ import annotations

from collections.abc import Iterator

from contracts import eks
from policies.reading.resources import Resource, at, is_type
from policies.rules import MEDIUM, Found, Limits, best_practices, resource_policy


@resource_policy(
    "kubernetes-support",
    f"A cluster's version of Kubernetes stays in EKS's standard support for at least {eks.WARNING_DAYS} more days",
    fix="Set version to the next minor version; EKS upgrades one minor version at a time",
    severity=MEDIUM,
    concerns=is_type("aws:eks/cluster:Cluster"),
    framework=best_practices("Cluster upgrades: Understand the EKS deprecation policy"),
    warning=True,
)
def kubernetes_support(cluster: Resource, _limits: Limits) -> Iterator[Found]:
    """Extended support is on by default and makes a control plane six times as expensive."""
    if "version" not in set(cluster.props):
        return  # EKS takes its default, which is in standard support
    name, support_type = str(cluster.props["version"]), at(cluster.props, "upgradePolicy.supportType", eks.EXTENDED)
    version = eks.versions().get(name)
    if version is None:
        yield f"it is not known here how long EKS supports Kubernetes {name}"
    elif notice := version.notice(eks.today(), support_type):
        yield notice
