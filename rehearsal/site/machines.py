"""The machines of a site: those of its distribution's fixture, fitted to the pools of the stack file.

A stack file names nodes and labels of its own site. Each pool gets a machine of the fixture that is like its nodes,
with those names, labels and taints, as if the site's people had set them. The GPUs in a machine are in an annotation:
NVIDIA's software alone makes labels and resources of them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from contracts import clusters
from contracts.clusters import NodeGpus
from rehearsal.controllers.device_plugins import VENDOR
from rehearsal.controllers.world import Object
from settings.pools.fixed_pools import FixedPool

_HOSTNAME = "kubernetes.io/hostname"
_MIB_A_GIB = 1024


def fitted(machines: Sequence[Object], pools: Mapping[str, FixedPool]) -> list[Object]:
    """The machines, of which each pool has its own; what no pool needs stays as it is."""
    found = [copy.deepcopy(machine) for machine in machines]
    taken: set[str] = set()
    # A machine in a pool with GPUs and in one without is one with GPUs.
    for pool in sorted(pools.values(), key=lambda pool: not pool.is_gpu):
        for name in pool.nodes or (pool.selector.get(_HOSTNAME, ""),):
            machine = _machine(found, pool, name, taken)
            _fit(machine, pool, name)
            taken.add(_name(machine))
    return found


def before_nvidia(machine: Object) -> Object:
    """The machine before NVIDIA's software ran on it: without the labels and resources that it makes."""
    bare = copy.deepcopy(machine)
    labels = bare["metadata"].get("labels", {})
    for amounts in (labels, *(bare.get("status", {}).get(key, {}) for key in ("capacity", "allocatable"))):
        for key in [key for key in amounts if key.startswith(VENDOR)]:
            del amounts[key]
    return bare


def _machine(found: list[Object], pool: FixedPool, name: str, taken: set[str]) -> Object:
    """The machine of that name, or one that the pool selects, or one like its own; a copy where all are taken."""
    if name:
        known = next((one for one in found if _name(one) == name), None)
    else:
        labels = pool.selector.items()
        known = next((one for one in found if labels <= one["metadata"].get("labels", {}).items()), None)
    if known:
        return known
    like = list(_like(found, pool))
    free = next((one for one in like if _name(one) not in taken), None)
    if free:
        return free
    another = copy.deepcopy(like[0] if like else found[0])
    _rename(another, f"{_name(another)}-{len(found)}")
    found.append(another)
    return another


def _like(found: Sequence[Object], pool: FixedPool) -> Iterator[Object]:
    """The machines with or without GPUs, as the pool wants them; of its product first, and workers first."""

    def distance(machine: Object) -> tuple[bool, bool]:
        products = {label_of(gpus.product) for gpus in clusters.gpus_of(machine)}
        wanted = pool.gpus.product if pool.gpus else None
        return wanted is not None and wanted not in products, bool(machine.get("spec", {}).get("taints"))

    yield from sorted((one for one in found if bool(clusters.gpus_of(one)) == pool.is_gpu), key=distance)


def _fit(machine: Object, pool: FixedPool, name: str) -> None:
    if name and _name(machine) != name:
        _rename(machine, name)
    machine["metadata"].setdefault("labels", {}).update(pool.selector)
    if not pool.nodes:  # on nodes that it names, the stack sets the taints itself
        spec = machine.setdefault("spec", {})
        has = {(one["key"], one["effect"]) for one in spec.setdefault("taints", [])}
        spec["taints"] += [one.model_dump(exclude_none=True) for one in pool.taints if (one.key, one.effect) not in has]
    if pool.gpus:
        gpus = list(clusters.gpus_of(machine)) or [NodeGpus(product="NVIDIA L4", memory=23034, count=1)]
        wanted = pool.gpus
        gpus[0] = replace(
            gpus[0],
            product=wanted.product.replace("-", " ") if wanted.product else gpus[0].product,
            memory=wanted.memory * _MIB_A_GIB if wanted.memory else gpus[0].memory,
            count=wanted.count or gpus[0].count,
        )
        annotations = machine["metadata"].setdefault("annotations", {})
        annotations[clusters.HARDWARE] = clusters.hardware(gpus)


def label_of(product: str) -> str:
    """A product as feature discovery writes it in the label nvidia.com/gpu.product."""
    return product.replace(" ", "-")


def _rename(machine: Object, name: str) -> None:
    machine["metadata"]["name"] = name
    if _HOSTNAME in machine["metadata"].setdefault("labels", {}):
        machine["metadata"]["labels"][_HOSTNAME] = name


def _name(machine: Object) -> str:
    return machine["metadata"]["name"]
