"""EC2 instance types, how their GPUs can be partitioned, and which node images have drivers for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any

from contracts.files import read

# Karpenter's own pattern (pkg/providers/instancetype/types.go): the letters are its label
# karpenter.k8s.aws/instance-category, the number is karpenter.k8s.aws/instance-generation.
_FAMILY = re.compile(r"(?P<category>[a-z]+)(-[0-9]+tb)?(?P<generation>[0-9]+)")


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """An EC2 instance type."""

    name: str
    vcpu: int
    memory_mib: int
    arch: str
    """EC2's name: x86_64 (Kubernetes' amd64) or arm64."""
    price: float | None
    """On-demand, in USD per hour in us-east-1; None if the type is not sold there."""
    spot: bool
    ips_per_eni: int
    """The most IPv4 addresses of one network interface, including its primary one."""
    max_pods_eni: int
    """The most pods that get addresses from the network interfaces, without prefix delegation."""
    nvme_gb: int
    """GB of local NVMe storage; 0 if there is none."""
    gpu_count: int
    """Whole GPUs.

    It is 0 for types without a GPU, and for types with a fraction of one (g6f), which have a `gpu_name`.
    """
    gpu_name: str | None
    gpu_manufacturer: str | None
    gpu_memory_mib: int
    """Memory of one GPU."""
    mig: bool
    """Whether its GPUs can be partitioned (NVIDIA Multi-Instance GPU)."""

    # The parts of the name are cached: each check of a pool reads them for every type of the catalogue.

    @cached_property
    def family(self) -> str:
        """The part before the dot: `g5`."""
        return self.name.partition(".")[0]

    @cached_property
    def size(self) -> str:
        """The part after the dot: `xlarge`."""
        return self.name.partition(".")[2]

    @cached_property
    def category(self) -> str:
        """The family's letters before the generation, as Karpenter labels them: `g`, and `gr` for gr6."""
        return self._family_parts()["category"]

    @cached_property
    def generation(self) -> int:
        """The family's number: 5 for g5."""
        return int(self._family_parts()["generation"])

    @property
    def has_gpu(self) -> bool:
        """Whether it has a GPU, or a fraction of one."""
        return self.gpu_name is not None

    @property
    def has_fraction(self) -> bool:
        """Whether it has only a fraction of a GPU (g6f), which Karpenter and the device plugin do not count."""
        return self.has_gpu and not self.gpu_count

    def _family_parts(self) -> re.Match[str]:
        parts = _FAMILY.match(self.family)
        if parts is None:
            raise ValueError(f"{self.name} is not the name of an instance type")
        return parts


@dataclass(frozen=True, kw_only=True)
class MigProfile:
    """A kind of slice that a GPU can be partitioned into. `size` and `starts` are in slices of the GPU's memory."""

    name: str
    """`1g.5gb`: slices of the compute units, and GB of memory."""
    size: int
    starts: tuple[int, ...]
    """The positions at which a slice may begin. They do not overlap, so a GPU has room for as many slices as starts."""

    @property
    def memory_gb(self) -> int:
        """Memory of one slice in GB."""
        return int(self.name.partition(".")[2].removesuffix("gb"))


@dataclass(frozen=True, kw_only=True)
class MigGpu:
    """How the GPUs of an instance type can be partitioned."""

    profiles: Mapping[str, MigProfile]
    bottlerocket: str | None
    """The GPU's name in Bottlerocket's settings; None if they do not have it."""


@cache
def instance_types() -> Mapping[str, InstanceType]:
    """Every instance type of the catalogue, by name."""
    types = read("aws/instance-types.json")["types"]
    return MappingProxyType({name: _instance_type(name, facts) for name, facts in types.items()})


def _instance_type(name: str, facts: dict[str, Any]) -> InstanceType:
    gpu = facts.get("gpu", {})
    return InstanceType(
        name=name,
        vcpu=facts["vcpu"],
        memory_mib=facts["memory_mib"],
        arch=facts["arch"],
        price=facts["price"],
        spot=facts["spot"],
        max_pods_eni=facts["max_pods_eni"],
        ips_per_eni=facts["ips_per_eni"],
        nvme_gb=facts.get("nvme_gb", 0),
        gpu_count=gpu.get("count", 0),
        gpu_name=gpu.get("name"),
        gpu_manufacturer=gpu.get("manufacturer"),
        gpu_memory_mib=gpu.get("memory_mib", 0),
        mig=gpu.get("mig", False),
    )


def mig_gpu(instance_type: InstanceType) -> MigGpu | None:
    """How the GPUs of the type can be partitioned; None if they cannot."""
    return mig_gpus().get((instance_type.gpu_name or "", instance_type.gpu_memory_mib))


@cache
def mig_gpus() -> Mapping[tuple[str, int], MigGpu]:
    """How GPUs can be partitioned, by their name and the MiB of their memory."""
    return {
        (gpu["name"], gpu["memory_mib"]): MigGpu(
            profiles={
                name: MigProfile(name=name, size=profile["size"], starts=tuple(profile["starts"]))
                for name, profile in gpu["profiles"].items()
            },
            bottlerocket=gpu["bottlerocket"],
        )
        for gpu in read("nvidia/mig.json")["gpus"]
    }


@dataclass(frozen=True, kw_only=True)
class NodeImages:
    """The first releases of EKS's images that support something. Images are aliases: `al2023@v20260917`."""

    kubernetes: Mapping[str, Mapping[str, str]]
    """By system (al2023, bottlerocket) and Kubernetes version: the first release. Others are unknown."""
    families: Mapping[str, Mapping[str, str]]
    """By instance family and system: the first release whose driver supports the GPUs; no entry if no release does.

    Other instance families work with every release for the accepted versions of Kubernetes.
    """

    def is_for(self, image: str, kubernetes: str) -> bool:
        """Whether the image exists for a version of Kubernetes, as far as is known."""
        system, _, release = image.partition("@")
        first = self.kubernetes.get(system, {}).get(kubernetes)
        return first is None or release_number(release) >= release_number(first)

    def drives(self, image: str, instance_family: str) -> bool:
        """Whether an image's driver supports the GPUs of an instance family.

        With an older one, a node registers 0 GPUs.
        """
        needed = self.families.get(instance_family)
        if needed is None:
            return True
        system, _, release = image.partition("@")
        return system in needed and release_number(release) >= release_number(needed[system])


def release_number(release: str) -> tuple[int, ...]:
    """The numbers of a release, for comparisons: (20260917,) of `v20260917`, (1, 53, 0) of `v1.53.0`."""
    return tuple(int(part) for part in release.removeprefix("v").split("."))


@cache
def node_images() -> NodeImages:
    """What is known about EKS's node images."""
    found = read("aws/node-images.json")
    return NodeImages(kubernetes=found["kubernetes"], families=found["families"])
