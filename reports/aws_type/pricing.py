"""What a resource costs while it is idle, in USD an hour."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import contracts
from policies.reading.resources import at, number
from reports.preview_output import UNKNOWN, Step

HOURS_A_MONTH = 730
# What gp3 includes: more IOPS, and more MiB/s, cost by the month.
_GP3_IOPS, _GP3_MIBPS = 3000, 125

Inputs = Mapping[str, Any]


class NoPrice(Exception):
    """The price is not known; the message names the reason."""


@dataclass(frozen=True)
class Bill:
    """How AWS bills a type that has no price by the hour; `source` is where AWS says so."""

    by: Literal["free", "by use"]
    source: str


@dataclass(frozen=True)
class Facts:
    """One side of a step, before or after, and the steps around it."""

    inputs: Inputs
    step: Step
    steps: Iterable[Step]
    after: bool

    def get(self, path: str, default: Any = None) -> Any:
        """A value. Raises NoPrice if the preview does not know it yet."""
        found = at(self.inputs, path, default)
        if found == UNKNOWN:
            raise NoPrice(f"{path} is not yet known")
        return found


Pricer = Callable[[Facts], tuple[float, str]]
"""USD an hour and what is paid for. Raises NoPrice."""


def free(source: str) -> Bill:
    """A type that costs nothing."""
    return Bill("free", source)


def by_use(source: str) -> Bill:
    """A type that is billed by what it stores, carries or answers."""
    return Bill("by use", source)


def hourly(key: str) -> float:
    """A price of `contracts/aws/service-prices.json` in USD an hour."""
    return contracts.service_prices().an_hour[key]


def monthly(key: str) -> float:
    """A price a month of `contracts/aws/service-prices.json`, in USD an hour."""
    return contracts.service_prices().a_month[key] / HOURS_A_MONTH


def flat(price: Callable[[str], float], key: str, what: str) -> Pricer:
    """The same price for every resource of the type."""
    return lambda _facts: (price(key), what)


def gp3(volume: Inputs, size: str) -> float:
    """The price of a gp3 volume; `size` is the key of its size in GiB."""
    iops = max((number(volume.get("iops")) or 0) - _GP3_IOPS, 0)
    throughput = max((number(volume.get("throughput")) or 0) - _GP3_MIBPS, 0)
    stored = (number(volume.get(size)) or 0) * monthly("gp3GiB")
    return stored + iops * monthly("gp3Iops") + throughput * monthly("gp3MiBps")


def instance(name: str) -> float:
    """The on-demand price of an instance type. Raises NoPrice."""
    found = contracts.instance_types().get(name)
    if found is None or found.price is None:
        raise NoPrice(f"no price of {name} is known")
    return found.price
