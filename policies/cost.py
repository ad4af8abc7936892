"""Cost: who pays for a resource, what a machine may cost, and when a lab ends."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

import contracts
from contracts.eks import today
from policies.lifecycle import AWS_TAG, LABEL, default_tags
from policies.reading.node_pools import instance_types, not_decided, unlisted, unread
from policies.reading.pods import object_name
from policies.reading.quantities import quantity
from policies.reading.resources import NotDecided, Resource, Stack, at, either, is_kind, is_type, items, kind_of, texts
from policies.rules import LOW, MEDIUM, Finding, Found, Limits, about, best_practices, resource_policy, stack_policy

_COST = best_practices("Cost optimization: Observability, tagging")
EXPIRES_TAG = "Expires"

BILLED = frozenset(
    f"aws:{token}"
    for token in (
        "backup/vault:Vault",
        "cloudwatch/logGroup:LogGroup",
        "ebs/volume:Volume",
        "ec2/eip:Eip",
        "ec2/instance:Instance",
        "ec2/natGateway:NatGateway",
        "ec2/vpc:Vpc",
        "ec2/vpcEndpoint:VpcEndpoint",
        "ecr/repository:Repository",
        "efs/fileSystem:FileSystem",
        "eks/cluster:Cluster",
        "eks/nodeGroup:NodeGroup",
        "fsx/lustreFileSystem:LustreFileSystem",
        "kms/key:Key",
        "lb/loadBalancer:LoadBalancer",
        "rds/cluster:Cluster",
        "rds/instance:Instance",
        "s3/bucket:Bucket",
        "s3/bucketV2:BucketV2",
        "secretsmanager/secret:Secret",
        "sqs/queue:Queue",
    )
)
"""The types that appear on the bill and can have tags."""


@resource_policy(
    "owner-and-cost-tags",
    "An AWS resource has tags for its owner and its cost centre",
    fix="Add the tags to defaultTags of the aws provider, or to the resource's tags",
    severity=MEDIUM,
    concerns=is_type(*BILLED),
    framework=_COST,
    limits={
        "tags": {
            "type": "array",
            "items": {"type": "string"},
            "default": ["Owner", "CostCenter"],
            "description": "The tags that each resource must have.",
        }
    },
)
def owner_and_cost_tags(resource: Resource, limits: Limits) -> Iterator[Found]:
    """Nobody removes a resource that has no owner."""
    tags = {**_default_tags(resource), **at(resource.props, "tags", {}), **at(resource.props, "tagsAll", {})}
    missing = [tag for tag in limits["tags"] if not tags.get(tag)]
    if missing:
        yield f"these tags are missing: {', '.join(missing)}"


def _default_tags(resource: Resource) -> Mapping[str, Any]:
    return default_tags(resource.provider.props) if resource.provider else {}


_INSTANCE_TYPES: Mapping[str, str] = {
    "aws:eks/nodeGroup:NodeGroup": "instanceTypes",
    "aws:ec2/instance:Instance": "instanceType",
    "aws:ec2/launchTemplate:LaunchTemplate": "instanceType",
}


@resource_policy(
    "instance-price",
    "No instance type costs more per hour than allowed",
    fix="Narrow the NodePool's requirements (instance-type, instance-size, instance-gpu-count; maxPrice of the pool in "
    "gpulab), or choose smaller instanceTypes",
    severity=MEDIUM,
    concerns=either(is_type(*_INSTANCE_TYPES), is_kind("NodePool")),
    framework=best_practices("Cost optimization: Compute and autoscaling"),
    limits={
        "usdAnHour": {
            "type": "number",
            # Machines above this price (eight H100 and more) are not bought by accident.
            "default": 40,
            "description": "The highest on-demand price, in USD per hour in us-east-1.",
        }
    },
)
def instance_price(resource: Resource, limits: Limits) -> Iterator[Found]:
    """Karpenter buys whatever a pod requests: eight GPUs by mistake cost as much in a day as a lab in weeks."""
    most = limits["usdAnHour"]
    names, unknown = _types(resource)
    catalogue = contracts.instance_types()
    priced = [(name, price) for name in names if name in catalogue and (price := catalogue[name].price or 0) > most]
    if priced and kind_of(resource) == "NodePool" and (reasons := unread(resource)):
        raise not_decided(
            f"whether the NodePool {object_name(resource)} may buy {max(priced, key=_by_price)[0]}", reasons
        )
    if priced:
        name, price = max(priced, key=_by_price)
        more = f" ({len(priced) - 1} more types cost too much as well)" if len(priced) > 1 else ""
        yield f"{name} costs {price:.2f} USD per hour{more}; the maximum is {most:g}"
    unknown += [name for name in names if name not in catalogue]
    if unknown:
        yield NotDecided(f"the price of {resource.name}: no price is known for {', '.join(unknown)}")


def _by_price(priced: tuple[str, float]) -> float:
    return priced[1]


def _types(resource: Resource) -> tuple[list[str], list[str]]:
    """The instance types that a resource may create, and descriptions of those that have no known type."""
    if kind_of(resource) == "NodePool":
        names = [one.name for one in instance_types(resource)]
        return names, unlisted(resource) or ([] if names else ["machines that meet its requirements"])
    given = texts(resource.props.get(_INSTANCE_TYPES[resource.resource_type]))
    by_attributes = not given and "instanceRequirements" in set(resource.props)
    return given, ["machines that meet instanceRequirements"] if by_attributes else []


@stack_policy(
    "lab-expiry",
    "A lab has an expiry date, and it has not passed",
    fix="Set the tag Expires in defaultTags of the aws provider to a later date (YYYY-MM-DD), or destroy the lab",
    severity=MEDIUM,
    framework=_COST,
    every_stack=True,
)
def lab_expiry(stack: Stack, _limits: Limits) -> Iterator[Finding]:
    """A forgotten lab costs as much as one that is in use."""
    for resource in stack.of_type("pulumi:providers:aws"):
        yield from about(resource, _expired(default_tags(resource.props), AWS_TAG, EXPIRES_TAG))
    for resource in stack.of_kind("Namespace"):
        yield from about(resource, _expired(at(resource.props, "metadata.labels", {}), LABEL, "gpulab.dev/expires"))


def _expired(tags: Mapping[str, Any], lifecycle: str, expires: str) -> Iterator[Found]:
    if tags.get(lifecycle) != "lab":
        return
    day = tags.get(expires)
    if day is None:
        yield f"it is a lab without {expires}"
        return
    try:
        has_passed = datetime.date.fromisoformat(str(day)) < today()
    except ValueError:
        yield f"{expires} is {day}, which is not a date"
    else:
        if has_passed:
            yield f"the lab expired on {day}"


def _number_of(
    name: str, description: str, *, fix: str, types: tuple[str, ...], what: str, most: int, limit: str
) -> Any:
    """A policy that counts resources. NAT gateways and public addresses are billed per hour."""

    @stack_policy(
        name,
        description,
        fix=fix,
        severity=LOW,
        framework=best_practices("Cost optimization: Networking"),
        limits={limit: {"type": "integer", "default": most, "description": f"The highest number of {what}."}},
    )
    def check(stack: Stack, limits: Limits) -> Iterator[Finding]:
        found = list(stack.of_type(*types))
        if len(found) > limits[limit]:
            yield Finding(found[-1], f"there are {len(found)} {what}; the maximum is {limits[limit]}")

    return check


nat_gateways = _number_of(
    "nat-gateways",
    "The number of NAT gateways stays within the maximum",
    fix="Use one NAT gateway for all zones, or raise the policy's maximum",
    types=("aws:ec2/natGateway:NatGateway",),
    what="NAT gateways",
    most=4,
    limit="maximum",
)

public_addresses = _number_of(
    "public-addresses",
    "The number of public addresses stays within the maximum",
    fix="Create an Eip only for NAT gateways, or raise the policy's maximum",
    types=("aws:ec2/eip:Eip",),
    what="public addresses",
    most=8,
    limit="maximum",
)


@resource_policy(
    "root-volume-size",
    "A node's volume is no larger than allowed",
    fix="Lower volumeSize in spec.blockDeviceMappings (size in spec.ephemeralStorage of EKS Auto Mode), or raise the"
    " policy's maximum",
    severity=LOW,
    concerns=is_kind("EC2NodeClass", "NodeClass"),
    framework=best_practices("Cost optimization: Storage"),
    limits={
        "gibibytes": {"type": "number", "default": 1000, "description": "The largest volume, in GiB."},
    },
)
def root_volume_size(node_class: Resource, limits: Limits) -> Iterator[Found]:
    """You pay for the whole volume of every node, used or not."""
    mapped = items(at(node_class.props, "spec.blockDeviceMappings"))
    sizes = [(str(one.get("deviceName")), at(one, "ebs.volumeSize")) for one in mapped]
    for name, given in (*sizes, ("spec.ephemeralStorage", at(node_class.props, "spec.ephemeralStorage.size"))):
        size = quantity(given)
        if size is not None and size / 2**30 > limits["gibibytes"]:
            yield f"{name} has {size / 2**30:g} GiB; the maximum is {limits['gibibytes']:g}"
        elif size is None and given is not None:
            yield NotDecided(f"the size of {name} of {node_class.name} is {given}, which is not a quantity")
