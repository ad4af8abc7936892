"""The instance types that EC2 sells: what each is, where it is to be had and for how much, in the pages that EC2 gives.

moto knows more types than the catalogue (contracts/aws/instance-types.json), and takes half a minute to describe them.
Karpenter lists all of them when it starts. So each is written once, with what Karpenter and the stack read of it.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar
from xml.sax.saxutils import escape

from moto.ec2.responses import EC2Response

import contracts

# The parts of a description that somebody reads; None stands for all of a part.
_READ: Mapping[str, Any] = {
    "InstanceType": None,
    "CurrentGeneration": None,
    "BareMetal": None,
    "Hypervisor": None,
    "SupportedUsageClasses": None,
    "SupportedVirtualizationTypes": None,
    "ProcessorInfo": {"SupportedArchitectures": None, "SustainedClockSpeedInGhz": None, "Manufacturer": None},
    "VCpuInfo": {"DefaultVCpus": None},
    "MemoryInfo": None,
    "InstanceStorageInfo": {"TotalSizeInGB": None, "NvmeSupport": None},
    "EbsInfo": {"EbsOptimizedSupport": None, "EbsOptimizedInfo": {"MaximumBandwidthInMbps": None}},
    "NetworkInfo": {
        "DefaultNetworkCardIndex": None,
        "EfaInfo": None,
        "EfaSupported": None,
        "EncryptionInTransitSupported": None,
        "Ipv4AddressesPerInterface": None,
        "MaximumNetworkInterfaces": None,
        "NetworkCards": {"NetworkCardIndex": None, "MaximumNetworkInterfaces": None},
    },
    "GpuInfo": {"Gpus": {"Name": None, "Manufacturer": None, "Count": None, "MemoryInfo": None}},
    "InferenceAcceleratorInfo": None,
    "NeuronInfo": None,
}
# Spot prices move by the hour; what matters is that spot is the cheaper way to have a type.
_SPOT_SHARE = 0.35
_LARGEST_PAGE = 1000
_PRICES = "AWSPriceListService.GetProducts"
_PRODUCT_FAMILY = "productFamily"
_BARE_METAL = "Compute Instance (bare metal)"

Item = TypeVar("Item")


class InstanceTypes(EC2Response):
    """moto's EC2, with the catalogue's instance types."""

    def describe_instance_types(self) -> str:
        """Those that fulfil the filters."""
        self.error_on_dryrun()
        found = self.ec2_backend.describe_instance_types(
            self._get_param("InstanceTypes", []), self._filters_from_querystring()
        )
        items = [description(one["InstanceType"]) for one in found if one["InstanceType"] in contracts.instance_types()]
        return self._page("DescribeInstanceTypes", "instanceTypeSet", items)

    def describe_instance_type_offerings(self) -> str:
        """Where the types are sold."""
        found = self.ec2_backend.describe_instance_type_offerings(
            self._get_param("LocationType"), self._filters_from_querystring()
        )
        return self._page("DescribeInstanceTypeOfferings", "instanceTypeOfferingSet", offers(found))

    def describe_spot_price_history(self) -> str:
        """The present price of each type that can be had as spot, in each zone that sells it."""
        found = self.ec2_backend.describe_spot_price_history(
            self._get_param("InstanceTypes", []), self._filters_from_querystring()
        )
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        items = [
            f"<item><instanceType>{one['InstanceType']}</instanceType>"
            "<productDescription>Linux/UNIX</productDescription>"
            f"<spotPrice>{price:.6f}</spotPrice><timestamp>{now}</timestamp>"
            f"<availabilityZone>{one['Location']}</availabilityZone></item>"
            for one in found
            if (price := spot_price(one["InstanceType"])) is not None
        ]
        return self._page("DescribeSpotPriceHistory", "spotPriceHistorySet", items)

    def _page(self, action: str, collection: str, items: Sequence[str]) -> str:
        page, token = _part(items, self._get_param("NextToken"), self._get_param("MaxResults"))
        more = f"<nextToken>{token}</nextToken>" if token else ""
        answer = f"<requestId>-</requestId><{collection}>{''.join(page)}</{collection}>{more}"
        return f'<{action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">{answer}</{action}Response>'


def on_demand_price(instance_type: str) -> float | None:
    """USD an hour; None for a type that is not sold on demand."""
    known = contracts.instance_types().get(instance_type)
    return known.price if known else None


def spot_price(instance_type: str) -> float | None:
    """USD an hour; None for a type that can't be had as spot."""
    price = on_demand_price(instance_type)
    spot = price is not None and contracts.instance_types()[instance_type].spot
    return round(price * _SPOT_SHARE, 6) if price is not None and spot else None


@functools.cache
def description(instance_type: str) -> str:
    """The XML of a type."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return f"<item>{_xml(_of_interest(INSTANCE_TYPES[instance_type], _READ))}</item>"


def offers(found: Iterable[Mapping[str, str]]) -> list[str]:
    """The XML of offerings, of the catalogue's types."""
    known = contracts.instance_types()
    return [f"<item>{_xml(one)}</item>" for one in found if one["InstanceType"] in known]


def asks_for_prices(environ: Mapping[str, Any]) -> bool:
    """Whether a request is for the price list, a service that moto does not have."""
    return environ.get("HTTP_X_AMZ_TARGET") == _PRICES


def price_list(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to GetProducts: on-demand prices.

    The catalogue has no bare metal. Karpenter takes an empty list for a failure, so one type stands for all of it.
    """
    types = [name for name in contracts.instance_types() if on_demand_price(name) is not None]
    wanted = {one["Field"]: one["Value"] for one in request.get("Filters", [])}
    if wanted.get(_PRODUCT_FAMILY) == _BARE_METAL:
        types = types[:1]
    page, token = _part(types, request.get("NextToken"), request.get("MaxResults"))
    more = {"NextToken": token} if token else {}
    return {"FormatVersion": "aws_v1", "PriceList": list(map(_product, page)), **more}


@functools.cache
def _product(instance_type: str) -> str:
    """A product of the price list, which is JSON within the answer's."""
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": f"{on_demand_price(instance_type)}"}}
    terms = {"OnDemand": {"term": {"priceDimensions": {"dimension": dimension}}}}
    return json.dumps({"product": {"attributes": {"instanceType": instance_type}}, "terms": terms})


def _part(items: Sequence[Item], token: str | None, size: Any) -> tuple[Sequence[Item], str]:
    """A page, and the token of the next one. A token is the number of the item that its page begins with."""
    start, most = int(token or 0), int(size or _LARGEST_PAGE)
    return items[start : start + most], str(start + most) if start + most < len(items) else ""


def _of_interest(value: Any, wanted: Any) -> Any:
    if wanted is None:
        return value
    if isinstance(value, list):
        return [_of_interest(one, wanted) for one in value]
    return {key: _of_interest(value[key], part) for key, part in wanted.items() if key in value}


def _xml(value: Any) -> str:
    """In EC2's protocol a member's name begins in lower case, and each element of a list is an `item`."""
    if isinstance(value, Mapping):
        named = ((key[0].lower() + key[1:], one) for key, one in value.items())
        return "".join(f"<{name}>{_xml(one)}</{name}>" for name, one in named)
    if isinstance(value, list):
        return "".join(f"<item>{_xml(one)}</item>" for one in value)
    return str(value).lower() if isinstance(value, bool) else escape(str(value))
