"""The AWS types that the reports know: a module for each service. To add a service, add a module with `TYPES`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from graphlib import TopologicalSorter

from reports.account import Held
from reports.aws_type import AwsType
from reports.aws_type.listing import Listing

_MODULES = sorted(module.name for module in pkgutil.iter_modules(__path__))
TYPES: tuple[AwsType, ...] = tuple(
    type_ for name in _MODULES for type_ in importlib.import_module(f"{__name__}.{name}").TYPES
)
LISTINGS: tuple[Listing, ...] = tuple(type_.listing for type_ in TYPES if type_.listing)
"""Everything that the platform makes, or that its controllers may leave behind."""

_BY_TYPE: Mapping[str, AwsType] = {type_.type: type_ for type_ in TYPES if type_.type}
_BY_KIND: Mapping[str, AwsType] = {str(type_.listing): type_ for type_ in TYPES if type_.listing}


def type_of(held: Held) -> AwsType:
    """The type of a thing in the account."""
    return _BY_KIND[f"{held.service} {held.kind}"]


def type_named(name: str) -> AwsType:
    """The type that Pulumi calls `name` (`aws:sqs/queue:Queue`); an empty one if the reports do not know it."""
    return _BY_TYPE.get(name) or AwsType(type=name)


def service_of(name: str) -> AwsType:
    """What is true for all types of the service of a type; empty if nothing is."""
    return type_named(f"{name.partition('/')[0]}/")


def in_order_of_removal(types: Iterable[AwsType] = TYPES) -> Sequence[str]:
    """The kinds, each behind those that must be removed before it. Raises graphlib's CycleError."""
    kinds = {str(type_.listing): type_ for type_ in types if type_.listing}
    order = TopologicalSorter({kind: type_.after for kind, type_ in kinds.items()}).static_order()
    return sorted(order, key=lambda kind: kinds[kind].last)


_RANKS: Mapping[str, int] = {kind: rank for rank, kind in enumerate(in_order_of_removal())}


def removal_rank(held: Held) -> int:
    """A number that is lower for what must be removed earlier."""
    return _RANKS[f"{held.service} {held.kind}"]
