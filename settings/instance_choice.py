"""Which instance types a node pool takes: those of the catalogue that satisfy all that it asks of them.

A type that the catalogue does not have is never bought: a new family of EC2's comes with a release of the platform,
which knows its GPUs, the image that drives them, and its price.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from contracts import InstanceType, instance_types, node_images
from settings.gpu_fitting import examples
from settings.section import Findings, nearest

if TYPE_CHECKING:
    from settings.node_pools import NodePool

Condition: TypeAlias = tuple[str, Callable[[InstanceType], bool]]
"""The key that asks for something, and whether a type satisfies it."""

LAB_PRICE, PRODUCTION_PRICE = 15.0, 40.0
"""USD an hour that a machine of a pool by categories may cost, unless the pool says otherwise."""

_PRICE = "maxPrice"
_FRACTION = "has a fraction of a GPU, which no pod can ask for"
_WHOLE = (
    "with gpus: {min: 1, max: 8}, and gpu.sharing (time-slicing or mps) where several notebooks are to have one GPU"
)


def chosen(pool: NodePool) -> tuple[InstanceType, ...]:
    """The types that the pool takes, cheapest on demand first."""
    found = list(instance_types().values())
    for _, keep in _conditions(pool):
        found = list(filter(keep, found))
    return tuple(sorted(found, key=_price_and_name))


def _conditions(pool: NodePool) -> Iterator[Condition]:
    categories, families, sizes, architectures = pool.categories, pool.families, pool.sizes, pool.architectures
    generation, gpus, most, ami = pool.min_generation, pool.gpus, pool.max_price, vars(pool).get("ami")
    if categories:
        yield "categories", lambda one: one.category in categories
    if families:
        yield "families", lambda one: one.family in families
    if generation is not None:
        yield "minGeneration", lambda one: one.generation >= generation
    if sizes:
        yield "sizes", lambda one: one.size in sizes
    yield "architectures", lambda one: one.arch in architectures
    if gpus is not None:
        yield "gpus", lambda one: gpus.min <= one.gpu_count <= gpus.max
    if ami is not None:  # where it is wrong, the other mistakes are said all the same
        images = node_images()
        yield "ami", lambda one: images.drives(ami.alias, one.family)
    if most is not None:
        # What has no price in us-east-1 may cost anything: only who names the family has it.
        yield _PRICE, lambda one: one.family in families if one.price is None else one.price <= most


def unknown_findings(pool: NodePool) -> Findings:
    """Names that no type of the catalogue has."""
    catalogue = instance_types().values()
    yield from _unknown("categories", pool.categories, {known.category for known in catalogue})
    yield from _unknown("families", pool.families, {known.family for known in catalogue})
    yield from _unknown("sizes", pool.sizes, {known.size for known in catalogue})


def fraction_findings(pool: NodePool) -> Findings:
    """Types that have a part of a GPU, where the pool would have nothing else: said once, however it asks for them."""
    for index, family in enumerate(pool.families):
        of_family = [one for one in instance_types().values() if one.family == family]
        if of_family and all(one.has_fraction for one in of_family):
            yield ("families", index), f"{_FRACTION}: take {family.removesuffix('f')} in its place, {_WHOLE}"
    if pool.categories:
        left = list(instance_types().values())
        for key, keep in _conditions(pool):
            # Too low a price leaves nothing by itself, which is said better.
            left = left if key in ("gpus", _PRICE) else [one for one in left if keep(one)]
        if left and all(one.has_fraction for one in left):
            names = examples(one.name for one in left)
            yield ("sizes",) if pool.sizes else (), f"leaves only {names}, and each {_FRACTION}: take others, {_WHOLE}"


def image_findings(pool: NodePool) -> Findings:
    """Families that the pool names and whose GPUs its image does not drive: a node would register none, and stay."""
    system = pool.ami.family.lower()
    known = {one.family for one in instance_types().values()}
    for name in pool.families:
        if name in known and not node_images().drives(pool.ami.alias, name):
            first = node_images().families[name].get(system)
            way_out = f"take {system}@{first} or later" if first else f"no image of {pool.ami.family} does, take AL2023"
            yield ("ami", "alias"), f"does not drive the GPUs of {name}: {way_out}, or leave the family out"


def nothing_left_findings(pool: NodePool) -> Findings:
    """The condition that leaves no type of those that the others accept."""
    left = list(instance_types().values())
    for key, keep in _conditions(pool):
        before, left = left, [one for one in left if keep(one)]
        if left or len(before) == len(instance_types()):
            continue
        if key == _PRICE:
            cheapest = min(before, key=_price_and_name)
            yield (
                (key,),
                f"leaves no instance type: it is {pool.max_price:g}, and the cheapest is {priced(cheapest)}",
            )
        elif key == "ami":
            yield ("ami", "alias"), f"drives the GPUs of no type that is left ({examples(one.name for one in before)})"
        else:
            yield (
                (key,),
                f"leaves no instance type: none of the {len(before)} that the other conditions accept "
                f"({examples(one.name for one in before)}) satisfies it",
            )
        return


def priced(one: InstanceType) -> str:
    """A type with its price."""
    return f"{one.name} at {one.price:.2f} USD an hour" if one.price is not None else f"{one.name}, of no known price"


def _price_and_name(candidate: InstanceType) -> tuple[float, str]:
    return (math.inf if candidate.price is None else candidate.price), candidate.name


def _unknown(key: str, given: tuple[str, ...], known: set[str]) -> Findings:
    for index, name in enumerate(given):
        if name not in known:
            near = nearest(name, sorted(known))
            if key == "families" and name in node_images().families:
                hint = "AWS has it, and a newer release of gpulab may know it; take another family"
            else:
                hint = f'did you mean "{near}"?' if near else f"some that are known: {', '.join(sorted(known)[:20])}"
            yield (key, index), f"is in no instance type of the catalogue: {hint}"
