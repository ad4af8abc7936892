"""AWS services: their prices, what each region sells, and the Terraform provider's resource types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from contracts.files import read


@cache
def zones_without_control_plane() -> frozenset[str]:
    """The ids of the availability zones (`use1-az3`) in which EKS does not accept a control plane's subnet."""
    return frozenset(zone for zones in read("aws/eks-zones.json")["withoutControlPlane"].values() for zone in zones)


@dataclass(frozen=True, kw_only=True)
class ServicePrices:
    """The list prices of idle AWS services in `region`, in USD."""

    region: str
    an_hour: Mapping[str, float]
    a_month: Mapping[str, float]
    """A month has 730 hours, as in AWS's prices."""
    postgres: Mapping[str, float]
    """Per hour, for RDS instance classes (`db.t4g.small`) with PostgreSQL in one zone. Some classes are missing."""
    spot_share: float
    """The assumed price of a spot instance, as a share of the on-demand price.

    Spot prices change, and AWS says only that they are up to 90 % lower. An example for us-east-1 in AWS's user guides
    comes to half.
    """


@cache
def service_prices() -> ServicePrices:
    """The prices of services; those of instances are in `instance_types`."""
    found = read("aws/service-prices.json")
    return ServicePrices(
        region=found["region"],
        an_hour=MappingProxyType(found["usdAnHour"]),
        a_month=MappingProxyType(found["usdAMonth"]),
        postgres=MappingProxyType(found["postgresUsdAnHour"]),
        spot_share=found["spotShareAssumed"],
    )


@dataclass(frozen=True, kw_only=True)
class RdsClasses:
    """The classes of RDS instances for PostgreSQL, as `db.m7g.large`."""

    postgres: Mapping[str, frozenset[str]]
    """The regions that sell each class."""
    earlier: frozenset[str]
    """Classes of earlier generations. PostgreSQL does not run on them from the version `first_without_earlier` on."""
    first_without_earlier: int
    regions: frozenset[str]
    """The regions in the catalogue."""


@cache
def rds_classes() -> RdsClasses:
    """The catalogue of RDS classes."""
    found = read("aws/rds-classes.json")
    families = {name: (family["sizes"], frozenset(family["regions"])) for name, family in found["postgres"].items()}
    return RdsClasses(
        postgres=MappingProxyType(
            {f"db.{name}.{size}": regions for name, (sizes, regions) in families.items() for size in sizes}
        ),
        earlier=frozenset(f"db.{name}.{size}" for name, sizes in found["earlier"].items() for size in sizes),
        first_without_earlier=found["firstWithoutEarlier"],
        regions=frozenset().union(*(regions for _, regions in families.values())),
    )


@cache
def nat_image() -> str:
    """The name of the machine image of NAT instances: Amazon Linux 2023 for arm64, of one release."""
    return read("aws/nat-image.json")["name"]


@cache
def aws_terraform() -> Mapping[str, Any]:
    """Attributes and blocks of AWS resource types in the Terraform provider on which Pulumi's is built."""
    return read("aws/terraform-aws-5.100.0.json")
