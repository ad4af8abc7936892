"""What upstream accepts, as data: typed, cached loaders of the JSON files in this folder (see README.md).

Every loader reads a file once a process. What it returns is shared, so callers must not change it.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

_FOLDER = Path(__file__).parent

# Karpenter's own pattern (pkg/providers/instancetype/types.go): the letters are what it labels
# karpenter.k8s.aws/instance-category, the number karpenter.k8s.aws/instance-generation.
_FAMILY = re.compile(r"(?P<category>[a-z]+)(-[0-9]+tb)?(?P<generation>[0-9]+)")

# The groups of the custom resources that a chart brings. A `-crd` chart brings nothing else.
_CHART_CRD_GROUPS: Mapping[str, tuple[str, ...]] = {
    "aws-load-balancer-controller": ("elbv2.k8s.aws", "gateway.k8s.aws", "aga.k8s.aws"),
    "cert-manager": ("cert-manager.io",),
    "cloudnative-pg": ("postgresql.cnpg.io",),
    "gpu-operator": ("nvidia.com",),
    "karpenter": ("karpenter.sh", "karpenter.k8s.aws"),
    "karpenter-crd": ("karpenter.sh", "karpenter.k8s.aws"),
    "kube-prometheus-stack": ("monitoring.coreos.com",),
    "kuberay-operator": ("ray.io",),
    "kueue": ("kueue.x-k8s.io",),
}


@dataclass(frozen=True, kw_only=True)
class InstanceType:
    """An EC2 instance type."""

    name: str
    vcpu: int
    memory_mib: int
    arch: str
    """x86_64 or arm64, as EC2 says it (Kubernetes says amd64)."""
    price: float | None
    """On-demand, in USD an hour in us-east-1; None where the type is not sold there."""
    spot: bool
    max_pods_eni: int
    """Pods that find an address on the network interfaces, without prefix delegation."""
    nvme_gb: int
    """Local NVMe storage, 0 where there is none."""
    gpu_count: int
    """Whole GPUs. 0 for a type with none, and for one with a fraction of a GPU (g6f), which has a `gpu_name`."""
    gpu_name: str | None
    gpu_manufacturer: str | None
    gpu_memory_mib: int
    """Of one GPU."""
    mig: bool
    """Whether its GPUs can be partitioned (NVIDIA Multi-Instance GPU)."""

    # The parts of the name are kept: each check of a pool asks every type of the catalogue for them.

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
        """Whether there is any GPU, be it a fraction of one."""
        return self.gpu_name is not None

    def _family_parts(self) -> re.Match[str]:
        parts = _FAMILY.match(self.family)
        if parts is None:
            raise ValueError(f"{self.name} is no name of an instance type")
        return parts


@dataclass(frozen=True, kw_only=True)
class MigProfile:
    """A kind of slice that a GPU can be partitioned into. `size` and `starts` are in slices of the GPU's memory."""

    name: str
    """`1g.5gb`: slices of the compute units, and GB of memory."""
    size: int
    starts: tuple[int, ...]
    """Where one may begin. They leave each other room: as many fit on a GPU as there are starts."""

    @property
    def memory_gb(self) -> int:
        """Memory of one slice."""
        return int(self.name.partition(".")[2].removesuffix("gb"))


@dataclass(frozen=True, kw_only=True)
class MigGpu:
    """How the GPUs of an instance type can be partitioned."""

    profiles: Mapping[str, MigProfile]
    bottlerocket: str | None
    """What Bottlerocket's settings call the GPU; None where they do not know it."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A Helm chart at the version that the platform is made for."""

    name: str
    version: str
    app_version: str | None
    repository: str
    """`https://…`, an index of charts, or `oci://…`, the chart itself."""
    values: Mapping[str, Any]
    """The chart's default values."""
    schema: Mapping[str, Any] | None
    """The JSON Schema of its values, for the charts that have one."""

    @property
    def crds(self) -> tuple[Mapping[str, Any], ...]:
        """The custom resource definitions that come with it."""
        return tuple(crd for group in _CHART_CRD_GROUPS.get(self.name, ()) for crd in crds(group))


@cache
def instance_types() -> Mapping[str, InstanceType]:
    """Every instance type of the catalogue, by name."""
    types = _read("aws/instance-types.json")["types"]
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
        nvme_gb=facts.get("nvme_gb", 0),
        gpu_count=gpu.get("count", 0),
        gpu_name=gpu.get("name"),
        gpu_manufacturer=gpu.get("manufacturer"),
        gpu_memory_mib=gpu.get("memory_mib", 0),
        mig=gpu.get("mig", False),
    )


def mig_gpu(instance_type: InstanceType) -> MigGpu | None:
    """How the GPUs of the type can be partitioned; None where they cannot."""
    return _mig_gpus().get((instance_type.gpu_name or "", instance_type.gpu_memory_mib))


@cache
def _mig_gpus() -> Mapping[tuple[str, int], MigGpu]:
    return {
        (gpu["name"], gpu["memory_mib"]): MigGpu(
            profiles={
                name: MigProfile(name=name, size=profile["size"], starts=tuple(profile["starts"]))
                for name, profile in gpu["profiles"].items()
            },
            bottlerocket=gpu["bottlerocket"],
        )
        for gpu in _read("nvidia/mig.json")["gpus"]
    }


@cache
def chart(name: str) -> Chart:
    """The chart of that name; KeyError when the contracts have none.

    karpenter-crd is published beside karpenter, with the same version and no values.
    """
    if name == "karpenter-crd":
        karpenter = chart("karpenter")
        repository = f"{karpenter.repository}-crd"
        return dataclasses.replace(karpenter, name=name, repository=repository, values={}, schema=None)
    try:
        facts = _read(f"charts/{name}.json")
    except FileNotFoundError:
        raise KeyError(f"no contract of a chart named {name}") from None
    return Chart(
        name=facts["name"],
        version=facts["version"],
        app_version=facts["appVersion"],
        repository=facts["repository"],
        values=facts["values"],
        schema=facts["schema"],
    )


@cache
def crd(name: str) -> Mapping[str, Any]:
    """The custom resource definition of that name (`nodepools.karpenter.sh`); KeyError when the contracts have none."""
    try:
        return _read(f"crds/{name}.json")
    except FileNotFoundError:
        raise KeyError(f"no contract of a custom resource definition named {name}") from None


@cache
def crds(group_suffix: str = "") -> tuple[Mapping[str, Any], ...]:
    """The custom resource definitions of an API group and its subgroups, by name; all of them without one."""
    names = sorted(path.stem for path in (_FOLDER / "crds").glob("*.json"))
    return tuple(crd(name) for name in names if not group_suffix or name.endswith(f".{group_suffix}"))


@cache
def iam_policy(name: str) -> Mapping[str, Any]:
    """The IAM policy that is published with a chart, at the chart's version; KeyError when the contracts have none."""
    version = chart(name).app_version
    try:
        return _read(f"iam/{name}-{version}.json")
    except FileNotFoundError:
        raise KeyError(f"no contract of an IAM policy of {name} {version}") from None


@dataclass(frozen=True, kw_only=True)
class ServicePrices:
    """What AWS services cost while they stand idle, by list price in `region`, in USD."""

    region: str
    an_hour: Mapping[str, float]
    a_month: Mapping[str, float]
    """Of 730 hours, as AWS reckons."""
    postgres: Mapping[str, float]
    """An hour of a class of RDS instances for PostgreSQL, in one zone: `db.t4g.small`. Not all classes are known."""
    spot_share: float
    """What a spot instance is taken to cost, as a share of the on-demand price.

    An assumption: spot prices move, and AWS says no more than that they are up to 90 % below; half is what an example
    of us-east-1 in its user guides comes to.
    """


@cache
def service_prices() -> ServicePrices:
    """The prices of services; those of instances are in `instance_types`."""
    found = _read("aws/service-prices.json")
    return ServicePrices(
        region=found["region"],
        an_hour=MappingProxyType(found["usdAnHour"]),
        a_month=MappingProxyType(found["usdAMonth"]),
        postgres=MappingProxyType(found["postgresUsdAnHour"]),
        spot_share=found["spotShareAssumed"],
    )


@cache
def nat_image() -> str:
    """The name of the machine image of NAT instances: Amazon Linux 2023 for arm64, of one release."""
    return _read("aws/nat-image.json")["name"]


@cache
def aws_terraform() -> Mapping[str, Any]:
    """Attributes and blocks of the AWS resource types, as the Terraform provider behind Pulumi's has them."""
    return _read("aws/terraform-aws-5.100.0.json")


@cache
def published_statements() -> tuple[Mapping[str, Any], ...]:
    """The statements of the IAM policies that upstreams publish for their controllers."""
    documents = [_read(f"iam/{path.name}") for path in sorted((_FOLDER / "iam").glob("*.json"))]
    return tuple(statement for document in documents for statement in document["Statement"])


def _read(file: str) -> dict[str, Any]:
    return json.loads((_FOLDER / file).read_text(encoding="utf-8"))
