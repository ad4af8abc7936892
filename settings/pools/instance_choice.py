"""Which instance types a node pool takes: the types of the catalogue that satisfy everything it asks for.

A type that the catalogue does not have is never bought. A new family of EC2 comes with a release of the platform, which
then knows its GPUs, the image that supports them, and its price.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, StrictInt

from contracts import InstanceType, instance_types, node_images
from settings.language.section import Facts, Findings, Section, nearest, rule
from settings.language.values import DISTINCT, at_least_one, whole, without_default
from settings.pools.gpu_fitting import examples
from settings.pools.nodes import DEFAULT_AMI_ALIAS, Ami, Gpus, UsdAnHour

Architecture: TypeAlias = Literal["x86_64", "arm64"]

Condition: TypeAlias = tuple[str, Callable[[InstanceType], bool]]
"""A key that asks for something, and a function that says whether a type satisfies it."""

LAB_PRICE, PRODUCTION_PRICE = 15.0, 40.0
"""USD an hour that a machine of a pool by categories may cost, unless the pool sets maxPrice."""

_PRICE = "maxPrice"
_FRACTION = "has a fraction of a GPU, which no pod can ask for"
_WHOLE = "with gpus: {min: 1, max: 8}, and gpu.sharing (time-slicing or mps) where several notebooks share a GPU"


class InstanceChoice(Section):
    """What a pool asks of its machines. The pool has all types of the catalogue that satisfy it."""

    categories: Annotated[tuple[str, ...], DISTINCT] = Field(
        default=(), description="Instance categories such as c, m, r or g; this or families."
    )
    families: Annotated[tuple[str, ...], DISTINCT] = Field(
        default=(), description="Instance families such as m7i; this or categories."
    )
    min_generation: Annotated[StrictInt, whole(1, 99)] | None = Field(
        default=None, description="Oldest generation accepted: 5 takes g5 and g6."
    )
    sizes: Annotated[tuple[str, ...], DISTINCT] = Field(
        default=(), description="Instance sizes such as xlarge; none: every size."
    )
    architectures: Annotated[tuple[Architecture, ...], DISTINCT, at_least_one("architecture")] = Field(
        default=("x86_64",), description="Architectures."
    )
    gpus: Gpus | None = Field(default=None, description="GPUs that an instance has; makes the pool a GPU pool.")
    max_price: UsdAnHour | None = Field(
        default=None,
        description="What a machine may cost on demand, in USD an hour in us-east-1 (prices elsewhere differ by up to "
        f"50 %). By default {LAB_PRICE:g} in a lab and {PRODUCTION_PRICE:g} in production for a pool by categories; no "
        "limit for families, which you have chosen, and for reserved capacity, which is paid for. A type without a "
        "price in us-east-1 is bought only if its family is named.",
        json_schema_extra=without_default,
    )
    ami: Ami = Field(default=Ami(family="AL2023", alias=DEFAULT_AMI_ALIAS), description="The nodes' image.")

    @property
    def is_gpu(self) -> bool:
        """Whether its nodes have GPUs."""
        return self.gpus is not None

    @cached_property
    def instance_types(self) -> tuple[InstanceType, ...]:
        """The instance types of the catalogue that satisfy the pool, cheapest on demand first."""
        found = list(instance_types().values())
        for _, keep in self._conditions():
            found = list(filter(keep, found))
        return tuple(sorted(found, key=_price_and_name))

    def _conditions(self) -> Iterator[Condition]:
        categories, families, sizes, architectures = self.categories, self.families, self.sizes, self.architectures
        generation, gpus, most, ami = self.min_generation, self.gpus, self.max_price, vars(self).get("ami")
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
        if ami is not None:  # a wrong image must not hide other mistakes
            images = node_images()
            yield "ami", lambda one: images.drives(ami.alias, one.family)
        if most is not None:
            # A type without a price in us-east-1 may cost anything, so it is only for pools that name its family.
            yield _PRICE, lambda one: one.family in families if one.price is None else one.price <= most

    @rule
    def _categories_or_families(self, facts: Facts) -> Findings:
        if bool(self.categories) == bool(self.families):
            yield (), f"must have either categories or families, and has {'both' if self.families else 'neither'}"

    @rule
    def _names_of_the_catalogue(self, facts: Facts) -> Findings:
        """Names that no type of the catalogue has."""
        catalogue = instance_types().values()
        yield from _unknown("categories", self.categories, {known.category for known in catalogue})
        yield from _unknown("families", self.families, {known.family for known in catalogue})
        yield from _unknown("sizes", self.sizes, {known.size for known in catalogue})

    @rule
    def _whole_gpus(self, facts: Facts) -> Findings:
        """Types with a part of a GPU, where the pool would have no others: one mistake, however it asks for them."""
        for index, family in enumerate(self.families):
            of_family = [one for one in instance_types().values() if one.family == family]
            if of_family and all(one.has_fraction for one in of_family):
                yield ("families", index), f"{_FRACTION}: take {family.removesuffix('f')} in its place, {_WHOLE}"
        if self.categories:
            left = list(instance_types().values())
            for key, keep in self._conditions():
                # Too low a price leaves nothing by itself, which another rule reports better.
                left = left if key in ("gpus", _PRICE) else [one for one in left if keep(one)]
            if left and all(one.has_fraction for one in left):
                names = examples(one.name for one in left)
                yield (
                    ("sizes",) if self.sizes else (),
                    f"leaves only {names}, and each {_FRACTION}: take others, {_WHOLE}",
                )

    @rule
    def _image_that_drives_the_gpus(self, facts: Facts) -> Findings:
        """Families whose GPUs the pool's image does not support: a node would register no GPU, and stay."""
        system = self.ami.family.lower()
        known = {one.family for one in instance_types().values()}
        for name in self.families:
            if name in known and not node_images().drives(self.ami.alias, name):
                first = node_images().families[name].get(system)
                way_out = (
                    f"take {system}@{first} or later" if first else f"no image of {self.ami.family} does, take AL2023"
                )
                yield ("ami", "alias"), f"does not support the GPUs of {name}: {way_out}, or leave the family out"

    @rule
    def _some_instance_type(self, facts: Facts) -> Findings:
        """The condition that leaves none of the types that the others accept."""
        if any(
            (*self._names_of_the_catalogue(facts), *self._whole_gpus(facts), *self._image_that_drives_the_gpus(facts))
        ):
            return  # another rule reports it better
        left = list(instance_types().values())
        for key, keep in self._conditions():
            before, left = left, [one for one in left if keep(one)]
            if left or len(before) == len(instance_types()):
                continue
            if key == _PRICE:
                cheapest = min(before, key=_price_and_name)
                yield (
                    (key,),
                    f"leaves no instance type: it is {self.max_price:g}, and the cheapest is {priced(cheapest)}",
                )
            elif key == "ami":
                yield (
                    ("ami", "alias"),
                    f"does not support the GPUs of the types that are left ({examples(one.name for one in before)})",
                )
            else:
                yield (
                    (key,),
                    f"leaves no instance type: none of the {len(before)} that the other conditions accept "
                    f"({examples(one.name for one in before)}) satisfies it",
                )
            return

    @rule
    def _gpus_said_where_there_are_some(self, facts: Facts) -> Findings:
        with_gpus = [candidate.name for candidate in self.instance_types if candidate.has_gpu]
        # Without categories and families every type is left, which is a mistake of its own.
        if not self.is_gpu and with_gpus and (self.categories or self.families) and not any(self._whole_gpus(facts)):
            yield (
                ("gpus",),
                f"is missing, and some of the pool's instance types have GPUs ({examples(with_gpus)}): "
                "say how many, such as {min: 1, max: 8}, or take types without",
            )


def priced(one: InstanceType) -> str:
    """A type with its price."""
    return (
        f"{one.name} at {one.price:.2f} USD an hour"
        if one.price is not None
        else f"{one.name}, whose price is not known"
    )


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
            yield (key, index), f"matches no instance type of the catalogue: {hint}"
