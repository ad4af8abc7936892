"""Elastic Load Balancing: classic load balancers (`elb`), and application and network load balancers (`elbv2`)."""

from __future__ import annotations

from collections.abc import Mapping

from policies.reading.resources import items
from reports.account import Account, Held, tag_map
from reports.aws_type import AwsType, ByTags
from reports.aws_type.listing import listing
from reports.aws_type.pricing import Facts, NoPrice, free, hourly
from reports.aws_type.steps import Steps, by_command

_PART = free("https://aws.amazon.com/elasticloadbalancing/pricing/: a part of the load balancer")


def _tags(account: Account, held: Held) -> Mapping[str, str]:
    named = {"LoadBalancerNames": [held.id]} if held.service == "elb" else {"ResourceArns": [held.id]}
    found = account.client(held.service).describe_tags(**named)["TagDescriptions"]
    return tag_map(found[0]["Tags"]) if found else {}


def _remove_load_balancer(account: Account, held: Held) -> Steps:
    attributes = account.client("elbv2").describe_load_balancer_attributes(LoadBalancerArn=held.id)["Attributes"]
    if any(item["Key"] == "deletion_protection.enabled" and item["Value"] == "true" for item in attributes):
        off = "Key=deletion_protection.enabled,Value=false"
        yield ["aws", "elbv2", "modify-load-balancer-attributes", "--load-balancer-arn", held.id, "--attributes", off]
    yield ["aws", "elbv2", "delete-load-balancer", "--load-balancer-arn", held.id]
    yield ["aws", "elbv2", "wait", "load-balancers-deleted", "--load-balancer-arns", held.id]


def _load_balancer_price(facts: Facts) -> tuple[float, str]:
    kind = facts.get("loadBalancerType", "application")
    if kind == "gateway":
        raise NoPrice("a gateway load balancer")
    if facts.get("internal", False) is True:
        return hourly("loadBalancer"), "a load balancer without its traffic"
    zones = len(items(facts.get("subnets", []))) or len(items(facts.get("subnetMappings", [])))
    price = hourly("loadBalancer") + zones * hourly("publicAddress")
    return price, f"a load balancer with {zones} public addresses, without its traffic"


TYPES = (
    AwsType(
        listing=listing(
            "elb", "describe_load_balancers", "LoadBalancerDescriptions", "LoadBalancerName", _tags, "DescribeTags"
        ),
        remove=by_command("elb", "delete-load-balancer", "--load-balancer-name"),
    ),
    AwsType(
        type="aws:lb/loadBalancer:LoadBalancer",
        listing=listing("elbv2", "describe_load_balancers", "LoadBalancers", "LoadBalancerArn", _tags, "DescribeTags"),
        remove=_remove_load_balancer,
        actions=("elasticloadbalancing:DescribeLoadBalancerAttributes",),
        lookup=ByTags(input="name", key="LoadBalancerName"),
        price=_load_balancer_price,
    ),
    AwsType(
        type="aws:lb/targetGroup:TargetGroup",
        listing=listing("elbv2", "describe_target_groups", "TargetGroups", "TargetGroupArn", _tags, "DescribeTags"),
        remove=by_command("elbv2", "delete-target-group", "--target-group-arn"),
        after=("elbv2 LoadBalancers",),
        lookup=ByTags(input="name", key="TargetGroupName"),
        bill=_PART,
    ),
    AwsType(type="aws:lb/listener:Listener", if_made_again="refused", bill=_PART),
    AwsType(type="aws:lb/listenerRule:ListenerRule", if_made_again="refused", bill=_PART),
)
