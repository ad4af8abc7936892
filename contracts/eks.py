"""EKS's support dates, addons and node images by Kubernetes version: the loaders of `aws/eks-versions.json`.

All of these facts expire. `stale` lists those that have, and a nightly test fails for them.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from contracts.ec2 import release_number
from contracts.files import read
from contracts.helm import chart

WARNING_DAYS = 90
"""Days before the end of a version's standard support in which warnings appear."""

STANDARD, EXTENDED = "STANDARD", "EXTENDED"
"""The support types of a cluster's upgrade policy: what EKS does when the version's standard support ends."""

# Addons and images of nodes are released every week or two.
_STALE_DAYS = 180


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of Kubernetes in EKS's calendar. Days are in UTC, as in EKS's calendar."""

    name: str
    released: datetime.date
    standard_until: datetime.date
    """The first day on which extended support is billed ("Amazon EKS Kubernetes release calendar")."""
    extended_until: datetime.date

    def is_standard(self, day: datetime.date) -> bool:
        """Whether the version is in standard support."""
        return day < self.standard_until

    def is_offered(self, day: datetime.date) -> bool:
        """Whether EKS makes clusters of this version: it does in standard and in extended support."""
        return self.released <= day < self.extended_until

    def ends_soon(self, day: datetime.date) -> bool:
        """Whether its standard support has ended, or ends within `WARNING_DAYS`."""
        return day >= self.standard_until - datetime.timedelta(days=WARNING_DAYS)

    def notice(self, day: datetime.date, support_type: str = EXTENDED) -> str | None:
        """The warning about its support on a day, and the effect on a cluster; None before the warnings begin."""
        if not self.ends_soon(day):
            return None
        has_ended = not self.is_standard(day)
        if support_type == STANDARD:
            upgrade = f"upgrades the cluster to {newer(self.name)}" if newer(self.name) else "upgrades the cluster"
            effect = f"EKS {upgrade} automatically (upgradePolicy {STANDARD})"
        else:
            prices = f"{self.price(self.standard_until):.2f} USD an hour instead of {self.price(self.released):.2f}"
            effect = f"its control plane costs {prices}"
        verb = "left" if has_ended else "leaves"
        support = f"Kubernetes {self.name} {verb} EKS's standard support on {self.standard_until}"
        return f"{support}: {effect}" if has_ended else f"{support}; then {effect}"

    def price(self, day: datetime.date, support_type: str = EXTENDED) -> float:
        """The price of a control plane, in USD per hour.

        With the support type STANDARD, AWS never bills extended support, because EKS upgrades the cluster ("Cluster
        upgrade policy").
        """
        prices = _facts()["usdAnHour"]
        return prices["standard"] if self.is_standard(day) or support_type == STANDARD else prices["extended"]


def today() -> datetime.date:
    """Today in UTC, or the day in GPULAB_TODAY (YYYY-MM-DD).

    Ends the program with exit status 2 if that is not a day, because no fact can be checked then.
    """
    given = os.environ.get("GPULAB_TODAY")
    try:
        return datetime.date.fromisoformat(given) if given else datetime.datetime.now(datetime.UTC).date()
    except ValueError:
        print(f"GPULAB_TODAY: {given} is not a day such as 2027-06-30: correct it, or unset it", file=sys.stderr)
        raise SystemExit(2) from None


@cache
def versions() -> Mapping[str, Version]:
    """Every version of EKS's calendar, oldest first."""
    return MappingProxyType(
        {
            name: Version(
                name=name,
                released=datetime.date.fromisoformat(dates["released"]),
                standard_until=datetime.date.fromisoformat(dates["standardUntil"]),
                extended_until=datetime.date.fromisoformat(dates["extendedUntil"]),
            )
            for name, dates in _facts()["calendar"]["versions"].items()
        }
    )


def newer(version: str) -> str | None:
    """The next version, the only one to which EKS upgrades; None if the calendar has none."""
    names = list(versions())
    return names[names.index(version) + 1] if version in names[:-1] else None


def addons() -> tuple[str, ...]:
    """The names of the EKS addons in the contract."""
    return tuple(_facts()["addons"]["versions"])


def addon_versions(addon: str, kubernetes: str) -> tuple[str, ...]:
    """The published versions of an addon for a version of Kubernetes, the one to use first; empty if unknown."""
    published = _facts()["addons"]["versions"].get(addon, {})
    return tuple(published.get(kubernetes) or published.get("*", ()))


def addon_version(addon: str, kubernetes: str) -> str:
    """The pinned version of an addon. Raises KeyError if none is known."""
    found = addon_versions(addon, kubernetes)
    if not found:
        raise KeyError(f"no version of {addon} for Kubernetes {kubernetes} is known")
    return found[0]


def node_releases(kubernetes: str) -> tuple[str, ...]:
    """The releases of EKS's image of Amazon Linux 2023 for a version of Kubernetes, newest first."""
    return tuple(_facts()["nodes"]["releases"].get(kubernetes, ()))


def karpenter_runs_on(kubernetes: str) -> bool:
    """Whether Karpenter's compatibility matrix allows the pinned Karpenter for a version of Kubernetes."""
    first = _facts()["karpenter"]["first"].get(kubernetes)
    return first is not None and release_number(chart("karpenter").version) >= release_number(first)


def stale(accepted: str, day: datetime.date) -> Iterator[str]:
    """A sentence for each expired fact; `accepted` is the newest version of Kubernetes that a stack may have."""
    newest = versions()[accepted]
    if newest.ends_soon(day):
        yield f"the newest version that stacks may have, {accepted}, leaves standard support on {newest.standard_until}"
    for part in ("calendar", "karpenter", "addons", "nodes"):
        facts = _facts()[part]
        age = (day - datetime.date.fromisoformat(facts["date"])).days
        if age > _STALE_DAYS:
            yield f"{part} of contracts/aws/eks-versions.json are {age} days old: look at {facts['source']}"


@cache
def _facts() -> dict[str, Any]:
    return read("aws/eks-versions.json")
