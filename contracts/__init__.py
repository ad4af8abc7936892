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
from typing import Any, Literal

_FOLDER = Path(__file__).parent

# Karpenter's own pattern (pkg/providers/instancetype/types.go): the letters are what it labels
# karpenter.k8s.aws/instance-category, the number karpenter.k8s.aws/instance-generation.
_FAMILY = re.compile(r"(?P<category>[a-z]+)(-[0-9]+tb)?(?P<generation>[0-9]+)")

_ARCHIVE = re.compile(r"-v?[0-9]+\.[0-9].*\.tgz$|\.tgz$")

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
    ips_per_eni: int
    """IPv4 addresses that one network interface has at most, its primary one included."""
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

    @property
    def has_fraction(self) -> bool:
        """Whether its GPU is a part of one (g6f): Karpenter and the device plugin count none."""
        return self.has_gpu and not self.gpu_count

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
    dependencies: Mapping[str, str]
    """The versions of the charts that it holds, by name."""

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
        ips_per_eni=facts["ips_per_eni"],
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
        dependencies={one["name"]: one["version"] for one in facts["dependencies"]},
    )


def chart_name(given: str) -> str:
    """The name of a chart without its repository, folder or version: `karpenter` of `charts/karpenter-1.14.1.tgz`."""
    return _ARCHIVE.sub("", given.rstrip("/").rpartition("/")[2])


def image(name: str) -> str:
    """The container image that the platform runs under that name, with its tag; KeyError when the contracts have none.

    What a chart runs by itself is in the chart's values.
    """
    return image_pins()[name]


@cache
def image_pins() -> Mapping[str, str]:
    """Every image of the platform's own choice, by name."""
    return MappingProxyType(_read("images.json")["images"])


def image_digest(reference: str) -> str | None:
    """What the image with that tag (`quay.io/keycloak/keycloak:26.8.2`) is, `sha256:…`; None where it is not known."""
    return image_digests().get(reference)


@cache
def image_digests() -> Mapping[str, str]:
    """The digests that are known, by the image with its tag."""
    return MappingProxyType({tag: found["digest"] for tag, found in _read("images.json")["digests"].items()})


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


@cache
def zones_without_control_plane() -> frozenset[str]:
    """The ids of the availability zones (`use1-az3`) in which EKS takes no subnet of a control plane."""
    return frozenset(zone for zones in _read("aws/eks-zones.json")["withoutControlPlane"].values() for zone in zones)


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


@dataclass(frozen=True, kw_only=True)
class NodeImages:
    """The first releases of EKS's images that can do something. Images are aliases: `al2023@v20260917`."""

    kubernetes: Mapping[str, Mapping[str, str]]
    """By system (al2023, bottlerocket) and Kubernetes version: the first release for it. The rest is not known."""
    families: Mapping[str, Mapping[str, str]]
    """By instance family and system: the first release whose driver knows the GPUs; none: no release does.

    An instance family that is not there works with every release for the accepted versions of Kubernetes.
    """

    def is_for(self, image: str, kubernetes: str) -> bool:
        """Whether there is such an image for a version of Kubernetes, as far as it is known."""
        system, _, release = image.partition("@")
        first = self.kubernetes.get(system, {}).get(kubernetes)
        return first is None or release_number(release) >= release_number(first)

    def drives(self, image: str, instance_family: str) -> bool:
        """Whether an image drives the GPUs of an instance family: with an older driver, a node registers 0 GPUs."""
        needed = self.families.get(instance_family)
        if needed is None:
            return True
        system, _, release = image.partition("@")
        return system in needed and release_number(release) >= release_number(needed[system])


def release_number(release: str) -> tuple[int, ...]:
    """The numbers of an image's release, to compare: (20260917,) of `v20260917`, (1, 53, 0) of `v1.53.0`."""
    return tuple(int(part) for part in release.removeprefix("v").split("."))


@cache
def node_images() -> NodeImages:
    """What is known of EKS's images for nodes."""
    found = _read("aws/node-images.json")
    return NodeImages(kubernetes=found["kubernetes"], families=found["families"])


@dataclass(frozen=True, kw_only=True)
class RdsClasses:
    """The classes of RDS instances for PostgreSQL, as `db.m7g.large`."""

    postgres: Mapping[str, frozenset[str]]
    """Each class with the regions that sell it."""
    earlier: frozenset[str]
    """Classes of earlier generations, which `first_without_earlier` and later versions of PostgreSQL do not run on."""
    first_without_earlier: int
    regions: frozenset[str]
    """The regions that the catalogue knows."""


@cache
def rds_classes() -> RdsClasses:
    """The catalogue of RDS classes."""
    found = _read("aws/rds-classes.json")
    families = {name: (family["sizes"], frozenset(family["regions"])) for name, family in found["postgres"].items()}
    return RdsClasses(
        postgres=MappingProxyType(
            {f"db.{name}.{size}": regions for name, (sizes, regions) in families.items() for size in sizes}
        ),
        earlier=frozenset(f"db.{name}.{size}" for name, sizes in found["earlier"].items() for size in sizes),
        first_without_earlier=found["firstWithoutEarlier"],
        regions=frozenset().union(*(regions for _, regions in families.values())),
    )


Billing = Literal["by use", "free"]


def billing(type_: str) -> Billing | None:
    """How AWS bills a type that has no price while it stands idle; None for one that has, or that nobody looked up."""
    known = _billing()
    service = type_.partition("/")[0] + "/"
    return "by use" if type_ in known["byUse"] else "free" if {type_, service} & known["free"].keys() else None


@cache
def _billing() -> Mapping[str, Any]:
    return _read("aws/billing.json")


@cache
def nat_image() -> str:
    """The name of the machine image of NAT instances: Amazon Linux 2023 for arm64, of one release."""
    return _read("aws/nat-image.json")["name"]


@cache
def aws_terraform() -> Mapping[str, Any]:
    """Attributes and blocks of the AWS resource types, as the Terraform provider behind Pulumi's has them."""
    return _read("aws/terraform-aws-5.100.0.json")


@dataclass(frozen=True, kw_only=True)
class IamResources:
    """What an IAM action is about: ARNs with variables such as `${ClusterName}`, all `required`, or one of them."""

    templates: tuple[str, ...] = ()
    required: bool = False


@cache
def iam_resource_types(action: str) -> IamResources:
    """The resources of an action that changes something (`eks:CreateAddon`); none of those that the contract lacks."""
    facts = _iam_actions()
    types = facts["actions"].get(action, [])
    known = facts["resources"].get(action.partition(":")[0], {})
    return IamResources(
        templates=tuple(known[name.rstrip("*")] for name in types),
        required=any(name.endswith("*") for name in types),
    )


@cache
def _iam_actions() -> Mapping[str, Any]:
    return _read("aws/iam-actions.json")


@cache
def published_statements() -> tuple[Mapping[str, Any], ...]:
    """The statements of the IAM policies that upstreams publish for their controllers."""
    documents = [_read(f"iam/{path.name}") for path in sorted((_FOLDER / "iam").glob("*.json"))]
    return tuple(statement for document in documents for statement in document["Statement"])


def _read(file: str) -> dict[str, Any]:
    return json.loads((_FOLDER / file).read_text(encoding="utf-8"))
