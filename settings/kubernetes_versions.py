"""Which versions of Kubernetes a stack may have, and what EKS's calendar says of one on a day."""

from __future__ import annotations

import datetime

from contracts import eks
from settings.language.section import Findings

KUBERNETES_VERSIONS = ("1.34", "1.35", "1.36")
"""The versions that a stack may have, oldest first: those that the platform is tested with."""


def notice(version: str, upgrade_policy: str, today: datetime.date) -> str | None:
    """What to report about the support of a stack's version; None while there is nothing to report."""
    said = eks.versions()[version].notice(today, upgrade_policy)
    newer = eks.newer(version)
    way_out = (
        f"Upgrade to {newer}: docs/upgrades.md says how"
        if newer in KUBERNETES_VERSIONS
        else "A newer version needs a newer release of gpulab"
    )
    return said and f"{said}. {way_out}"


def version_findings(version: str, today: datetime.date | None) -> Findings:
    """Why a stack can't have the version; paths are the cluster's."""
    found = eks.versions().get(version)
    *others, last = reversed(KUBERNETES_VERSIONS)
    any_of = f"{', '.join(others)} or {last}"
    if found and version in KUBERNETES_VERSIONS:
        if today and today >= found.extended_until:
            yield (
                ("version",),
                f"has had no EKS support since {found.extended_until}, and EKS upgrades such a cluster by "
                "itself: write the version that `aws eks describe-cluster` shows",
            )
    elif found and found.name < KUBERNETES_VERSIONS[0]:
        costs = f"{found.price(found.standard_until):.2f} USD an hour instead of {found.price(found.released):.2f}"
        yield (
            ("version",),
            f"has EKS's standard support until {found.standard_until}; from then on a control plane costs {costs}: "
            f"must be {any_of}. A cluster goes there one minor version at a time (docs/upgrades.md)",
        )
    elif found and not eks.karpenter_runs_on(version):
        yield (
            ("version",),
            f"is not in the compatibility matrix of the pinned Karpenter, which would start no nodes: must be {any_of}",
        )
    else:
        yield ("version",), f"must be a supported version of Kubernetes: {', '.join(KUBERNETES_VERSIONS)}"


def policy_findings(version: str, upgrade_policy: str, today: datetime.date | None) -> Findings:
    """Why EKS would refuse the cluster's upgrade policy for the version."""
    if version not in KUBERNETES_VERSIONS or today is None or upgrade_policy == eks.EXTENDED:
        return
    found = eks.versions()[version]
    if found.standard_until <= today < found.extended_until:
        yield (
            ("upgradePolicy",),
            f"can't be STANDARD, a lab's default, as {version} left standard support on {found.standard_until} and EKS "
            "upgrades such a cluster by itself: take a newer version (docs/upgrades.md), or EXTENDED, with which the "
            f"control plane costs {found.price(today):.2f} USD an hour",
        )
