"""Amazon EC2: instances, launch templates and public addresses. Networks are in `vpc.py`, volumes in `ebs.py`."""

from __future__ import annotations

from collections.abc import Iterator

from policies.reading.resources import at, number
from reports.account import Account, Held, Raw
from reports.aws_type import AwsType, ByTags
from reports.aws_type.listing import Listing, inline_tags, listing
from reports.aws_type.pricing import Facts, flat, free, hourly, instance, monthly
from reports.aws_type.steps import Steps, by_command


def _instances(account: Account) -> Iterator[tuple[str, Raw]]:
    for group in account.pages("ec2", "describe_instances", "Reservations"):
        for found in group["Instances"]:
            yield found["InstanceId"], found


def _remove_instance(_account: Account, held: Held) -> Steps:
    yield ["aws", "ec2", "terminate-instances", "--instance-ids", held.id]
    yield ["aws", "ec2", "wait", "instance-terminated", "--instance-ids", held.id]


def _instance_price(facts: Facts) -> tuple[float, str]:
    name, root = facts.get("instanceType", ""), facts.get("rootBlockDevice", {})
    size = number(at(root, "volumeSize")) if at(root, "volumeType") == "gp3" else None
    if not size:
        return instance(name), f"{name}, without its volumes"
    return instance(name) + size * monthly("gp3GiB"), f"{name} with {size:g} GiB of gp3"


TYPES = (
    AwsType(
        type="aws:ec2/instance:Instance",
        listing=Listing(
            service="ec2",
            kind="Instances",
            actions=("ec2:DescribeInstances",),
            items=_instances,
            tags=inline_tags("Tags"),
        ),
        remove=_remove_instance,
        lookup=ByTags(),
        price=_instance_price,
    ),
    AwsType(
        type="aws:ec2/launchTemplate:LaunchTemplate",
        listing=listing(
            "ec2",
            "describe_launch_templates",
            "LaunchTemplates",
            "LaunchTemplateId",
            inline_tags("Tags"),
            name_key="LaunchTemplateName",
        ),
        remove=by_command("ec2", "delete-launch-template", "--launch-template-id"),
        after=("ec2 Instances", "eks clusters"),
        lookup=ByTags(input="name", key="LaunchTemplateName"),
        bill=free(
            "https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-launch-templates.html: its instances are paid for"
        ),
    ),
    AwsType(
        type="aws:ec2/eip:Eip",
        listing=listing("ec2", "describe_addresses", "Addresses", "AllocationId", inline_tags("Tags")),
        remove=by_command("ec2", "release-address", "--allocation-id"),
        after=("ec2 Instances", "ec2 NatGateways", "elbv2 LoadBalancers"),
        lookup=ByTags(),
        price=flat(hourly, "publicAddress", "a public address"),
    ),
    AwsType(
        type="aws:ec2/eipAssociation:EipAssociation",
        bill=free("https://aws.amazon.com/vpc/pricing/: the address is paid for"),
    ),
    AwsType(type="aws:ec2/tag:Tag", id="{resourceId},{key}", bill=free("https://aws.amazon.com/vpc/pricing/")),
)
