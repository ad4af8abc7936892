"""What EKS supports until when, by Kubernetes version: the loaders of `aws/eks-versions.json`.

All of it expires. `stale` says what has, and a test of every night asks it.
"""

from __future__ import annotations

import datetime
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import contracts

WARNING_DAYS = 90
"""How long before the end of a version's standard support everything begins to say so."""

STANDARD, EXTENDED = "STANDARD", "EXTENDED"
"""EKS's support types, of a cluster's upgrade policy: what it does when its version's standard support ends."""

# Addons and images of nodes are released every week or two.
_STALE_DAYS = 180


@dataclass(frozen=True, kw_only=True)
class Version:
    """A version of Kubernetes in EKS's calendar. Days are of UTC, as EKS counts them."""

    name: str
    released: datetime.date
    standard_until: datetime.date
    """The first day on which extended support is billed ("Amazon EKS Kubernetes release calendar")."""
    extended_until: datetime.date

    def is_standard(self, day: datetime.date) -> bool:
        """Whether it is in standard support."""
        return day < self.standard_until

    def is_offered(self, day: datetime.date) -> bool:
        """Whether EKS makes clusters of it: in standard and in extended support."""
        return self.released <= day < self.extended_until

    def ends_soon(self, day: datetime.date) -> bool:
        """Whether its standard support has ended, or ends within `WARNING_DAYS`."""
        return day >= self.standard_until - datetime.timedelta(days=WARNING_DAYS)

    def notice(self, day: datetime.date, support_type: str = EXTENDED) -> str | None:
        """What to say of its support on a day, and what follows for a cluster; None while there is nothing to say."""
        if not self.ends_soon(day):
            return None
        over = not self.is_standard(day)
        if support_type == STANDARD:
            upgrade = f"upgrades the cluster to {newer(self.name)}" if newer(self.name) else "upgrades the cluster"
            effect = f"EKS {upgrade} by itself (upgradePolicy {STANDARD})"
        else:
            prices = f"{self.price(self.standard_until):.2f} USD an hour instead of {self.price(self.released):.2f}"
            effect = f"its control plane costs {prices}"
        left = f"Kubernetes {self.name} {'left' if over else 'leaves'} EKS's standard support on {self.standard_until}"
        return f"{left}: {effect}" if over else f"{left}; then {effect}"

    def price(self, day: datetime.date, support_type: str = EXTENDED) -> float:
        """What a control plane costs, in USD an hour.

        One whose support type is STANDARD is never billed for extended support: EKS upgrades it ("Cluster upgrade
        policy").
        """
        prices = _facts()["usdAnHour"]
        return prices["standard"] if self.is_standard(day) or support_type == STANDARD else prices["extended"]


def today() -> datetime.date:
    """Today (UTC), by which all of this is judged; GPULAB_TODAY (YYYY-MM-DD) stands in for it.

    Ends the program with exit status 2 where that is no day: nothing else can be judged then.
    """
    given = os.environ.get("GPULAB_TODAY")
    try:
        return datetime.date.fromisoformat(given) if given else datetime.datetime.now(datetime.UTC).date()
    except ValueError:
        print(f"GPULAB_TODAY: {given} is no day such as 2027-06-30: correct it, or unset it", file=sys.stderr)
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
    """The next version, the only one that EKS upgrades to; None where the calendar has none."""
    names = list(versions())
    return names[names.index(version) + 1] if version in names[:-1] else None


def addons() -> tuple[str, ...]:
    """The names of EKS's addons that are known."""
    return tuple(_facts()["addons"]["versions"])


def addon_versions(addon: str, kubernetes: str) -> tuple[str, ...]:
    """The published versions of an addon for a version of Kubernetes, the one to take first; none where unknown."""
    published = _facts()["addons"]["versions"].get(addon, {})
    return tuple(published.get(kubernetes) or published.get("*", ()))


def addon_version(addon: str, kubernetes: str) -> str:
    """The pinned version of an addon. Raises KeyError where none is known."""
    found = addon_versions(addon, kubernetes)
    if not found:
        raise KeyError(f"no version of {addon} for Kubernetes {kubernetes} is known")
    return found[0]


def node_releases(kubernetes: str) -> tuple[str, ...]:
    """The releases of EKS's image of Amazon Linux 2023 for a version of Kubernetes, newest first."""
    return tuple(_facts()["nodes"]["releases"].get(kubernetes, ()))


def karpenter_runs_on(kubernetes: str) -> bool:
    """Whether Karpenter's own matrix has the pinned Karpenter for a version of Kubernetes."""
    first = _facts()["karpenter"]["first"].get(kubernetes)
    return first is not None and _numbers(contracts.chart("karpenter").version) >= _numbers(first)


def stale(accepted: str, day: datetime.date) -> Iterator[str]:
    """What has expired of these facts; `accepted` is the newest version of Kubernetes that a stack may have."""
    newest = versions()[accepted]
    if newest.ends_soon(day):
        yield f"the newest version that stacks may have, {accepted}, leaves standard support on {newest.standard_until}"
    for part in ("calendar", "karpenter", "addons", "nodes"):
        facts = _facts()[part]
        age = (day - datetime.date.fromisoformat(facts["date"])).days
        if age > _STALE_DAYS:
            yield f"{part} of contracts/aws/eks-versions.json are {age} days old: look at {facts['source']}"


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


@cache
def _facts() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "aws" / "eks-versions.json").read_text(encoding="utf-8"))
