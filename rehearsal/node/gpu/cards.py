"""The cards that the stand-in of NVML can be, and how a machine with some of them is described to it (nvml_facts.h)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

DRIVER, CUDA = "580.95.05", 13000
"""The driver's version, and the version of CUDA that it supports, as NVML numbers it (13.0)."""

# Of nvml.h.
_TURING, _AMPERE, _ADA, _HOPPER = 6, 7, 8, 9
_GEFORCE, _NVIDIA_RTX, _NVIDIA = 5, 13, 14
# PCI classes: GPUs with a monitor's port are VGA controllers, others 3D controllers.
_VGA, _3D = 0x030000, 0x030200

_NAMES = uuid.UUID("8d3bd3b0-9b5c-5f5e-9d0e-3a2c6e5b7a11")
# The first GPU instance of a size has this number; those of the same size follow.
_FIRST_INSTANCE = {7: 0, 4: 1, 3: 1, 2: 3, 1: 7}
# The nodes in nvidia-caps: two for the whole machine, then for each GPU fifteen instances with nine nodes each.
_FIRST_CAPABILITY, _PER_INSTANCE, _PER_GPU = 3, 9, 15 * 9


@dataclass(frozen=True)
class Profile:
    """A profile of MIG. `number` is nvml.h's, `count` how many fit on the GPU, `memory` is in MiB."""

    number: int
    slices: int
    count: int
    memory: int
    multiprocessors: int
    copy_engines: int
    decoders: int
    jpeg: int = 0
    ofa: int = 0


@dataclass(frozen=True, kw_only=True)
class Card:
    """A model of GPU. `memory` is what NVML reports, in MiB; `instances` are its GPU instances, by their profile.

    With `instances`, even if these are none, it is partitioned (MIG mode enabled).
    """

    name: str
    device: int
    memory: int
    capability: tuple[int, int]
    architecture: int
    brand: int = _NVIDIA
    pci_class: int = _3D
    has_mig: bool = False
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    instances: Mapping[str, int] | None = None

    def partitioned(self, instances: Mapping[str, int]) -> Card:
        """This card with so many GPU instances of each profile. Raises ValueError for one that it doesn't have."""
        for profile, count in instances.items():
            if profile not in self.profiles:
                raise ValueError(f"{self.name} has no profile {profile}; it has {', '.join(self.profiles) or 'none'}")
            if count > self.profiles[profile].count:
                raise ValueError(f"{self.name} has room for {self.profiles[profile].count} of {profile}, not {count}")
        return replace(self, instances=instances)

    @property
    def mig(self) -> str:
        """Whether the card can be partitioned, and is."""
        return "none" if not self.has_mig else "disabled" if self.instances is None else "enabled"


# NVIDIA's go-nvml, pkg/nvml/mock/gpus/a100.go (a100_80gb_GpuInstanceProfiles).
_A100_80GB = {
    "1g.10gb": Profile(0, 1, 7, 9856, 14, 1, 1),
    "2g.20gb": Profile(1, 2, 3, 19968, 28, 2, 1),
    "3g.40gb": Profile(2, 3, 2, 40192, 42, 3, 2),
    "4g.40gb": Profile(3, 4, 1, 40192, 56, 4, 2),
    "7g.80gb": Profile(4, 7, 1, 80384, 98, 7, 5, 1, 1),
    "1g.10gb+me": Profile(7, 1, 1, 9856, 14, 1, 1, 1, 1),
    "1g.20gb": Profile(9, 1, 4, 19968, 14, 1, 1),
}
_A100 = Card(
    name="NVIDIA A100 80GB PCIe",
    device=0x20B5,
    memory=81920,
    capability=(8, 0),
    architecture=_AMPERE,
    has_mig=True,
    profiles=_A100_80GB,
)
# Compute capabilities: developer.nvidia.com/cuda-gpus. Devices and classes: pci.ids. Memory: what `nvidia-smi` shows
# with drivers from 510 on, which is less than on the datasheet where ECC or the driver keeps some.
CARDS: Mapping[str, Card] = MappingProxyType(
    {
        "T4": Card(name="Tesla T4", device=0x1EB8, memory=15360, capability=(7, 5), architecture=_TURING),
        "A10G": Card(name="NVIDIA A10G", device=0x2237, memory=23028, capability=(8, 6), architecture=_AMPERE),
        "L40S": Card(name="NVIDIA L40S", device=0x26B9, memory=46068, capability=(8, 9), architecture=_ADA),
        "A100": _A100,
        "A100-MIG": _A100.partitioned({"1g.10gb": 7}),
        # NVIDIA's own stand-in has only round figures of its profiles, by which its memory would not add up.
        "H100": Card(
            name="NVIDIA H100 80GB HBM3",
            device=0x2330,
            memory=81559,
            capability=(9, 0),
            architecture=_HOPPER,
            has_mig=True,
        ),
        "RTX-4090": Card(
            name="NVIDIA GeForce RTX 4090",
            device=0x2684,
            memory=24564,
            capability=(8, 9),
            architecture=_ADA,
            brand=_GEFORCE,
            pci_class=_VGA,
        ),
        "RTX-A6000": Card(
            name="NVIDIA RTX A6000",
            device=0x2230,
            memory=49140,
            capability=(8, 6),
            architecture=_AMPERE,
            brand=_NVIDIA_RTX,
            pci_class=_VGA,
        ),
    }
)


def like_l40s(name: str, memory: int) -> Card:
    """A card of a model that no stand-in is made of: an L40S with its name and MiB of memory."""
    return replace(CARDS["L40S"], name=name, memory=memory)


@dataclass(frozen=True)
class Instance:
    """A GPU instance of a card in a machine. `number` is its own; `capability` is the minor number of its node."""

    number: int
    profile: Profile
    capability: int
    uuid: str


@dataclass(frozen=True)
class Gpu:
    """A card in a machine. `index` is also the minor number of its node, /dev/nvidiaN."""

    index: int
    card: Card

    @property
    def uuid(self) -> str:
        """The same in every machine with the same cards, so that reports can be compared."""
        return f"GPU-{uuid.uuid5(_NAMES, f'{self.index} {self.card.name}')}"

    @property
    def bus(self) -> str:
        """Its address on the PCI bus, as sysfs writes it."""
        return f"0000:{0x3B + self.index:02x}:00.0"

    @property
    def instances(self) -> list[Instance]:
        """Its GPU instances, largest first, as they must be made to fit."""
        used: dict[int, int] = {}
        found = []
        wanted = {self.card.profiles[name]: count for name, count in (self.card.instances or {}).items()}
        for profile in sorted(wanted, key=lambda one: -one.slices):
            for _ in range(wanted[profile]):
                # Those with three and with four slices share their numbers.
                kind = _FIRST_INSTANCE[profile.slices]
                number = kind + used.get(kind, 0)
                used[kind] = used.get(kind, 0) + 1
                capability = _FIRST_CAPABILITY + self.index * _PER_GPU + number * _PER_INSTANCE
                found.append(
                    Instance(number, profile, capability, f"MIG-{uuid.uuid5(_NAMES, f'{self.uuid} {number}')}")
                )
        return found


def gpus(cards: Sequence[Card]) -> list[Gpu]:
    """The GPUs of a machine with these cards."""
    return [Gpu(index, card) for index, card in enumerate(cards)]


def facts(cards: Sequence[Card], *, nodes: str = "") -> str:
    """The file for the stand-in of NVML. `nodes` is the folder whose nodes say which GPUs a container has."""
    lines = [f"driver {DRIVER}", f"cuda {CUDA}", *([f"nodes {nodes}"] if nodes else [])]
    for gpu in gpus(cards):
        card = gpu.card
        major, minor = card.capability
        lines.append(
            f"gpu {gpu.uuid} 0000{gpu.bus.upper()} {card.device:x} {card.memory} {major} {minor}"
            f" {card.architecture} {card.brand} {card.mig} {card.name}"
        )
        lines += [
            f"profile {one.number} {one.slices} {one.count} {one.memory} {one.multiprocessors} {one.copy_engines}"
            f" {one.decoders} {one.jpeg} {one.ofa}"
            for one in card.profiles.values()
        ]
        lines += [f"instance {one.number} {one.profile.number} {one.capability} {one.uuid}" for one in gpu.instances]
    return "\n".join(lines) + "\n"


def mig_minors(cards: Sequence[Card]) -> str:
    """The driver's /proc/driver/nvidia-caps/mig-minors: the minor numbers of the nodes of instances."""
    lines = ["config 1", "monitor 2"]
    for gpu in gpus(cards):
        for one in gpu.instances:
            lines += [
                f"gpu{gpu.index}/gi{one.number}/access {one.capability}",
                f"gpu{gpu.index}/gi{one.number}/ci0/access {one.capability + 1}",
            ]
    return "\n".join(lines) + "\n"
