"""Which GPUs a profile that discovers them offers: those of the nodes that a team may use, and how many are free now.

Pure functions of what the API server lists. Free is what the pods in teams' namespaces leave of a node; the hub sees no
other pods. A choice becomes an ordinary one: a GPU of one pool, by the resource that the node has it as.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from .catalogue import Catalogue, Gpu, Pool
from .choices import Choice
from .nodes import HOSTNAME_LABEL, Node
from .pod import requests
from .quantities import words
from .refusals import Granted, counts, requested_by

Object: TypeAlias = Mapping[str, Any]

ANY = "any"
"""The offer of whatever is free."""

NOTHING_THERE = "No node that the team may use has a GPU that its quota grants, or its nodes are not ready."

# Labels of NVIDIA's feature discovery (k8s-device-plugin, docs/gfd_labels.md and internal/lm/resource.go, v0.17): those
# of a GPU begin with its resource, and those of a MIG slice, in the strategy mixed, with the slice's resource.
_GPU = "nvidia.com/gpu"
_MIG = "nvidia.com/mig-"
_RENAMED = ".shared"
_SHARING_LABEL = f"{_GPU}.sharing-strategy"
# At the end of a product's name where shares keep the resource's name, and between it and the slice's in single.
_NOT_RENAMED = "-SHARED"
_OF_A_SLICE = "-MIG-"
# By which label a notebook stays on the GPUs of an offer, the first that all of their nodes have.
_PINS = {"any": (), "kind": (f"{_GPU}.product", HOSTNAME_LABEL), "node": (HOSTNAME_LABEL,)}
_MIB = 1024
_ONE = Decimal(1)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A node in a pool that the team may use. `left` is what pods of teams leave of it, `users` who has its GPUs."""

    node: Node
    pool: Pool
    left: dict[str, Decimal]
    users: dict[str, Counter[str]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """GPUs, shares or slices of one kind. `memory` in GiB; `sharers` is how many notebooks share one GPU."""

    product: str
    resource: str
    memory: int | None
    sharers: int

    @property
    def key(self) -> str:
        """What the form sends of it."""
        return f"{self.product}/{self.resource}/{self.sharers}"

    def __str__(self) -> str:
        product, _, of_single = self.product.partition(_OF_A_SLICE)
        slice_ = self.resource.removeprefix(_MIG) if self.resource.startswith(_MIG) else of_single
        parts = [f"slice {slice_} of {product}" if slice_ else product]
        if self.memory is not None:
            parts.append(f"{self.memory} GiB")
        if self.sharers > 1:
            parts.append(f"shared by {self.sharers}")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where GPUs of a kind are."""

    machine: Machine
    kind: Kind

    @property
    def free(self) -> Decimal:
        """How many are free; never less than none, whatever others use."""
        return max(self.machine.left[self.kind.resource], Decimal(0))

    @property
    def total(self) -> Decimal:
        """How many there are."""
        return self.machine.node.allocatable[self.kind.resource]

    def lacks(self, requested: Mapping[str, Decimal]) -> list[str]:
        """What the machine has too little of for one notebook more. A resource that it does not report is enough."""
        wanted = {**requested, self.kind.resource: _ONE}
        left = self.machine.left
        return [name for name, number in wanted.items() if name in left and number > left[name]]


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One line of the form: GPUs to choose, by what people call them, and where they are."""

    key: str
    by: Literal["any", "kind", "node"]
    name: str
    places: Sequence[Place]

    def __str__(self) -> str:
        return f"{self.name}: {_amount(self.places)} free"


def machines(
    pools: Iterable[Pool], nodes: Iterable[Node], pods_by_team: Mapping[str, Collection[Object]]
) -> list[Machine]:
    """The nodes of the pools that a pod there can be put on, with what the pods leave of each."""
    found = {
        node.name: Machine(node=node, pool=pool, left=dict(node.allocatable), users={})
        for node in nodes
        for pool in pools
        if node.has(pool.selector_labels) and node.admits(pool.tolerations)
    }
    waiting: list[tuple[str, Object]] = []
    for team, pods in pods_by_team.items():
        for pod in filter(counts, pods):
            if (name := pod["spec"].get("nodeName")) is None:
                waiting.append((team, pod))
            elif name in found:
                _take(found[name], team, pod)
    for team, pod in waiting:
        _take_somewhere(found.values(), team, pod)
    return list(found.values())


def offers(found: Sequence[Machine], granted: Granted, *, by_node: bool) -> list[Offer]:
    """What the form lists for a team with this quota: any GPU, each kind, and with `by_node` each node; or nothing."""
    places = [
        Place(machine=machine, kind=_kind(machine, resource))
        for machine in found
        for resource in sorted(machine.node.allocatable)
        if _is_gpu(resource) and machine.node.allocatable[resource] and _is_granted(resource, granted)
    ]
    if not places:
        return []
    by_kind: dict[str, list[Place]] = {}
    for place in sorted(places, key=lambda one: (str(one.kind), one.machine.node.name)):
        by_kind.setdefault(place.kind.key, []).append(place)
    listed = [Offer(key=ANY, by="any", name="any free GPU", places=places)]
    listed += [Offer(key=key, by="kind", name=str(of_kind[0].kind), places=of_kind) for key, of_kind in by_kind.items()]
    if by_node:
        listed += [
            Offer(
                key=f"{place.machine.node.name}/{place.kind.resource}",
                by="node",
                name=f"GPU on {place.machine.node.name}: {place.kind}",
                places=[place],
            )
            for place in sorted(places, key=lambda one: (one.machine.node.name, str(one.kind)))
        ]
    return listed


def find(choice: Choice, wanted: str | None, offered: Sequence[Offer], granted: Granted) -> Choice | str:
    """The choice with a GPU that is free now, of the offer with that key; else why there is none.

    Where several pools have one, it is of the pool where most are free, and of a resource that the quota still has.
    """
    if not offered:
        return f"{NOTHING_THERE} Choose another profile, or ask an administrator."
    offer = next((one for one in offered if one.key == (wanted or ANY)), None)
    if offer is None:
        return f"The GPU that you chose is not there any more. {_free_elsewhere(offered, None)}"
    requested = requests(choice)
    fitting = [place for place in offer.places if not place.lacks(requested)]
    if not fitting:
        return _none_free(offer, offered, requested)
    best = min(
        fitting,
        key=lambda one: (not _has_left(one.kind.resource, granted), -one.free, one.machine.node.name),
    )
    return _with_gpu(choice, offer, best)


def shown(offer: Offer, granted: Granted) -> str:
    """An offer in words, with what of it the team's quota has left."""
    used_up = not any(_has_left(place.kind.resource, granted) for place in offer.places)
    return f"{offer}{', but the team has used up its quota' if used_up else ''}"


def gpu_pools(catalogue: Catalogue, choice: Choice) -> list[Pool]:
    """The GPU pools that the choice's team may use."""
    return [pool for pool in map(catalogue.pools.__getitem__, choice.team.node_pools) if pool.gpu]


def _with_gpu(choice: Choice, offer: Offer, place: Place) -> Choice:
    pool, kind = place.machine.pool, place.kind
    nodes = [one.machine.node for one in offer.places if one.machine.pool == pool and one.kind.key == kind.key]
    label = next((name for name in _PINS[offer.by] if all(name in node.labels for node in nodes)), None)
    values = sorted({node.labels[label] for node in nodes}) if label else []
    affinity = ({"key": label, "operator": "In", "values": values},) if label else ()
    profile = replace(
        choice.profile,
        display_name=f"{choice.profile.display_name} ({kind})",
        # The device plugin mounts the MPS daemon's, as in `settings.notebooks.profiles`.
        shared_memory=None if _sharing(place.machine) == "mps" else choice.profile.shared_memory,
        gpu=Gpu(pool=pool.name, resource=kind.resource, count=1, affinity=affinity),
        discovery=None,
    )
    return replace(choice, profile=profile)


def _none_free(offer: Offer, offered: Sequence[Offer], requested: Mapping[str, Decimal]) -> str:
    """Why no GPU of the offer can be had: all are in use, by whom, or where one is free something else is short."""
    free = [place for place in offer.places if place.free >= _ONE]
    elsewhere = _free_elsewhere(offered, offer)
    if free:
        place = max(free, key=lambda one: one.free)
        short = " and ".join(
            f"{words(name, place.machine.left[name])}, and this needs {words(name, requested[name])}"
            for name in place.lacks(requested)
        )
        return f"A GPU is free on {place.machine.node.name} ({place.kind}), but only {short}. {elsewhere}"
    users: Counter[str] = Counter()
    for place in offer.places:
        users.update(place.machine.users.get(place.kind.resource, {}))
    who = f" ({', '.join(f'{team} {number}' for team, number in sorted(users.items()))})" if users else ""
    total = sum((place.total for place in offer.places), Decimal(0))
    all_of_them = "the only one is" if total == 1 else f"all {total} are"
    what = "No GPU is free" if offer.by == "any" else f"No GPU is free of your choice, {offer.name}"
    return f"{what}: {all_of_them} in use{who}. {elsewhere}"


def _free_elsewhere(offered: Sequence[Offer], but: Offer | None) -> str:
    """What is free of other kinds, and in which pools."""
    kinds = [one for one in offered if one.by == "kind" and one != but]
    free = [f"{_amount(one.places)} {one.name} ({_pools(one)})" for one in kinds if _is_free(one)]
    if free:
        return f"Free now: {'; '.join(free)}. Choose one of these, or wait until a notebook ends."
    return "No other GPU is free either: wait until a notebook ends, or choose another profile."


def _is_free(offer: Offer) -> bool:
    return any(place.free >= _ONE for place in offer.places)


def _pools(offer: Offer) -> str:
    names = sorted({place.machine.pool.name for place in offer.places})
    return f"{'pool' if len(names) == 1 else 'pools'} {' and '.join(names)}"


def _amount(places: Sequence[Place]) -> str:
    free = sum((place.free for place in places), Decimal(0))
    return f"{free.normalize():f} of {sum((place.total for place in places), Decimal(0)).normalize():f}"


def _take(machine: Machine, team: str, pod: Object) -> None:
    for resource in machine.left:
        if number := requested_by(pod, resource):
            machine.left[resource] -= number
            if _is_gpu(resource):
                machine.users.setdefault(resource, Counter())[team] += int(number)


def _take_somewhere(found: Iterable[Machine], team: str, pod: Object) -> None:
    """Takes what a pod without a node asks for from the machine that it most likely gets; only GPUs matter."""
    wanted = {
        machine.node.name: (machine, resource)
        for machine in found
        if machine.node.may_get(pod)
        for resource in filter(_is_gpu, machine.left)
        if requested_by(pod, resource)
    }
    if wanted:
        machine, _ = max(wanted.values(), key=lambda one: one[0].left[one[1]])
        _take(machine, team, pod)


def _kind(machine: Machine, resource: str) -> Kind:
    """The kind of a node's GPUs that pods ask for by this resource: by its labels, else by the stack file."""
    labels, declared = machine.node.labels, machine.pool.gpus
    own = resource.removesuffix(_RENAMED)
    named = labels.get(f"{_GPU}.product") or (declared and declared.product) or f"GPU of pool {machine.pool.name}"
    product = named.removesuffix(_NOT_RENAMED)
    is_share = own != resource or named != product
    sharers = int(labels.get(f"{own}.replicas") or (declared.replicas if declared else 1)) if is_share else 1
    mib = labels.get(f"{own}.memory")
    memory = round(int(mib) / _MIB) if mib else declared.memory if declared and not resource.startswith(_MIG) else None
    if memory is not None and is_share and _sharing(machine) == "mps":
        memory //= sharers
    return Kind(product=product, resource=resource, memory=memory, sharers=sharers)


def _sharing(machine: Machine) -> str | None:
    declared = machine.pool.gpus
    return declared.sharing if declared else machine.node.labels.get(_SHARING_LABEL)


def _is_gpu(resource: str) -> bool:
    return resource.removesuffix(_RENAMED) == _GPU or resource.startswith(_MIG)


def _is_granted(resource: str, granted: Granted) -> bool:
    """Whether the quota has any of it at all; what a quota does not name is not granted."""
    return resource in granted and granted[resource].limit > 0


def _has_left(resource: str, granted: Granted) -> bool:
    return resource in granted and granted[resource].left >= _ONE
